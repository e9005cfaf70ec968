"""Preferences by a rule that reads no label: of each user's texts those that have most of something are chosen."""

from collections.abc import Callable

import polars as pl

from rlrf4rec.errors import RLRFError
from rlrf4rec.methods.method import Given, Method
from rlrf4rec.texts import statistics

TEXT = ("sample", "text", "tokens", "log_prob")


def by_rule(given: Given, measure: Callable[[pl.DataFrame], pl.Series]) -> pl.DataFrame:
    """Pairs of the round's users: chosen is the text with the largest `measure`, rejected that with the smallest.

    A user who gave several pairs to the round gives as many here: of the second largest and the second smallest, ...

    measure: of the table of texts a number each. The lower sample number comes first among equals; a pair whose texts
    are equal in it, or are the same tokens, is left out. Columns: user, and sides.
    RLRFError when nobody is left.
    """
    place = pl.int_range(pl.len()).over("user").alias("place")
    users = given.pairs.select("user", place)
    own = given.texts.join(users, on="user", how="semi", maintain_order="left")
    valued = own.with_columns(measure(own).alias("value"))
    ends = [
        valued.sort(["user", "value", "sample"], descending=[False, largest, False]).select(
            "user", place, "value", *TEXT
        )
        for largest in (True, False)
    ]
    both = ends[0].join(ends[1], on=["user", "place"], suffix="_rejected", maintain_order="left")
    kept = both.filter((pl.col("value") > pl.col("value_rejected")) & (pl.col("tokens") != pl.col("tokens_rejected")))
    if not kept.height:
        raise RLRFError(
            f"no two texts of any of {users['user'].n_unique()} users differ by this rule; raise "
            "sample.n, or leave the rule out"
        )
    sides = [
        pl.col(f"{name}{end}").alias(side if name == "text" else f"{side}_{name}")
        for side, end in (("chosen", ""), ("rejected", "_rejected"))
        for name in TEXT
    ]
    found = users.join(kept.select("user", "place", *sides), on=["user", "place"], how="inner", maintain_order="left")
    return found.drop("place")


def years(given: Given) -> pl.DataFrame:
    """The text that names more calendar years and decades is chosen."""

    def named(texts: pl.DataFrame) -> pl.Series:
        """How many each names."""
        return pl.Series([statistics.years(t) + statistics.decades(t) for t in texts["text"]], dtype=pl.Int64)

    return by_rule(given, named)


def length(given: Given) -> pl.DataFrame:
    """The text of more tokens is chosen."""
    return by_rule(given, lambda texts: texts["token_count"])


YEARS, LENGTH = Method(pairs=years), Method(pairs=length)
