"""Reader of RecBole atomic files: tab-separated, `name:type` in the header."""

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from rlrf4rec.errors import RLRFError


@dataclass(frozen=True)
class Raw:
    """Tables of the `interactions` stage, and how many rows were left out or mended, by reason."""

    interactions: pl.DataFrame
    users: pl.DataFrame
    items: pl.DataFrame
    counts: dict[str, int] = field(default_factory=dict)


def read(folder: Path, min_interactions: int) -> Raw:
    """Read the one `.inter` and the one `.item` file of a folder.

    Left out, each with a count: items without title (with their interactions), interactions with unknown
    items, earlier ratings of an item that a user rated again, users with fewer than `min_interactions`.
    Years that are no number become null.
    """
    ratings = _columns(
        folder, ".inter", {"user_id": "user", "item_id": "item", "rating": "rating", "timestamp": "timestamp"}
    )
    catalogue = _columns(
        folder, ".item", {"item_id": "item", "movie_title": "title", "release_year": "year", "class": "genres"}
    )
    counts = {"interactions_read": ratings.height, "items_read": catalogue.height}
    items = catalogue.select(
        "item",
        pl.col("title").fill_null("").str.strip_chars(),
        pl.col("year").cast(pl.Int64, strict=False),
        pl.col("genres").fill_null("").str.strip_chars().str.replace_all(" ", "|", literal=True),
    )
    counts["items_without_year"] = items["year"].null_count()
    titled = items.filter(pl.col("title") != "")
    counts["items_without_title"] = items.height - titled.height
    inter = _numbers(ratings, next(folder.glob("*.inter")))
    known = inter.join(titled, on="item", how="semi")
    counts["interactions_with_unknown_item"] = inter.height - known.height
    last = known.sort("user", "timestamp", "item").unique(["user", "item"], keep="last", maintain_order=True)
    counts["interactions_rated_again"] = known.height - last.height
    users = last.group_by("user", maintain_order=True).agg(pl.len().cast(pl.Int64).alias("interactions"))
    kept = users.filter(pl.col("interactions") >= min_interactions)
    counts["users_with_few_interactions"] = users.height - kept.height
    last = last.join(kept, on="user", how="semi").sort("user", "timestamp", "item")
    if not last.height:
        raise RLRFError(f"{folder}: no interaction is left ({counts}); lower interactions.min_interactions")
    used = titled.sort("item")
    return Raw(last, kept.sort("user"), used, counts)


def _columns(folder: Path, suffix: str, names: dict[str, str]) -> pl.DataFrame:
    files = sorted(folder.glob(f"*{suffix}"))
    if len(files) != 1:
        raise RLRFError(f"{folder}: expected one {suffix} file, found {len(files)}; look at fetch_dataset.path")
    try:
        frame = pl.read_csv(files[0], separator="\t", quote_char=None, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise RLRFError(f"{files[0]}: not a tab-separated UTF-8 file: {error}") from None
    header = {column.split(":")[0]: column for column in frame.columns}
    for name in names:
        if name not in header:
            raise RLRFError(f"{files[0]}: no column {name!r}; its columns are {', '.join(frame.columns)}")
    return frame.select(pl.col(header[name]).alias(alias) for name, alias in names.items())


def _numbers(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    cast = frame.with_columns(
        pl.col("rating").cast(pl.Float64, strict=False),
        pl.col("timestamp").cast(pl.Float64, strict=False).cast(pl.Int64, strict=False),
    )
    for column in ("user", "item", "rating", "timestamp"):
        bad = cast.with_row_index("line", 2).filter(pl.col(column).is_null())
        if bad.height:
            line = int(bad["line"][0])
            value = frame[column][line - 2]
            raise RLRFError(f"{path}: line {line}, column {column}: {value!r} is not valid ({bad.height} such lines)")
    return cast
