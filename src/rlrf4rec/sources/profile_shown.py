"""The profile in numbers of what the prompt shows of a user, in place of the whole history."""

from dataclasses import replace

import polars as pl
from torch import Tensor

from rlrf4rec.sources import profile
from rlrf4rec.sources.given import SourceInputs
from rlrf4rec.sources.numbers import User, vectors


def numbers(shown: User, genres: list[str]) -> list[float]:
    """Shares of each genre among what is shown as liked and as disliked, and the liked ones' release years."""
    own, other = ([r for r in shown if r["liked"] == side] for side in (True, False))
    return profile.of_parts(own, other, genres)


def make(given: SourceInputs) -> Tensor:
    """Vectors [users, 1, width]."""
    shown = given.prompts.select("user", "ratings").explode("ratings").select("user", pl.col("ratings").struct.unnest())
    return vectors(replace(given, history=shown.select("user", "item", "liked")), "profile_shown", numbers)
