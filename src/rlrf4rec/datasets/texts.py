"""Columns of items that templates may show: their prices, brands, descriptions."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from rlrf4rec.datasets.found import CONTROL, column, plain
from rlrf4rec.errors import InputError
from rlrf4rec.params.data import shown
from rlrf4rec.tables.interactions import TEXTS, text_names


def together(frame: pl.LazyFrame, path: Path, names: Sequence[str]) -> list[pl.Expr]:
    """The one column `texts` that the columns `names` of a file become, none for no names; InputError as `column`."""
    told = [pl.struct(name=pl.lit(shown(name)), value=_told(frame, path, name)) for name in names]
    return [pl.concat_list(told).cast(TEXTS).alias("texts")] if told else []


def _told(frame: pl.LazyFrame, path: Path, name: str) -> pl.Expr:
    """What a column says, as it is shown: lists with commas, dates as dates; null where a number is none."""
    values, kind = column(frame, path, name)
    if isinstance(kind, pl.Struct):
        parts = ", ".join(f"{name}.{field.name}" for field in kind.fields)
        raise InputError(f"{path}: column {name!r} has parts; interactions.columns.texts must name them: {parts}")
    if isinstance(kind, pl.List):
        return values.cast(pl.List(pl.String)).list.drop_nulls().list.join(", ")
    return (values.fill_nan(None) if kind.is_float() else values).cast(pl.String)


def cleaned(catalogue: pl.DataFrame) -> tuple[list[pl.Expr], dict[str, int]]:
    """The column `texts` of a catalogue that has one, without control characters, null in place of empty values; and
    how many items lack which text, and how many had control characters in one."""
    names = text_names(catalogue)
    if not names:
        return [], {}
    value = pl.element().struct.field("value")
    bare = plain(value)
    made = pl.col("texts").list.eval(pl.struct(pl.element().struct.field("name"), value=pl.when(bare != "").then(bare)))
    values = catalogue.select(made.list.eval(value))["texts"]
    counts = {f"items_without_text_{name}": values.list.get(i).null_count() for i, name in enumerate(names)}
    odd = pl.col("texts").list.eval(value.str.strip_chars().str.contains(CONTROL)).list.any()
    controlled = catalogue.filter(odd).height
    return [made], counts | ({"texts_with_control_characters": controlled} if controlled else {})
