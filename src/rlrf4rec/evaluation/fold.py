"""What is measured of the users of one fold, whose labels no policy and no re-ranker has seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from torch import Tensor

from rlrf4rec.evaluation import blocks, findings, frozen, orders
from rlrf4rec.evaluation.lists import RankerKey, by_ranker, by_user, counted
from rlrf4rec.params import Evaluate, Loop
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.tables.results import metric_names


@dataclass(frozen=True)
class Labelled:
    """Lists of a fold with labels: the table, the same as tensors, users that these number, log-counts of items [I]."""

    fold: str
    frame: pl.DataFrame
    lists: Lists
    users: pl.Series
    log_popularity: Tensor


@dataclass(frozen=True)
class Measured:
    """per_list, per_user: metrics with the own text; headline: rows of the per-user table; about, found: the report."""

    per_list: pl.DataFrame
    per_user: pl.DataFrame
    headline: list[dict[str, Any]]
    about: dict[str, Any]
    found: dict[str, Any]


def measured(
    of: Labelled,
    rewarded: pl.DataFrame,
    scores: Mapping[str, Mapping[RankerKey, Tensor]],
    loop: Loop,
    backbones: Sequence[str],
    evaluate: Evaluate,
    seed: int,
    arithmetic: str,
) -> Measured:
    """Reward gains, metrics, differences and claims.

    rewarded: of `frozen.policy_rewards`; scores: of these lists, own and permuted, see `lists.read_scores`; arithmetic:
    what the stage computes in.
    """
    names, kinds, resamples = metric_names(evaluate.ks), list(loop.rankers), evaluate.bootstrap
    gains = frozen.gains(rewarded, loop.policies[1:], resamples, seed)
    per_list = {which: by_ranker(found, of.lists, of.users, evaluate.ks) for which, found in scores.items()}
    own, permuted = (by_user(per_list[which], names) for which in ("own", "permuted"))
    judged, number = frozen.judged(rewarded, of.fold), counted(of.lists, of.users)
    about = {
        "metrics": {"k": evaluate.ks, **findings.DEFINITION},
        "protocol": of.frame["protocol"][0],
        "arithmetic": arithmetic,
        f"{of.fold}_users": own["user"].n_unique(),
        f"{of.fold}_lists": len(of.lists),
        "orders": orders.report(of.frame, of.lists, of.users, of.log_popularity, evaluate.ks),
    }
    found = findings.report(
        own, permuted, gains, backbones, kinds, loop.policies, names, judged, number, resamples, seed, of.fold
    )
    return Measured(per_list["own"], own, blocks.headline_table(own, judged), about, found)
