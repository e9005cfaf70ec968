"""Any CSV or Parquet files, by a mapping of columns in the params; several files are read as one."""

from pathlib import Path

import polars as pl

from rlrf4rec.datasets import texts
from rlrf4rec.datasets.found import FILE, INTERACTIONS, ITEMS, Found, column, pick, places, reading
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
    rated, rated_at = _scan(folder, p.files.interactions, "interactions", p.separator)
    known, known_at = _scan(folder, p.files.items, "items", p.separator)
    interactions = pick(rated, rated_at[0], {name: columns[name] for name in INTERACTIONS})
    told = texts.together(known, known_at[0], p.columns.texts)
    items = pick(known, known_at[0], {name: columns[name] for name in ITEMS}, told)
    name = columns["genres"]
    listed = name is not None and isinstance(column(known, known_at[0], name)[1], pl.List)
    paths = rated_at[0], known_at[0], tuple(rated_at[1:]), tuple(known_at[1:])
    return Found(interactions, items, *paths, genres="apart" if listed else "phrases")


def _scan(folder: Path, pattern: str, key: str, separator: str) -> tuple[pl.LazyFrame, list[Path]]:
    paths = sorted(path for path in folder.glob(pattern) if path.is_file())
    if not paths:
        raise InputError(f"{folder}: no file fits {pattern!r}; look at interactions.files.{key}")
    if paths[0].suffix == ".parquet":
        for path in paths:
            try:
                parquet.check(path)
            except Exception as error:  # readers of broken files raise anything
                broken = InputError(f"{path}: not a readable Parquet file ({error})")
                raise explain(error, path) or broken from None
        with reading(paths[0], "Parquet"):
            frames = [pl.scan_parquet(path, row_index_name="line", row_index_offset=1) for path in paths]
            whole = _joined(frames)
            whole.collect_schema()
        return whole, paths
    frames = [scan(path, separator, quote='"') for path in paths]
    heads = [[name for name in frame.collect_schema().names() if name not in places(frame)] for frame in frames]
    for path, head in zip(paths, heads, strict=True):
        if head != heads[0]:
            raise InputError(f"{path}: its columns are {', '.join(head)}; those of {paths[0].name} are others")
    return _joined(frames), paths


def _joined(frames: list[pl.LazyFrame]) -> pl.LazyFrame:
    """One after the other, with `FILE` where there are several."""
    if len(frames) == 1:
        return frames[0]
    return pl.concat([frame.with_columns(pl.lit(n, pl.UInt32).alias(FILE)) for n, frame in enumerate(frames)])
