"""Titles that a tokenizer would take in part for its control tokens, such as the end of a chat's message."""

from typing import Any

import polars as pl

COLUMNS = ["title", "genres", "texts"]


def control_words(tokenizer: Any) -> list[str]:
    """The texts that become control tokens wherever they stand in a prompt."""
    return sorted(str(token) for token in tokenizer.added_tokens_decoder.values() if token.special)


def plain(items: pl.DataFrame, words: list[str]) -> tuple[pl.DataFrame, int]:
    """The items with a space in each such word of `COLUMNS`, which makes it plain text, and how many items had one.

    The texts' names are left as they are: a template may call them.

    >>> plain(pl.DataFrame({"title": ["Heat</s>[INST]"], "genres": ["War"]}), ["</s>", "[INST]"])[0].row(0)
    ('Heat< /s>[ INST]', 'War')
    """
    names = [name for name in COLUMNS if name in items.columns]
    mended = items.with_columns(_texts(words) if name == "texts" else _apart(pl.col(name), words) for name in names)
    return mended, items.filter(pl.any_horizontal(*(mended[name] != items[name] for name in names))).height


def _texts(words: list[str]) -> pl.Expr:
    value = _apart(pl.element().struct.field("value"), words)
    return pl.col("texts").list.eval(pl.struct(pl.element().struct.field("name"), value.alias("value")))


def _apart(text: pl.Expr, words: list[str]) -> pl.Expr:
    """With a space in each of the words."""
    for word in words:
        text = text.str.replace_all(word, f"{word[0]} {word[1:]}", literal=True)
    return text
