"""Candidate lists: up to `step` real next interactions plus negatives, shuffled, frozen as data."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from rlrf4rec.errors import RLRFError
from rlrf4rec.seeds import derive


@dataclass(frozen=True)
class Catalogue:
    """Items and their drawing weights: equal ("uniform") or popularity + 1 ("popularity")."""

    items: np.ndarray
    weights: np.ndarray

    @staticmethod
    def of(popularity: pl.DataFrame, negatives: str) -> "Catalogue":
        """From a popularity table."""
        count = popularity["count"].to_numpy().astype(float)
        weights = count + 1 if negatives == "popularity" else np.ones(len(count))
        return Catalogue(np.array(popularity["item"].to_list(), dtype=object), weights)


def build(
    later: pl.DataFrame,
    seen: pl.DataFrame,
    catalogue: Catalogue,
    step: int,
    length: int,
    max_lists: int,
    positive_rating: float,
    seed: int,
) -> tuple[pl.DataFrame, int]:
    """Walk through each user's later interactions in steps and make a list of each step.

    later: interactions after the history, ordered by user and time, with `activity`.
    seen: all interactions (user, item) of the same users: no negative is one of a user's own items.
    Returns the lists (at most the first `max_lists` with a positive per user) and how many lists had none.
    """
    own: dict[str, set[str]] = {str(u[0]): set(rows["item"]) for u, rows in seen.group_by("user")}
    made: list[pl.DataFrame] = []
    without = 0
    for (user,), rows in later.group_by("user", maintain_order=True):
        rng = np.random.default_rng(derive(seed, "lists", str(user)))
        allowed = ~np.isin(catalogue.items, list(own[str(user)]))
        if allowed.sum() < length - 1:
            raise RLRFError(f"split: user {user} has only {allowed.sum()} items left for negatives; lower list_length")
        weights = np.where(allowed, catalogue.weights, 0.0)
        weights /= weights.sum()
        kept = 0
        for begin in range(0, rows.height, step):
            real = rows.slice(begin, step)
            if not (real["rating"] >= positive_rating).any():
                without += 1
                continue
            if kept == max_lists:
                break
            negatives = rng.choice(catalogue.items, size=length - real.height, replace=False, p=weights)
            made.append(_list(str(user), kept, real, negatives, positive_rating, rng))
            kept += 1
    return pl.concat(made) if made else pl.DataFrame(schema=_SCHEMA), without


_SCHEMA = {
    "user": pl.String,
    "list": pl.Int64,
    "position": pl.Int64,
    "item": pl.String,
    "label": pl.Int64,
    "real": pl.Boolean,
    "begins": pl.Int64,
    "activity": pl.Int64,
}


def _list(
    user: str, number: int, real: pl.DataFrame, negatives: np.ndarray, positive: float, rng: np.random.Generator
) -> pl.DataFrame:
    n, drawn = real.height, len(negatives)
    order = rng.permutation(n + drawn)
    items = np.array([*real["item"], *negatives], dtype=object)[order]
    labels = np.array([*(int(r >= positive) for r in real["rating"]), *[0] * drawn])[order]
    return pl.DataFrame(
        {
            "user": [user] * (n + drawn),
            "list": number,
            "position": range(n + drawn),
            "item": list(items),
            "label": labels,
            "real": [bool(o < n) for o in order],
            "begins": real["timestamp"][0],
            "activity": real["activity"][0],
        },
        schema=_SCHEMA,
    )
