"""Shuffled preferences: DPO as it is, on pairs whose chosen and rejected are swapped by a fair coin each."""

import polars as pl
import torch

from rlrf4rec.methods.method import Given, Method

SIDES = ("chosen", "rejected")


def shuffled(pairs: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The table with chosen and rejected texts swapped by a fair coin per pair: the same texts, no preference."""
    swap = torch.rand(pairs.height, generator=torch.Generator().manual_seed(seed)) < 0.5
    coin = pl.Series("swap", swap.tolist())
    sides = ("", "_sample", "_tokens", "_log_prob")
    given = [(f"{one}{part}", f"{other}{part}") for one, other in (SIDES, SIDES[::-1]) for part in sides]
    swapped = [pl.when(coin).then(pl.col(other)).otherwise(pl.col(one)).alias(one) for one, other in given]
    return pairs.with_columns(swapped)


def of_round(given: Given) -> pl.DataFrame:
    """The round's pairs, swapped."""
    return shuffled(given.pairs, given.seed)


METHOD = Method(pairs=of_round)
