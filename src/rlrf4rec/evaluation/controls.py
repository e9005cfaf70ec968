"""What the study of controls compares under one protocol, and what is reported of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from torch import Tensor

from rlrf4rec.evaluation import blocks
from rlrf4rec.evaluation.lists import RankerKey, by_ranker, by_user, counted
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.tables.results import metric_names

TUNED = "round1"


def report(
    scores: Mapping[str, Mapping[RankerKey, Tensor]],
    orders: Mapping[str, Any],
    lists: Lists,
    users: pl.Series,
    backbones: Sequence[str],
    knowledge: Sequence[str],
    ks: list[int],
    resamples: int,
    seed: int,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Metrics, differences and claims, and the rows of the headline table, but for the protocol's name.

    scores: own and permuted of every re-ranker on development users' lists; orders: of `orders.report`.
    """
    names = metric_names(ks)
    per_list = by_ranker(scores["own"], lists, users, ks)
    over_lists = per_list.group_by("backbone", "knowledge", maintain_order=True).agg(pl.col(names).mean())
    mine, others = by_user(per_list, names), by_user(by_ranker(scores["permuted"], lists, users, ks), names)
    headline = [name for name in blocks.HEADLINE if name in names]
    pairs = [(k, a) for a in ("constant", "base", "template") if a in knowledge for k in knowledge if k != a]
    pooled, pooled_others = _pooled(mine, names), _pooled(others, names)  # each backbone's seeds are in `rankers`
    pairs += [pair for pair in _feedback(knowledge) if pair not in pairs]
    found = blocks.differences(pooled, ["all"], pairs, headline, resamples, seed)
    claims = [f"{TUNED} - base", f"{TUNED} - shuffled", f"{TUNED} - constant", "base - constant", "sft - base"]
    claims += [f"{TUNED}_template - template", f"{TUNED}_template - base_template"]
    by_lists = blocks.over_lists(pooled, ["all"], claims, headline[0], counted(lists, users), resamples, seed)
    about = {
        "development_users": mine["user"].n_unique(),
        "development_lists": len(lists),
        "rankers": blocks.rankers(mine, backbones, knowledge, names),
        "over_lists": {
            f"{row['backbone']}-{row['knowledge']}": {n: row[n] for n in names} for row in over_lists.to_dicts()
        },
        "orders": orders,
        "differences": found,
        "personal": blocks.personal(pooled, pooled_others, ["all"], knowledge, headline, resamples, seed),
        "family": blocks.family(found, claims, headline[0], {}, by_lists),
    }
    return about, _rows(mine, backbones, knowledge, headline)


def _pooled(per_user: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """The mean over backbones: seed s of every backbone averaged, as one backbone `all`."""
    mean = per_user.group_by("knowledge", "seed", "user", maintain_order=True).agg(pl.col(names).mean())
    return mean.select(pl.lit("all").alias("backbone"), "knowledge", "seed", "user", *names)


def _feedback(knowledge: Sequence[str]) -> list[tuple[str, str]]:
    """Is it the feedback: tuned against shuffled preferences, and against what else the same pairs can do."""
    against = [("round1", "shuffled"), ("round1", "sft"), ("round1", "best_of_n"), ("template", "profile")]
    against += [(f"round1_{b}", f"{k}_{b}") for b in ("template",) for k in ("base", "shuffled", "sft")]
    return [(a, b) for a, b in against if a in knowledge and b in knowledge]


def _rows(
    mine: pl.DataFrame, backbones: Sequence[str], knowledge: Sequence[str], headline: list[str]
) -> list[dict[str, Any]]:
    """Rows of the study's headline table: the mean over backbones per user and seed, five decimals."""
    users, rows = mine["user"].unique().sort().to_list(), []
    for metric in headline[:1]:
        for name in knowledge:
            values = blocks.values(mine, backbones, name, metric)["all"]
            for user, by_seed in zip(users, values.tolist(), strict=True):
                head = {"metric": metric, "knowledge": name, "user": user}
                rows.append({**head, **{f"seed{s}": round(v, 5) for s, v in enumerate(by_seed)}})
    return rows
