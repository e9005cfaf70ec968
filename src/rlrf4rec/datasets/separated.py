"""Reading separated files: by polars where a separator is one character and the file UTF-8, else line by line."""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from rlrf4rec.datasets import utf8
from rlrf4rec.datasets.found import LINE, MORE, ROW, reading
from rlrf4rec.errors import InputError


def scan(path: Path, separator: str, names: tuple[str, ...] | None = None, quote: str | None = None) -> pl.LazyFrame:
    """Columns of a separated UTF-8 file as text, with `MORE` of each row and its `LINE`, or its `ROW` where quoted
    parts may hold line breaks; `names` where it has no header.

    InputError when it has another encoding, or a column that stands twice.
    """
    with reading(path, "a separated UTF-8 file"):
        utf8.check(path)
        columns = list(names or _header(path, separator, quote))
        frame = pl.scan_csv(
            path,
            separator=separator,
            quote_char=quote,
            infer_schema=False,
            has_header=names is None,
            schema=dict.fromkeys([*columns, MORE], pl.String) if columns else None,
            missing_columns="insert",  # as no header names the last
            truncate_ragged_lines=True,  # else polars tells no line
            row_index_name=ROW if quote else LINE,
            row_index_offset=1 if names else 2,
        )
        frame.collect_schema()
    return frame.with_columns(pl.col(MORE).is_not_null())


def _header(path: Path, separator: str, quote: str | None) -> list[str]:
    """Names of the columns, those without one as polars calls them; none of an empty file, which polars tells.

    InputError for a name that stands twice, of which polars would rename the second in silence, and for a blank line.
    """
    kind: dict[str, Any] = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:  # a block of it is decoded
        try:
            header = next(csv.reader(file, delimiter=separator, **kind), None)
        except csv.Error as error:
            raise InputError(f"{path}: line 1: not a header: {error}") from None
    if header is None:
        return []
    if not header:
        raise InputError(f"{path}: line 1: blank, where names of columns are expected; remove it")
    "".join(header).encode()  # a byte that is no UTF-8 ends here
    for name, times in Counter(header).items():
        if name and times > 1:
            places = " and ".join(str(place) for place, other in enumerate(header, 1) if other == name)
            raise InputError(f"{path}: line 1: column {name!r} stands {times} times (columns {places}); rename one")
    unnamed = iter(["", *(f"_duplicated_{number}" for number in range(len(header)))])
    return [name or next(unnamed) for name in header]


def lines(path: Path, encoding: str, separator: str, names: tuple[str, ...]) -> pl.DataFrame:
    """A small file whose separator has more than one character or whose encoding is not UTF-8, split line by line.

    InputError for a line of more or fewer parts than `names`.
    """
    with reading(path, f"a text file in {encoding}"):
        unicode = encoding == "utf-8"
        utf8.check(path, encoding, markable=unicode)
        # "\n" alone ends a line: Latin-1 and Unicode have more such characters, and titles hold them
        with path.open(encoding="utf-8-sig" if unicode else encoding, newline="\n") as file:
            whole = [line.rstrip("\r\n") for line in file]
    rows = pl.DataFrame({"whole": whole}, schema={"whole": pl.String}).with_row_index("line", 1)
    parts = rows.filter(pl.col("whole") != "").with_columns(pl.col("whole").str.split(separator))
    other = parts.filter(pl.col("whole").list.len() != len(names))
    if other.height:
        raise InputError(
            f"{path}: line {other['line'][0]}: {other['whole'][0].len()} columns, expected {len(names)} "
            f"({', '.join(names)}) between {separator!r} ({other.height} such lines)"
        )
    return parts.select("line", *(pl.col("whole").list.get(i).alias(name) for i, name in enumerate(names)))
