"""The curve: who is held out, which sizes, the gain at each of them."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from rlrf4rec.errors import RLRFError
from rlrf4rec.learning_curve.tuner import Tuner
from rlrf4rec.metrics.statistics import Array, paired_interval
from rlrf4rec.params import LearningCurve
from rlrf4rec.seeds import derive


def gains(
    tuner: Tuner, rewards: Callable[[Path], Array], before: Array, pairs: int, curve: LearningCurve, seed: int
) -> dict[int, Array]:
    """Gain of every size, number of pairs -> [users, repeats]; a repeat draws a new order of all `pairs`.

    rewards: of each user's texts by an adapter, [users]; before: those of the untuned LLM's.
    """
    found: dict[int, list[Array]] = {size: [] for size in sizes(curve.pairs, pairs)}
    epochs = tuner.dpo.epochs
    for repeat in range(curve.repeats):
        own = derive(seed, "learning_curve", "repeat", repeat)
        order = np.random.default_rng(own).permutation(pairs).tolist()
        for size, of_size in found.items():
            passes = epochs * max(1, round(max(found) / size)) if curve.equal_steps else epochs
            with tempfile.TemporaryDirectory() as folder:
                adapter = Path(folder) / "adapter"
                tuner.tune(sorted(order[:size]), passes, own, adapter)
                of_size.append(rewards(adapter) - before)
    return {size: np.stack(of_size, axis=1) for size, of_size in found.items()}


def held_out_users(users: pl.DataFrame, count: int, seed: int) -> list[str]:
    """At most `count` validation users, drawn at random, in a fixed order."""
    validation = users.filter(pl.col("fold") == "validation")["user"].sort()
    return sorted(validation.sample(min(count, len(validation)), seed=seed, shuffle=True).to_list())


def sizes(wanted: list[int], pairs: int) -> list[int]:
    """The wanted numbers of pairs that there are, rising; RLRFError when there are not enough pairs for one."""
    kept = sorted({size for size in wanted if size <= pairs})
    if not kept:
        raise RLRFError(f"learning_curve: {pairs} pairs, fewer than any of learning_curve.pairs = {wanted}; lower them")
    return kept


def points(gains: dict[int, Array], resamples: int, seed: int) -> list[dict[str, Any]]:
    """The curve: mean gain over users and repeats with its 95 % interval, and the mean gain of each repeat.

    gains: number of pairs -> [users, repeats], reward of tuned texts minus that of base texts of the same user.
    The first point is 0 pairs with a gain of 0.
    """
    rows: list[dict[str, Any]] = [{"pairs": 0, "gain": 0.0, "low": 0.0, "high": 0.0, "repeats": []}]
    for size, values in sorted(gains.items()):
        mean, low, high = paired_interval(values, resamples, derive(seed, "learning_curve", size))
        rows.append({"pairs": size, "gain": mean, "low": low, "high": high, "repeats": values.mean(axis=0).tolist()})
    return rows


def by_user(rewards: list[float], samples: int) -> Array:
    """Mean reward of each user's texts, [users]."""
    return np.asarray(rewards, dtype=np.float64).reshape(-1, samples).mean(axis=1)
