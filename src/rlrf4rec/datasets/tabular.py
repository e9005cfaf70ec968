"""Any CSV or Parquet files, by a mapping of columns in the params; several files are read as one."""

from pathlib import Path
from typing import Literal

import polars as pl

from rlrf4rec.datasets import genres, texts
from rlrf4rec.datasets.found import FILE, INTERACTIONS, ITEMS, ROW, Found, pick, places, reading
from rlrf4rec.datasets.separated import scan
from rlrf4rec.errors import InputError, explain
from rlrf4rec.params import Interactions
from rlrf4rec.tables import parquet


def read(folder: Path, p: Interactions) -> Found:
    """`files` of the params: patterns of the files with interactions and with items, below the folder.

    `columns` name those of the files, with dots inside of nested Parquet; null for what the files lack: without ratings
    every interaction counts alike.
    """
    columns = p.columns.model_dump()
    rated, logs = _scan(folder, p.files.interactions, "interactions", p.separator)
    known, catalogues = _scan(folder, p.files.items, "items", p.separator)
    (log, *logs_after), (first, *after) = logs, catalogues
    interactions = pick(rated, log, {name: columns[name] for name in INTERACTIONS})
    listed = genres.listed(known, first, columns["genres"])
    kept = {name: columns[name] for name in ITEMS if not (listed and name == "genres")}
    items = pick(known, first, kept, [*listed, *texts.together(known, first, p.columns.texts)])
    kind: Literal["listed", "phrases"] = "listed" if listed else "phrases"
    return Found(
        interactions, items, log, first, tuple(logs_after), tuple(after), genres=kind, single={**logs, **catalogues}
    )


def _scan(folder: Path, pattern: str, key: str, separator: str) -> tuple[pl.LazyFrame, dict[Path, pl.LazyFrame]]:
    """All files that fit the pattern as one, and each alone."""
    paths = sorted(path for path in folder.glob(pattern) if path.is_file())
    if not paths:
        raise InputError(f"{folder}: no file fits {pattern!r}; look at interactions.files.{key}")
    if paths[0].suffix == ".parquet":
        frames = {path: _parquet(path) for path in paths}
    else:
        frames = {path: scan(path, separator, quote='"') for path in paths}
    kinds = [_kinds(frame) for frame in frames.values()]
    for path, found in zip(paths, kinds, strict=True):
        if list(found) != list(kinds[0]):
            raise InputError(f"{path}: its columns are {', '.join(found)}; those of {paths[0].name} are others")
        for name, kind in found.items():
            if kind != kinds[0][name]:
                other = f"{paths[0].name} has {kinds[0][name]} in it"
                raise InputError(f"{path}: column {name!r} has {kind}, but {other}; write them alike")
    return _joined(list(frames.values())), frames


def _parquet(path: Path) -> pl.LazyFrame:
    try:
        parquet.check(path)
    except Exception as error:  # readers of broken files raise anything
        broken = InputError(f"{path}: not a readable Parquet file ({error})")
        raise explain(error, path) or broken from None
    with reading(path, "Parquet"):
        frame = pl.scan_parquet(path, row_index_name=ROW, row_index_offset=1)
        frame.collect_schema()
    return frame


def _kinds(frame: pl.LazyFrame) -> dict[str, pl.DataType]:
    """Columns of a file with their types."""
    own = places(frame)
    return {name: kind for name, kind in frame.collect_schema().items() if name not in own}


def _joined(frames: list[pl.LazyFrame]) -> pl.LazyFrame:
    """One after the other, with `FILE` where there are several."""
    if len(frames) == 1:
        return frames[0]
    return pl.concat([frame.with_columns(pl.lit(n, pl.UInt32).alias(FILE)) for n, frame in enumerate(frames)])
