"""Shuffled preferences: DPO as it is, on pairs of which half have chosen and rejected swapped."""

import polars as pl
import torch

from rlrf4rec.methods.method import Given, Method

SIDES = ("chosen", "rejected")


def shuffled(pairs: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The table with chosen and rejected texts of half of the pairs swapped: the same texts, no preference.

    Half to the pair, as a coin for each would leave a preference: of 80 pairs it swaps 31 to 49. Which ones, and
    whether of an odd number the smaller half, is drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    half = (pairs.height + int(torch.randint(2, (), generator=generator))) // 2
    place = torch.randperm(pairs.height, generator=generator)
    coin = pl.Series("swap", (place < half).tolist())
    sides = ("", "_sample", "_tokens", "_log_prob")
    given = [(f"{one}{part}", f"{other}{part}") for one, other in (SIDES, SIDES[::-1]) for part in sides]
    swapped = [pl.when(coin).then(pl.col(other)).otherwise(pl.col(one)).alias(one) for one, other in given]
    return pairs.with_columns(swapped)


def of_round(given: Given) -> pl.DataFrame:
    """The round's pairs, swapped."""
    return shuffled(given.pairs, given.seed)


METHOD = Method(pairs=of_round)
