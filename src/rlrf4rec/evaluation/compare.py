"""Turning per-user values into the numbers that are reported: paired differences with intervals and p.

per_user frames have the columns backbone, knowledge, seed, user and one per metric; every seed has every user.
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from rlrf4rec.errors import InputError
from rlrf4rec.metrics.statistics import Array, holm, minimum_detectable_effect, paired_interval, permutation_test
from rlrf4rec.seeds import derive


def difference(values: Array, resamples: int, seed: int) -> dict[str, float | int]:
    """What is reported of a paired difference [users] or [users, seeds].

    difference: mean; low, high: its 95 % interval; p: permutation test, not adjusted; mde: minimum detectable effect
    at 5 % and power 80 %; users, seeds: how many.
    """
    mean, low, high = paired_interval(values, resamples, seed)
    return {
        "difference": mean,
        "low": low,
        "high": high,
        "p": permutation_test(values, resamples, derive(seed, "permutation")),
        "mde": minimum_detectable_effect(values),
        "users": len(values),
        "seeds": values.shape[1] if values.ndim == 2 else 1,
    }


def with_holm(family: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The comparisons of one family, each with `p_holm`: its `p` adjusted for how many were made."""
    adjusted = holm({name: float(found["p"]) for name, found in family.items()})
    return {name: {**found, "p_holm": adjusted[name]} for name, found in family.items()}


def reward_gain(rewards: pl.DataFrame, policy: str, fold: str, resamples: int, seed: int) -> dict[str, object]:
    """Reward of `policy`'s texts minus that of base's, per kind; `personal_part` is own minus permuted texts.

    rewards: table of `tables.results.PolicyReward`, one fold of it is used. Seeds of the reward models are averaged in
    it, so interval and p are over users, under these models.
    """
    of = rewards.filter(pl.col("fold") == fold).sort("user")
    new, old = of.filter(pl.col("policy") == policy), of.filter(pl.col("policy") == "base")
    assert new["user"].equals(old["user"])
    gains: dict[str, object] = {}
    for kind in ("ndcg", "map", "smooth", "personal"):
        gains[kind] = difference((new[kind] - old[kind]).to_numpy(), resamples, seed)
    for kind in ("ndcg", "smooth"):
        own = (new[kind] - new[f"permuted_{kind}"]) - (old[kind] - old[f"permuted_{kind}"])
        gains[f"{kind}_personal_part"] = difference(own.to_numpy(), resamples, seed)
    return gains


def by_user_and_seed(per_user: pl.DataFrame, backbone: str, knowledge: str, metric: str) -> Array:
    """A re-ranker's metric, [users, seeds]: all users and all seeds of the frame, in rising order.

    RLRFError if the re-ranker lacks one of them: its values could not be paired.
    """
    own = per_user.filter((pl.col("backbone") == backbone) & (pl.col("knowledge") == knowledge))
    keys = [per_user.select(pl.col(key).unique().sort()) for key in ("user", "seed")]
    full = keys[0].join(keys[1], how="cross")
    found = full.join(own.select("user", "seed", metric), on=["user", "seed"], how="left", maintain_order="left")
    missing = found.filter(pl.col(metric).is_null())
    if missing.height or found.height != full.height:
        what = f"{missing.height} of {full.height} values are missing" if missing.height else "a user is there twice"
        where = f", first user {missing['user'][0]}, seed {missing['seed'][0]}" if missing.height else ""
        raise InputError(f"{metric} of {backbone} with {knowledge}: {what}{where}; run `dvc repro evaluate`")
    return found[metric].to_numpy().reshape(len(keys[0]), len(keys[1]))


def by_seed(per_user: pl.DataFrame, backbone: str, knowledge: str, metric: str) -> list[float]:
    """A re-ranker's metric averaged over users, one value per seed."""
    means: list[float] = by_user_and_seed(per_user, backbone, knowledge, metric).mean(axis=0).tolist()
    return means
