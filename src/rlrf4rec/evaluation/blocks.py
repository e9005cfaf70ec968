"""The blocks of the evaluation report that the default run and the study share."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from rlrf4rec.evaluation import compare
from rlrf4rec.metrics.statistics import Array

HEADLINE = ("ndcg@5", "map@5")


def values(per_user: pl.DataFrame, backbones: Sequence[str], knowledge: str, metric: str) -> dict[str, Array]:
    """A metric [users, seeds] of each backbone, and of `all`: their mean."""
    own = {b: compare.by_user_and_seed(per_user, b, knowledge, metric) for b in backbones}
    return {"all": np.mean(list(own.values()), axis=0), **own}


def rankers(
    per_user: pl.DataFrame, backbones: Sequence[str], knowledge: Sequence[str], names: Sequence[str]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Mean over users of every metric, with all seeds, by `backbone-knowledge`."""
    return {
        f"{b}-{k}": {
            name: {"mean": float(np.mean(v)), "seeds": v}
            for name in names
            for v in [compare.by_seed(per_user, b, k, name)]
        }
        for b in backbones
        for k in knowledge
    }


def differences(
    per_user: pl.DataFrame,
    backbones: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    names: Sequence[str],
    resamples: int,
    seed: int,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Paired differences `a - b` of each pair, for all backbones together and for each, by metric."""
    return {
        f"{a} - {b}": _paired(_all(per_user, backbones, a, names), _all(per_user, backbones, b, names), resamples, seed)
        for a, b in pairs
    }


def personal(
    own: pl.DataFrame,
    permuted: pl.DataFrame,
    backbones: Sequence[str],
    knowledge: Sequence[str],
    names: Sequence[str],
    resamples: int,
    seed: int,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Own text minus another user's text in the same re-ranker: the personal part of what a knowledge gives."""
    return {
        k: _paired(_all(own, backbones, k, names), _all(permuted, backbones, k, names), resamples, seed)
        for k in knowledge
    }


def family(found: dict[str, dict[str, dict[str, Any]]], metric: str) -> dict[str, dict[str, Any]]:
    """The comparisons over all backbones in one metric, p adjusted for their number (Holm)."""
    return compare.with_holm({name: by_backbone["all"][metric] for name, by_backbone in found.items()})


def headline_table(per_user: pl.DataFrame, frozen: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows of metrics/per_user.csv: one per metric, re-ranker and user, a column per seed, five decimals.

    frozen: policy, user, ndcg: the mean reward of a policy's texts under the frozen re-rankers (in column seed0).
    """
    seeds = sorted(per_user["seed"].unique())
    rows = []
    for metric in (name for name in HEADLINE if name in per_user.columns):
        wide = per_user.pivot("seed", index=["backbone", "knowledge", "user"], values=metric)
        for row in wide.sort("backbone", "knowledge", "user").iter_rows(named=True):
            head = {"metric": metric, "backbone": row["backbone"], "knowledge": row["knowledge"], "user": row["user"]}
            rows.append({**head, **{f"seed{s}": round(row[str(s)], 5) for s in seeds}})
    for row in frozen.sort("policy", "user").iter_rows(named=True):
        head = {"metric": "reward_ndcg@5", "backbone": "frozen", "knowledge": row["policy"], "user": row["user"]}
        rows.append({**head, **{f"seed{s}": round(row["ndcg"], 5) if s == 0 else "" for s in seeds}})
    return rows


Values = dict[str, dict[str, Array]]


def _all(per_user: pl.DataFrame, backbones: Sequence[str], knowledge: str, names: Sequence[str]) -> Values:
    return {name: values(per_user, backbones, knowledge, name) for name in names}


def _paired(a: Values, b: Values, resamples: int, seed: int) -> dict[str, dict[str, Any]]:
    places = next(iter(a.values())) if a else {}
    return {
        place: {name: compare.difference(a[name][place] - b[name][place], resamples, seed) for name in a}
        for place in places
    }
