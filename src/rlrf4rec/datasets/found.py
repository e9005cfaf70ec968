"""What a reader of a data set gives, and what readers share: picking columns, naming what is broken."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import polars as pl

from rlrf4rec.datasets import lines as rows_in
from rlrf4rec.datasets import utf8
from rlrf4rec.errors import InputError, explain

INTERACTIONS = "user", "item", "rating", "timestamp"
ITEMS = "item", "title", "year", "genres"
MORE = "more than the header"  # column: whether a row has more parts than there are columns
LINE, ROW = "line", "row"  # column: where a row stands, by its line or, where rows are no lines, by its number
FILE = "number of the file"  # column: which of the files a row is of, where there are several
CONTROL = r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+"
DIGITS = {"ms": 3, "us": 6, "ns": 9}  # of a fraction of a second
SHOWN = r"[^\p{Cc}\p{Cf}\p{Z}\s]"  # a character that can be seen
PART = "\x1f"  # between the genres of a list
YEAR = r"\s*\((\d{4})\)\s*$"  # at the end of a title


@dataclass(frozen=True)
class Found:
    """A data set as its files have it, nothing left out or mended yet; every value is text.

    interactions: user, item, rating, timestamp; items: item, title, year, genres, and `texts` (the names and values of
    `tables.interactions.TEXTS`) where the params name such columns; both with `LINE` or `ROW`. A rating is null where
    the data set has none for anybody. `more_interactions` and `more_items` go on where the two files leave off; rows
    have `FILE` then, and `MORE` where parts are separated. single: of several files each by its path alone, which tells
    the one that can't be read. `items_repeated` rows of items are left out, since another one tells the same item.
    genres: apart, joined by "|"; listed, joined by `PART`; or one text, words or phrases, see `genres.told_apart`.
    """

    interactions: pl.LazyFrame
    items: pl.LazyFrame
    interactions_file: Path
    items_file: Path
    more_interactions: tuple[Path, ...] = ()
    more_items: tuple[Path, ...] = ()
    items_repeated: int = 0
    genres: Literal["apart", "listed", "words", "phrases"] = "apart"
    single: Mapping[Path, pl.LazyFrame] = field(default_factory=dict)


def one(folder: Path, pattern: str) -> Path:
    """The one file of a folder that fits the pattern; InputError when there is none or more."""
    files = sorted(folder.glob(pattern))
    if len(files) != 1:
        what = pattern.removeprefix("*")
        raise InputError(f"{folder}: expected one {what} file, found {len(files)}; look at fetch_dataset.path")
    return files[0]


@contextmanager
def reading(path: Path, kind: str, *more: Path, single: Mapping[Path, pl.LazyFrame] | None = None) -> Iterator[None]:
    """Name the file in whatever goes wrong while it is read, and the place of a byte that is no UTF-8.

    `more`: files that are read along with it; `single`: each of them alone.
    """
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        if lacking := explain(error, path):
            raise lacking from None
        why = str(error).splitlines()[0]  # further lines are about options of the reader
        if re.search("utf-?8", why, re.IGNORECASE):
            _refuse_bytes((path, *more))
        bad = next((file for file in (path, *more) if _is_broken((single or {}).get(file))), path)
        raise InputError(f"{bad}: not {kind}: {why}") from None
    except UnicodeError as error:
        _refuse_bytes((path, *more))
        raise InputError(f"{path}: not {kind}: {error}") from None
    except OSError as error:
        raise explain(error, path) or InputError(f"{path}: not readable: {error}") from None


def _is_broken(frame: pl.LazyFrame | None) -> bool:
    """Whether a file can't be read to its end."""
    try:
        if frame is not None:
            frame.collect(engine="streaming")
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return True
    return False


def _refuse_bytes(paths: tuple[Path, ...]) -> None:
    for path in paths:
        if where := utf8.bad_byte(path):
            raise InputError(f"{path}: {where}") from None


def places(frame: pl.LazyFrame) -> list[str]:
    """Those of the columns that say where a row stands."""
    return [name for name in (LINE, ROW, FILE, MORE) if name in frame.collect_schema()]


def refuse(frame: pl.DataFrame, files: Sequence[Path], column: str, bad: pl.Expr, why: str = "is not valid") -> None:
    """Raise InputError with the first line that holds a bad value."""
    lines = frame.filter(bad)
    if lines.height:
        value = lines[column][0]
        raise InputError(f"{place(lines, files)}, column {column}: {value!r} {why} ({lines.height} such lines)")


def refuse_more(frame: pl.DataFrame, files: Sequence[Path]) -> None:
    """Raise InputError with the first line of more parts than there are columns: what stands in them can't be told."""
    lines = frame.filter(MORE) if MORE in frame.columns else frame.clear()
    if lines.height:
        raise InputError(
            f"{place(lines, files)}: more parts than there are columns ({lines.height} such lines); quote values that "
            "hold the separator"
        )


def place(lines: pl.DataFrame, files: Sequence[Path]) -> str:
    """File and line of the first of these rows."""
    file = files[lines[FILE][0] if FILE in lines.columns else 0]
    return f"{file}: " + (f"line {lines[LINE][0]}" if LINE in lines.columns else rows_in.place(file, lines[ROW][0]))


def plain(text: pl.Expr) -> pl.Expr:
    """Without control characters and without blanks at its ends."""
    return text.str.replace_all(CONTROL, " ").str.strip_chars()


def pick(
    frame: pl.LazyFrame, path: Path, names: Mapping[str, str | None], more: Sequence[pl.Expr] = ()
) -> pl.LazyFrame:
    """The columns `names` (new name: column of the file, dotted inside of a nested one), as text; null for None.

    more: columns as they are to be.
    """
    columns = [
        pl.lit(None, pl.String) if name is None else _text(*column(frame, path, name)) for name in names.values()
    ]
    picked = [made.alias(alias) for made, alias in zip(columns, names, strict=True)]
    return frame.select(*places(frame), *picked, *more)


def column(frame: pl.LazyFrame, path: Path, name: str) -> tuple[pl.Expr, pl.DataType]:
    """A column by its name, dotted inside of a nested one, and its kind; InputError when there is none or more."""
    schema = frame.collect_schema()
    top, *inner = name.split(".") if name not in schema else [name]
    found = [whole for whole in schema.names() if whole.split(":")[0] == top]
    if len(found) != 1:
        there = [whole for whole in schema.names() if whole not in places(frame)]
        times = f"column {top!r} is there {len(found)} times" if found else f"no column {top!r}{_nearest(top, there)}"
        raise InputError(f"{path}: {times}; its columns are {', '.join(there)}")
    values, kind = pl.col(found[0]), schema[found[0]]
    for part in inner:
        parts = {field.name: field.dtype for field in kind.fields} if isinstance(kind, pl.Struct) else {}
        if part not in parts:
            raise InputError(f"{path}: column {top!r} has no part {part!r} ({name}){_nearest(part, list(parts))}")
        values, kind = values.struct.field(part), parts[part]  # type: ignore[assignment]
    return values, kind


def _nearest(name: str, names: Sequence[str]) -> str:
    near = get_close_matches(name, [whole.split(":")[0] for whole in names], 1)
    return f", the nearest is {near[0]!r}" if near else ""


def _text(column: pl.Expr, kind: pl.DataType) -> pl.Expr:
    """As text; the parts of a list are joined by "|", times are seconds since 1970 with what fraction they have."""
    if isinstance(kind, pl.List):
        inner = column.list.eval(pl.element().list.join("|")) if isinstance(kind.inner, pl.List) else column
        return inner.cast(pl.List(pl.String)).list.join("|")
    if isinstance(kind, pl.Datetime | pl.Date):
        digits = DIGITS[kind.time_unit] if isinstance(kind, pl.Datetime) else 0
        time = column.dt.epoch(kind.time_unit if isinstance(kind, pl.Datetime) else "s").cast(pl.Int64)
        seconds, rest = (time // 10**digits).cast(pl.String), time % 10**digits
        return pl.when(rest == 0).then(seconds).otherwise(seconds + "." + rest.cast(pl.String).str.zfill(digits))
    return column.cast(pl.String)
