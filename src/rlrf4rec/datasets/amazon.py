"""Amazon reviews: 2014 and 2018 (JSON lines; the metadata of 2014 are Python literals), 2023 (JSONL, milliseconds)."""

import ast
from pathlib import Path
from typing import Any

import polars as pl

from rlrf4rec.datasets import utf8
from rlrf4rec.datasets.found import LINE, PART, ROW, SHOWN, Found, one, reading
from rlrf4rec.errors import InputError
from rlrf4rec.params import Interactions

OLD = {"reviewerID": "user", "asin": "item", "overall": "rating", "unixReviewTime": "timestamp"}
NEW = {"user_id": "user", "parent_asin": "item", "rating": "rating", "timestamp": "timestamp"}


def read_2014(folder: Path, _: Interactions) -> Found:
    """`reviews_*.json` and `meta_*.json`, whose lines are Python literals."""
    reviews, meta = one(folder, "reviews_*.json"), one(folder, "meta_*.json")
    rows = []
    with reading(meta, "a UTF-8 file"), meta.open(encoding="utf-8-sig") as file:
        utf8.check(meta)
        for number, line in enumerate(file, 1):
            if line.strip():
                rows.append({LINE: number, **_product(line, number, meta)})
    kind = {LINE: pl.UInt32, "item": pl.String, "title": pl.String, "year": pl.String, "genres": pl.String}
    return Found(_scan(reviews, OLD), pl.DataFrame(rows, schema=kind).lazy(), reviews, meta, genres="listed")


def _product(line: str, number: int, path: Path) -> dict[str, Any]:
    try:
        product = ast.literal_eval(line)
        groups = product.get("categories") or []
        genres = PART.join(dict.fromkeys(str(name) for group in groups for name in group))
        told = {"item": product["asin"], "title": product.get("title"), "genres": genres}
        for name, value in told.items():
            if not isinstance(value, str | None):
                raise TypeError(f"its {name} is no text: {value!r:.40}")
            (value or "").encode()  # half of a pair of surrogates is no text either
        return {**told, "year": None}
    except (SyntaxError, ValueError, KeyError, TypeError, AttributeError, MemoryError, RecursionError) as error:
        raise InputError(f"{path}: line {number}: not a product with an asin ({error})") from None


def read_2018(folder: Path, _: Interactions) -> Found:
    """Reviews (every file but the metadata) and `meta_*.json`, both JSON lines."""
    meta = one(folder, "meta_*.json")
    reviews = _other(folder, meta, ".json")
    items, repeated = _catalogue(meta, {"asin": "item"}, "category")
    return Found(_scan(reviews, OLD), items.lazy(), reviews, meta, items_repeated=repeated, genres="listed")


def read_2023(folder: Path, _: Interactions) -> Found:
    """Reviews and `meta_*.jsonl`; an item is its `parent_asin`, which its variants share."""
    meta = one(folder, "meta_*.jsonl")
    reviews = _other(folder, meta, ".jsonl")
    items, repeated = _catalogue(meta, {"parent_asin": "item"}, "categories")
    return Found(_scan(reviews, NEW), items.lazy(), reviews, meta, items_repeated=repeated, genres="listed")


def _other(folder: Path, meta: Path, suffix: str) -> Path:
    files = [path for path in sorted(folder.glob(f"*{suffix}")) if path != meta]
    if len(files) != 1:
        raise InputError(f"{folder}: expected one {suffix} file of reviews beside {meta.name}, found {len(files)}")
    return files[0]


def _scan(path: Path, names: dict[str, str]) -> pl.LazyFrame:
    frame = _json(path, dict.fromkeys(names, pl.String))
    return frame.select(ROW, *(pl.col(name).alias(alias) for name, alias in names.items()))


def _catalogue(path: Path, names: dict[str, str], groups: str) -> tuple[pl.DataFrame, int]:
    """Categories without repeats; of the lines for an item the first with a title, else the first, and how many others
    there are."""
    kinds = {**dict.fromkeys((*names, "title"), pl.String), groups: pl.List(pl.String)}
    frame = _json(path, kinds).rename(names)
    year = pl.lit(None, pl.String).alias("year")
    genres = pl.col(groups).list.unique(maintain_order=True).list.join(PART).alias("genres")
    with reading(path, "JSON lines"):
        lines = frame.select(ROW, "item", "title", year, genres).collect()
    untitled = ~pl.col("title").str.contains(SHOWN).fill_null(False)
    items = lines.sort(untitled, maintain_order=True).unique("item", keep="first", maintain_order=True).sort(ROW)
    return items, lines.height - items.height


def _json(path: Path, schema: dict[str, Any]) -> pl.LazyFrame:
    """Columns of JSON lines; a name that no line has is null everywhere and told later by its column."""
    with reading(path, "JSON lines"):
        utf8.check(path, markable=False)
        frame = pl.scan_ndjson(path, schema=schema, row_index_name=ROW, row_index_offset=1)
        frame.collect_schema()
    return frame
