"""Texts that a policy wrote, as how far another one is from it is measured on them."""

import polars as pl

from rlrf4rec.alignment.packed import TokenPair


def two_each(texts: pl.DataFrame, prompts: pl.DataFrame, users: list[str]) -> list[TokenPair]:
    """The first two texts of each of `users` behind the prompt, in the order of `users`; who lacks one is left out."""
    rows = texts.filter(pl.col("sample") < 2).sort("user", "sample").group_by("user", maintain_order=True)
    both = rows.agg("tokens").filter(pl.col("tokens").list.len() == 2)
    prompted = both.join(prompts.select("user", prompt="tokens"), on="user", how="inner")
    own = {
        user: TokenPair(prompt, *two) for user, two, prompt in prompted.select("user", "tokens", "prompt").iter_rows()
    }
    return [own[user] for user in users if user in own]
