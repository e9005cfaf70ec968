"""The blocks of the evaluation report that the default run and the study share."""

from collections.abc import Mapping, Sequence
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


def over_lists(
    per_user: pl.DataFrame,
    backbones: Sequence[str],
    claims: Sequence[str],
    metric: str,
    lists: Sequence[int],
    resamples: int,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Claims `a - b` that the frame has re-rankers for, over all backbones, as means over lists.

    lists: how many each user has, in the order of `lists.counted`.
    """
    there = set(per_user["knowledge"])
    pairs = {name: name.split(" - ") for name in claims if {*name.split(" - ")} <= there}
    return {
        name: compare.over_lists(
            values(per_user, backbones, a, metric)["all"] - values(per_user, backbones, b, metric)["all"],
            lists,
            resamples,
            seed,
        )
        for name, (a, b) in pairs.items()
    }


def family(
    found: dict[str, dict[str, dict[str, Any]]],
    claims: Sequence[str],
    metric: str,
    others: Mapping[str, Any],
    by_list: Mapping[str, Mapping[str, float]],
) -> dict[str, dict[str, Any]]:
    """Claims over all backbones in one metric, and `others` that were tested beside them, p adjusted (Holm).

    A claim that the run has no re-rankers for counts among them all the same, see `compare.with_holm`. by_list: the
    same as means over lists, which each gets as `over_lists`.
    """
    made = {name: found[name]["all"][metric] for name in claims if name in found}
    adjusted = compare.with_holm({**others, **made}, [*others, *claims])
    return {name: {**claim, "over_lists": by_list[name]} for name, claim in adjusted.items()}


def headline_table(per_user: pl.DataFrame, frozen: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows of metrics/per_user.csv: one per metric, re-ranker and user, a column per seed, five decimals.

    frozen: policy, user, seed, ndcg: the mean reward of a policy's texts under the judges of a seed.
    """
    seeds = sorted({*per_user["seed"], *frozen["seed"]})
    rows = []
    for metric in (name for name in HEADLINE if name in per_user.columns):
        wide = per_user.pivot("seed", index=["backbone", "knowledge", "user"], values=metric)
        for row in wide.sort("backbone", "knowledge", "user").iter_rows(named=True):
            head = {"metric": metric, "backbone": row["backbone"], "knowledge": row["knowledge"], "user": row["user"]}
            rows.append({**head, **{f"seed{s}": _rounded(row.get(str(s))) for s in seeds}})
    wide = frozen.pivot("seed", index=["policy", "user"], values="ndcg")
    for row in wide.sort("policy", "user").iter_rows(named=True):
        head = {"metric": "reward_ndcg@5", "backbone": "frozen", "knowledge": row["policy"], "user": row["user"]}
        rows.append({**head, **{f"seed{s}": _rounded(row.get(str(s))) for s in seeds}})
    return rows


def _rounded(value: float | None) -> float | str:
    return "" if value is None else round(value, 5)


Values = dict[str, dict[str, Array]]


def _all(per_user: pl.DataFrame, backbones: Sequence[str], knowledge: str, names: Sequence[str]) -> Values:
    return {name: values(per_user, backbones, knowledge, name) for name in names}


def _paired(a: Values, b: Values, resamples: int, seed: int) -> dict[str, dict[str, Any]]:
    places = next(iter(a.values())) if a else {}
    return {
        place: {name: compare.difference(a[name][place] - b[name][place], resamples, seed) for name in a}
        for place in places
    }
