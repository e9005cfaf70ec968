"""Turning per-user values into the numbers that are reported: paired differences with intervals and p.

per_user frames have the columns backbone, knowledge, seed, user and one per metric; every seed has every user.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from rlrf4rec.errors import InputError
from rlrf4rec.metrics.statistics import (
    Array,
    holm,
    minimum_detectable_effect,
    paired_interval,
    permutation_test,
    t_interval,
    weighted,
)
from rlrf4rec.seeds import derive
from rlrf4rec.tables.results import PERMUTED
from rlrf4rec.tables.rewards import KINDS


def difference(values: Array, resamples: int, seed: int) -> dict[str, float | int]:
    """What is reported of a paired difference [users], [users, seeds] or [users, policies, seeds].

    difference: mean; low, high: its 95 % interval; p: permutation test, not adjusted; mde: minimum detectable effect
    at 5 % and power 80 %; users, policies (where the values have them), seeds: how many. Without `policies` it is
    all about the one policy that wrote the texts.
    """
    mean, low, high = paired_interval(values, resamples, seed)
    return {
        "difference": mean,
        "low": low,
        "high": high,
        "p": permutation_test(values, resamples, derive(seed, "permutation")),
        "mde": minimum_detectable_effect(values),
        "users": len(values),
        **({"policies": values.shape[1]} if values.ndim == 3 else {}),
        "seeds": values.shape[-1] if values.ndim > 1 else 1,
    }


def over_lists(values: Array, lists: Sequence[int], resamples: int, seed: int) -> dict[str, float]:
    """A paired difference [users, ...] with each user's weight the number of `lists`, and its 95 % interval.

    A difference is a mean over users of means over lists, so a list of a user with few counts for more; this is the
    mean over lists. Where the two part, the gain sits in users with few lists, or with many.
    """
    mean, low, high = paired_interval(weighted(values, np.asarray(lists, dtype=np.float64)), resamples, seed)
    return {"difference": mean, "low": low, "high": high}


def over_policies(values: Array) -> dict[str, float]:
    """The mean of a paired difference [users, policies, seeds] and its 95 % interval by the means of policies alone.

    What other policies would give these users. The interval of `difference` takes policies not to differ where their
    means differ no more than users and seeds make them, as those of few policies can by chance; this one never
    does, and finds less for it. RLRFError for one policy.
    """
    mean, low, high = t_interval(values.mean(axis=(0, 2)))
    return {"difference": mean, "low": low, "high": high}


def with_holm(family: Mapping[str, Mapping[str, Any]], asked: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """The comparisons of one family, each with `p_holm`: its `p` adjusted for how many were asked, None: those made.

    Who leaves out a comparison that was to be made gets no smaller p for the others: it counts as one of p 1.
    """
    p = {name: float(found["p"]) for name, found in family.items()}
    adjusted = holm(dict.fromkeys(asked or [], 1.0) | p)
    return {name: {**found, "p_holm": adjusted[name]} for name, found in family.items()}


def reward_gain(
    rewards: pl.DataFrame, policy: str, fold: str, resamples: int, seed: int
) -> dict[str, dict[str, float | int]]:
    """Reward of `policy`'s texts minus that of base's, per kind; `personal_part` is own minus permuted texts.

    rewards: table of `tables.results.PolicyReward`, one fold of it by the models of one duty. Intervals are over users
    and seeds of these models; each seed has a permutation of its own, so that of a personal part covers the draw.
    """
    gains = gains_by_user(rewards.filter(pl.col("fold") == fold), policy)
    return {name: difference(values, resamples, seed) for name, values in gains.items()}


def gains_by_user(rewards: pl.DataFrame, policy: str) -> dict[str, Array]:
    """The gains behind `reward_gain`, [users, seeds] in rising order, of one fold's rewards."""
    of = rewards.sort("user", "seed")
    new, old = of.filter(pl.col("policy") == policy), of.filter(pl.col("policy") == "base")
    assert new.select("user", "seed").equals(old.select("user", "seed"))
    users = new["user"].n_unique()
    gains = {kind: new[kind] - old[kind] for kind in KINDS}
    for kind in PERMUTED:
        gains[f"{kind}_personal_part"] = gains[kind] - (new[f"permuted_{kind}"] - old[f"permuted_{kind}"])
    return {name: values.to_numpy().reshape(users, -1) for name, values in gains.items()}


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
