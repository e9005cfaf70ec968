"""Candidate lists: up to `step` real next interactions plus drawn negatives, shuffled, frozen as data.

What a protocol that draws them decides is a `Draw`; `lists.retrieval` has lists that are not drawn.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from rlrf4rec.errors import RLRFError
from rlrf4rec.lists.given import Made, Make, ProtocolInputs
from rlrf4rec.seeds import derive

SCHEMA = {
    "user": pl.String,
    "list": pl.Int64,
    "position": pl.Int64,
    "item": pl.String,
    "label": pl.Int64,
    "real": pl.Boolean,
    "begins": pl.Int64,
    "activity": pl.Int64,
    "protocol": pl.String,
}


@dataclass(frozen=True)
class CandidatePool:
    """Items and how often train users' histories hold them."""

    items: np.ndarray
    counts: np.ndarray

    @staticmethod
    def of(popularity: pl.DataFrame) -> "CandidatePool":
        """From a popularity table."""
        return CandidatePool(np.array(popularity["item"].to_list(), dtype=object), popularity["count"].to_numpy())


@dataclass(frozen=True)
class Draw:
    """How a protocol of this name draws negatives.

    weights: of the pool's items, from the pool, the user's own items, the length of a list and the user's
    name. positives_only: steps without a positive give no list, and a user at most `max_lists`.
    """

    name: str
    weights: Callable[[CandidatePool, set[str], int, str], np.ndarray]
    positives_only: bool


def drawn(given: ProtocolInputs, draw: Draw) -> Make:
    """Makes the lists of some users by a draw."""
    p, pool = given.settings, CandidatePool.of(given.popularity)

    def make(members: pl.DataFrame) -> Made:
        """The lists of these users."""
        later = given.later.join(members, on="user", how="semi", maintain_order="left")
        seen = given.interactions.join(members, on="user", how="semi").select("user", "item")
        return Made(*build(later, seen, pool, draw, p.step, p.list_length, p.max_lists, p.positive_rating, given.seed))

    return make


def build(
    later: pl.DataFrame,
    seen: pl.DataFrame,
    pool: CandidatePool,
    draw: Draw,
    step: int,
    length: int,
    max_lists: int,
    positive_rating: float,
    seed: int,
) -> tuple[pl.DataFrame, int]:
    """Walk through each user's later interactions in steps and make a list of each step.

    later: interactions after the history, ordered by user and time, with `activity`.
    seen: all interactions (user, item) of the same users. Returns the lists and how many steps had no positive.
    """
    if len(pool.items) < length:
        raise RLRFError(f"split: {len(pool.items)} items are fewer than a list holds; lower split.list_length")
    own: dict[str, set[str]] = {str(u[0]): set(rows["item"]) for u, rows in seen.group_by("user")}
    made: list[pl.DataFrame] = []
    without = 0
    for (user,), rows in later.group_by("user", maintain_order=True):
        rng = np.random.default_rng(derive(seed, "lists", str(user)))
        weights = draw.weights(pool, own[str(user)], length, str(user))
        kept = 0
        for begin in range(0, rows.height, step):
            real = rows.slice(begin, step)
            hopeless = not (real["rating"] >= positive_rating).any()
            without += hopeless
            if draw.positives_only and (hopeless or kept == max_lists):
                continue
            negatives = rng.choice(pool.items, size=length - real.height, replace=False, p=weights)
            made.append(_list(str(user), kept, real, negatives, positive_rating, draw.name, rng))
            kept += 1
    return pl.concat(made) if made else pl.DataFrame(schema=SCHEMA), without


def _list(
    user: str,
    number: int,
    real: pl.DataFrame,
    negatives: np.ndarray,
    positive: float,
    protocol: str,
    rng: np.random.Generator,
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
            "protocol": protocol,
        },
        schema=SCHEMA,
    )
