"""What a protocol makes lists of, what decides a draw, and what a protocol gives."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rlrf4rec.params import Split

Places = NDArray[np.int64]  # rows of the catalogue


@dataclass(frozen=True)
class ListSettings:
    """How lists are made; `window`: interactions that a retrieved list looks ahead."""

    step: int
    list_length: int
    max_lists: int
    window: int
    positive_rating: float

    @staticmethod
    def of(p: Split) -> "ListSettings":
        """From the params."""
        return ListSettings(p.step, p.list_length, p.max_lists, p.window, p.positive_rating)


@dataclass(frozen=True)
class ProtocolInputs:
    """Inputs of a protocol.

    history, later: of `lists.histories`; users: with folds; popularity: item and count, every catalogue item.
    """

    history: pl.DataFrame
    later: pl.DataFrame
    users: pl.DataFrame
    popularity: pl.DataFrame
    settings: ListSettings
    seed: int

    @property
    def seen(self) -> pl.DataFrame:
        """User and item of all interactions: no copy, as there may be millions; first those of the history."""
        return pl.concat([part.select("user", "item") for part in (self.history, self.later)])


@dataclass(frozen=True)
class CandidatePool:
    """Items and how often train users' histories hold them."""

    items: pl.Series
    counts: NDArray[np.int64]

    @cached_property
    def by_count(self) -> Places:
        """All places, the least popular first."""
        return np.argsort(self.counts, kind="stable")

    @cached_property
    def rank(self) -> Places:
        """Of each place where it stands in `by_count`."""
        return np.argsort(self.by_count, kind="stable")

    @staticmethod
    def of(popularity: pl.DataFrame) -> "CandidatePool":
        """From a popularity table."""
        return CandidatePool(popularity["item"], popularity["count"].to_numpy())


Sampler = Callable[[np.random.Generator, Places, int], Places]  # negatives of a list: for which real items, how many


@dataclass(frozen=True)
class Draw:
    """How a protocol of this name draws negatives.

    sampler: of a user, from the pool, the places in it of the user's own items, the length of a list and the user's
    name. positives_only: steps without a positive give no list, and a user at most `max_lists`.
    """

    name: str
    sampler: Callable[[CandidatePool, Places, int, str], Sampler]
    positives_only: bool


@dataclass(frozen=True)
class Made:
    """Lists of some users, steps that had no positive, and what only some protocols have.

    recall: the first stage's; without_negative: steps with nothing but positives, where such give no list.
    """

    lists: pl.DataFrame
    without: int
    recall: float | None = None
    without_negative: int | None = None


Make = Callable[[pl.DataFrame], Made]  # of users, those of a fold
Protocol = Callable[[ProtocolInputs], tuple[Make, dict[str, Any]]]  # with what there is to report of all folds
