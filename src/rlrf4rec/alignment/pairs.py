"""Preference pairs as tokens."""

import polars as pl

from rlrf4rec.alignment.packed import TokenPair
from rlrf4rec.errors import RLRFError


def token_pairs(pairs: pl.DataFrame, prompts: pl.DataFrame, context: int) -> list[TokenPair]:
    """Pairs of the table as token ids: the prompt as the sampler had it, completions as they were sampled.

    prompts: the table of prompts, which pairs don't hold. RLRFError when a user has none there, or a row is longer than
    the LLM's `context`: nothing is cut in silence.
    """
    tokens = dict(prompts.select("user", "tokens").iter_rows())
    if lacking := [user for user in pairs["user"] if not tokens.get(user)]:
        raise RLRFError(f"pair of user {lacking[0]}: the user has no prompt; run `dvc repro prompt pair`")
    made = [
        TokenPair(tokens[row["user"]], row["chosen_tokens"], row["rejected_tokens"])
        for row in pairs.iter_rows(named=True)
    ]
    for user, pair in zip(pairs["user"], made, strict=True):
        longest = len(pair.prompt) + max(len(pair.chosen), len(pair.rejected))
        if longest > context:
            raise RLRFError(f"pair of user {user}: {longest} tokens do not fit the LLM's context of {context}")
    return made
