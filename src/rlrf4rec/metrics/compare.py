"""Turning per-user values into the numbers that are reported: paired differences with intervals."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from rlrf4rec.metrics.statistics import Array, paired_interval


def interval(difference: Array, resamples: int, seed: int) -> dict[str, float | int]:
    """Mean, 95 % interval and number of users of paired differences."""
    mean, low, high = paired_interval(difference, resamples, seed)
    return {"difference": mean, "low": low, "high": high, "users": len(difference)}


def reward_gain(rewards: pl.DataFrame, policy: str, fold: str, resamples: int, seed: int) -> dict[str, object]:
    """Reward of `policy`'s texts minus that of base's, per kind; `personal_part` is own minus permuted texts.

    rewards: table of `tables.results.PolicyReward`, one fold of it is used.
    """
    of = rewards.filter(pl.col("fold") == fold).sort("user")
    new, old = of.filter(pl.col("policy") == policy), of.filter(pl.col("policy") == "base")
    assert new["user"].equals(old["user"])
    gains: dict[str, object] = {}
    for kind in ("ndcg", "map", "smooth", "personal"):
        gains[kind] = interval((new[kind] - old[kind]).to_numpy(), resamples, seed)
    for kind in ("ndcg", "smooth"):
        own = (new[kind] - new[f"permuted_{kind}"]) - (old[kind] - old[f"permuted_{kind}"])
        gains[f"{kind}_personal_part"] = interval(own.to_numpy(), resamples, seed)
    return gains


def by_user(per_user: pl.DataFrame, backbone: str, knowledge: str, metric: str) -> Array:
    """A re-ranker's metric per user (ordered by user), averaged over seeds."""
    own = per_user.filter((pl.col("backbone") == backbone) & (pl.col("knowledge") == knowledge))
    return own.group_by("user").agg(pl.col(metric).mean()).sort("user")[metric].to_numpy()


def by_seed(per_user: pl.DataFrame, backbone: str, knowledge: str, metric: str) -> list[float]:
    """A re-ranker's metric averaged over users, one value per seed."""
    own = per_user.filter((pl.col("backbone") == backbone) & (pl.col("knowledge") == knowledge))
    return own.group_by("seed").agg(pl.col(metric).mean()).sort("seed")[metric].to_list()


def mean_over_backbones(per_user: pl.DataFrame, backbones: Sequence[str], knowledge: str, metric: str) -> Array:
    """A metric per user, averaged over seeds and backbones."""
    values: Array = np.mean([by_user(per_user, b, knowledge, metric) for b in backbones], axis=0)
    return values
