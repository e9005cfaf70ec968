"""Parquet files that may be broken, read by PyArrow.

Polars' own reader ends the process on some broken files, takes others for empty tables, and tells its panics on the
terminal: it gets no file that PyArrow has not read. Whatever is wrong with a file is raised, as any exception.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow
import pyarrow.parquet
from pyarrow import types

PLAIN = (
    types.is_integer,
    types.is_floating,
    types.is_boolean,
    types.is_string,
    types.is_large_string,
    types.is_string_view,
    types.is_null,
    types.is_list,
    types.is_large_list,
    types.is_struct,
)


def whole(path: Path) -> pl.DataFrame:
    """All rows of a table of ours. Types that no such table has are refused: at some of them Polars panics."""
    with _opened(path) as file:
        odd = [field for field in file.schema_arrow if not all(_plain(inner.type) for inner in _nested(field))]
        if odd:
            told = ", ".join(f"{field.name}: {field.type}" for field in odd)
            raise ValueError(f"no table here has such columns: {told}")
        rows = file.read(use_threads=False)
        rows.validate(full=True)
        _check_height(file, rows.num_rows)
    frame = pl.DataFrame(rows)
    del rows
    pyarrow.default_memory_pool().release_unused()  # its copy of a large table would be kept until the end
    return frame


def check(path: Path) -> None:
    """Read a file of any size and types once through, and raise if it is broken."""
    with _opened(path) as file:
        rows = 0
        for batch in file.iter_batches(use_threads=False):
            batch.validate(full=True)
            rows += batch.num_rows
        _check_height(file, rows)


@contextmanager
def _opened(path: Path) -> Iterator[pyarrow.parquet.ParquetFile]:
    """The file; UnicodeDecodeError when a name or a note in it is no UTF-8: there Polars panics."""
    with pyarrow.parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        fields = [inner for field in schema for inner in _nested(field)]
        names = [field.name.encode() for field in fields]
        notes = [part.metadata or {} for part in (schema, *fields)]
        for word in [*names, *(word for pairs in notes for pair in pairs.items() for word in pair)]:
            word.decode()
        yield file


def _check_height(file: pyarrow.parquet.ParquetFile, rows: int) -> None:
    if file.metadata.num_rows != rows:
        raise ValueError(f"it holds {rows} rows, but says {file.metadata.num_rows}")


def _nested(field: Any) -> Iterator[Any]:
    """A field and those of its lists and records, at any depth."""
    yield field
    for place in range(field.type.num_fields):
        yield from _nested(field.type.field(place))


def _plain(kind: Any) -> bool:
    return any(is_kind(kind) for is_kind in PLAIN)
