"""Protocol rated: candidates are what the user rated later and nothing else; how they are liked tells them apart.

A list is a stretch of `list_length` later interactions, one after the other in time. It needs ratings that differ.
"""

from typing import Any

import numpy as np
import polars as pl

from rlrf4rec.errors import RLRFError
from rlrf4rec.lists.candidates import SCHEMA
from rlrf4rec.lists.given import Made, Make, ProtocolInputs
from rlrf4rec.seeds import derive

LIST = ["user", "stretch"]


def protocol(given: ProtocolInputs) -> tuple[Make, dict[str, Any]]:
    """See `lists.given.Protocol`; RLRFError where all ratings are alike."""
    p = given.settings
    ratings = given.later["rating"]
    if given.later.height and ratings.n_unique() == 1:
        raise RLRFError(
            f"split: protocol rated orders items by how the user rated them, and every rating is {ratings[0]:g}, as "
            "where a data set has no ratings (interactions.columns.rating: null); choose another split.protocol"
        )

    def make(members: pl.DataFrame) -> Made:
        """The lists of these users."""
        later = given.later.join(members, on="user", how="semi", maintain_order="left")
        return build(later, p.list_length, p.max_lists, p.positive_rating, given.seed)

    return make, {}


def build(later: pl.DataFrame, length: int, max_lists: int, positive_rating: float, seed: int) -> Made:
    """Cut each user's later interactions into stretches of `length`; a rest that is shorter makes no list.

    later: as in `candidates.build`. A stretch without a positive, or without anything else, is left out and counted;
    of the others a user's first `max_lists` are kept, each shuffled.
    """
    place, positive = pl.int_range(pl.len(), dtype=pl.Int64).over("user"), pl.col("rating") >= positive_rating
    cut = later.with_columns(stretch=place // length, label=positive.cast(pl.Int64))
    whole = cut.filter(pl.len().over(LIST) == length)
    share = pl.col("label").mean().over(LIST)
    asks = whole.filter(share > 0, share < 1)
    numbered = asks.with_columns((pl.col("stretch").rank("dense").over("user") - 1).cast(pl.Int64).alias("list"))
    kept = numbered.filter(pl.col("list") < max_lists)
    shuffled = kept.with_columns(
        pl.col("timestamp").first().over(LIST).alias("begins"),
        pl.col("activity").first().over(LIST),
        pl.Series("position", _positions(kept, length, seed), dtype=pl.Int64),
        pl.lit(True).alias("real"),
        pl.lit("rated").alias("protocol"),
    )
    order = kept.select("user").unique(maintain_order=True).with_row_index("order")
    lists = shuffled.join(order, on="user", maintain_order="left").sort("order", "list", "position").select(*SCHEMA)
    without, only = (whole.filter(share == all_or_none).height // length for all_or_none in (0, 1))
    return Made(lists, without, without_negative=only)


def _positions(kept: pl.DataFrame, length: int, seed: int) -> list[int]:
    """A place in its list for each interaction, by chance of the user's own."""
    found: list[int] = []
    for user, count in kept.group_by("user", maintain_order=True).len().iter_rows():
        rng = np.random.default_rng(derive(seed, "rated", user))
        orders = np.tile(np.arange(length), (count // length, 1))
        found += rng.permuted(orders, axis=1).ravel().tolist()
    return found
