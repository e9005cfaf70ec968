"""Preference pairs as tokens."""

import polars as pl
import torch

from rlrf4rec.alignment.packed import TokenPair
from rlrf4rec.errors import RLRFError

SIDES = ("chosen", "rejected")


def shuffled(pairs: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The table with chosen and rejected texts swapped by a fair coin per pair: the same texts, no preference."""
    swap = torch.rand(pairs.height, generator=torch.Generator().manual_seed(seed)) < 0.5
    coin = pl.Series("swap", swap.tolist())
    sides = ("", "_sample", "_tokens", "_log_prob")
    given = [(f"{one}{part}", f"{other}{part}") for one, other in (SIDES, SIDES[::-1]) for part in sides]
    swapped = [pl.when(coin).then(pl.col(other)).otherwise(pl.col(one)).alias(one) for one, other in given]
    return pairs.with_columns(swapped)


def token_pairs(pairs: pl.DataFrame, context: int) -> list[TokenPair]:
    """Pairs of the table as token ids: the prompt as the sampler had it, completions as they were sampled.

    RLRFError when a row is longer than the LLM's `context`: nothing is cut in silence.
    """
    made = [
        TokenPair(row["prompt_tokens"], row["chosen_tokens"], row["rejected_tokens"])
        for row in pairs.iter_rows(named=True)
    ]
    for user, pair in zip(pairs["user"], made, strict=True):
        longest = len(pair.prompt) + max(len(pair.chosen), len(pair.rejected))
        if longest > context:
            raise RLRFError(f"pair of user {user}: {longest} tokens do not fit the LLM's context of {context}")
    return made
