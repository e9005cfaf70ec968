"""Preference pairs as tokens."""

import polars as pl

from rlrf4rec.alignment.packed import TokenPair
from rlrf4rec.errors import RLRFError


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
