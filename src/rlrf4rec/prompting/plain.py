"""Titles that a tokenizer would take in part for its control tokens, such as the end of a chat's message."""

from typing import Any

import polars as pl

COLUMNS = ["title", "genres"]


def control_words(tokenizer: Any) -> list[str]:
    """The texts that become control tokens wherever they stand in a prompt."""
    return sorted(str(token) for token in tokenizer.added_tokens_decoder.values() if token.special)


def plain(items: pl.DataFrame, words: list[str]) -> tuple[pl.DataFrame, int]:
    """The items with a space in each such word of `COLUMNS`, which makes it plain text, and how many items had one.

    >>> plain(pl.DataFrame({"title": ["Heat</s>[INST]"], "genres": ["War"]}), ["</s>", "[INST]"])[0].row(0)
    ('Heat< /s>[ INST]', 'War')
    """
    mended = items
    for word in words:
        apart = f"{word[0]} {word[1:]}"
        mended = mended.with_columns(pl.col(COLUMNS).str.replace_all(word, apart, literal=True))
    return mended, items.filter(pl.any_horizontal(*(mended[name] != items[name] for name in COLUMNS))).height
