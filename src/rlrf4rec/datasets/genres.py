"""How genres in one text are told apart: "Action|War", "Action, War", "Action War".

In the items table "|" stands between two genres: one inside of a genre becomes "/".
"""

from pathlib import Path

import polars as pl

from rlrf4rec.datasets.found import PART, column, plain

NO_GENRE = "(no genres listed)"  # newer MovieLens files have it where an item has no genre
SPACE = " "


def listed(frame: pl.LazyFrame, path: Path, name: str | None) -> list[pl.Expr]:
    """The column `genres` of a file whose column `name` has lists, joined by `PART`; none where it has none."""
    values, kind = column(frame, path, name) if name else (pl.lit(None), pl.Null())
    if not isinstance(kind, pl.List):
        return []
    flat = values.list.eval(pl.element().list.join(PART)) if isinstance(kind.inner, pl.List) else values
    return [flat.cast(pl.List(pl.String)).list.join(PART).alias("genres")]


def told_apart(text: pl.Expr, separator: str | None, words: bool) -> pl.Expr:
    """Genres joined by "|", each once, none empty.

    separator: what stands between genres; null: guessed for each text, "|" or "," where it has one, else runs of blanks
    where genres are `words` and nothing where they are not.
    """
    bare = text.str.strip_chars()
    listed = pl.when(bare != NO_GENRE).then(bare).otherwise(pl.lit(""))
    if separator is not None:
        return _joined(listed.str.split(separator))
    guess = _separator(listed, words)
    return (
        pl.when(guess.is_null())
        .then(plain(listed))
        .otherwise(_joined(listed.str.split(pl.coalesce(guess, pl.lit("|")))))
    )


def guessed(text: pl.Series, words: bool) -> dict[str, int]:
    """How many texts each guess of `told_apart` parts, by the separator."""
    bare = pl.col(text.name).str.strip_chars()
    asked = text.to_frame().filter(bare != NO_GENRE).select(guess=_separator(bare, words)).drop_nulls()
    return dict(asked.group_by("guess").len().sort("guess").iter_rows())


def _separator(bare: pl.Expr, words: bool) -> pl.Expr:
    """The first separator that a text has; null for none."""
    asked = ("|", ",", SPACE) if words else ("|", ",")
    return pl.coalesce([pl.when(bare.str.contains(mark, literal=True)).then(pl.lit(mark)) for mark in asked])


def _joined(parts: pl.Expr) -> pl.Expr:
    """Each part once, none empty."""
    named = parts.list.eval(
        plain(pl.element()).filter(plain(pl.element()) != "").str.replace_all("|", "/", literal=True)
    )
    return named.list.unique(maintain_order=True).list.join("|")
