"""From a data set as found to the tables of the stage `interactions`. Every row left out or mended is counted.

In this order: items without title or text of their own go, and interactions with unknown items; then, where a user
rated an item again, all but the last line in the files; then ratings below `min_rating`; then, until nothing more goes,
users and items of fewer than `user_core` and `item_core` interactions; then users with fewer than `min_interactions`;
last, all but `users` users, drawn by the seed: a larger number draws the same users and more.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from rlrf4rec.datasets.found import CONTROL, YEAR, Found, plain, reading
from rlrf4rec.datasets.genres import guessed, told_apart
from rlrf4rec.errors import InputError
from rlrf4rec.params import Interactions
from rlrf4rec.tables.interactions import RATING_RANGE

YEAR_RANGE = (1800, 2200)  # as the contract of items has it
UNITS = {  # how many make a second; the first has numbers below 1e11: years up to 5138, as of 1973 in each unit
    "seconds": 1,
    "milliseconds": 1_000,
    "microseconds": 1_000_000,
    "nanoseconds": 1_000_000_000,
}
LONGEST = 100_000_000_000  # seconds; a larger number is of the next unit
TIMES = "%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d"
NO_TIME = "is no time: neither seconds since 1970 nor 2024-05-01, 2024-05-01 10:00:00 or 2024-05-01T10:00:00Z"
SHOWN = r"[^\p{Cc}\p{Cf}\p{Z}\s]"  # a character that can be seen
IMPLICIT = 1.0  # the rating of every interaction where the data set has none


@dataclass(frozen=True)
class Raw:
    """Tables of the `interactions` stage, and how many rows were left out or mended, by reason.

    guesses: in how many items' texts genres were told apart by which separator, where the params name none.
    """

    interactions: pl.DataFrame
    users: pl.DataFrame
    items: pl.DataFrame
    counts: dict[str, int] = field(default_factory=dict)
    guesses: dict[str, int] = field(default_factory=dict)


def clean(found: Found, p: Interactions, seed: int) -> Raw:
    """Tables and counts; InputError with file, line and column where a value can't be what it should be."""
    items, counts, guesses = _items(found, p)
    kept, more = _typed(found)  # one name for what is left: a large data set is not held twice
    counts = {"interactions_read": more.pop("interactions_read"), **counts}
    titled = items.filter(pl.col("title").str.contains(SHOWN))
    counts["items_without_title"] = items.height - titled.height
    kept = kept.join(titled, on="item", how="semi", maintain_order="left")
    counts["interactions_with_unknown_item"] = counts["interactions_read"] - kept.height
    known = kept.height
    kept = kept.unique(["user", "item"], keep="last", maintain_order=True)  # rows are still in the files' order
    kept = kept.sort("user", "timestamp", "item")
    counts["interactions_rated_again"] = known - kept.height
    if p.min_rating is not None:
        repeated = kept.height
        kept = kept.filter(pl.col("rating") >= p.min_rating)
        more["interactions_below_min_rating"] = repeated - kept.height
    if max(p.user_core, p.item_core) > 1:
        liked = kept.height
        kept = _core(kept, p.user_core, p.item_core)
        more["interactions_outside_core"] = liked - kept.height
    users = kept.group_by("user", maintain_order=True).agg(pl.len().cast(pl.Int64).alias("interactions"))
    active = users.filter(pl.col("interactions") >= p.min_interactions)
    counts["users_with_few_interactions"] = users.height - active.height
    if p.users is not None:
        more["users_not_drawn"] = max(0, active.height - p.users)
        active = _drawn(active, p.users, seed)
    if active.height < users.height:
        kept = kept.join(active, on="user", how="semi", maintain_order="left")
    counts |= more
    if not kept.height:
        folder = found.interactions_file.parent
        raise InputError(f"{folder}: no interaction is left ({counts}); lower interactions.min_interactions")
    return Raw(kept, active.sort("user"), titled.sort("item"), counts, guesses)


def _drawn(users: pl.DataFrame, number: int, seed: int) -> pl.DataFrame:
    """So many users, those whose hashes with the seed are the smallest, in the order that they had."""
    place = [hashlib.sha256(f"{seed} {user}".encode()).digest() for user in users["user"].to_list()]
    return users.filter(pl.Series(place).rank("ordinal") <= number)


def _core(frame: pl.DataFrame, user_core: int, item_core: int) -> pl.DataFrame:
    """Interactions of users with `user_core` and items with `item_core` of them at least, within what is left."""
    while True:
        enough = (pl.len().over("user") >= user_core) & (pl.len().over("item") >= item_core)
        kept = frame.filter(enough)
        if kept.height == frame.height:
            return kept
        frame = kept


def _items(found: Found, p: Interactions) -> tuple[pl.DataFrame, dict[str, int], dict[str, int]]:
    """Items, counts of what was read and mended, and how often genres were told apart by which guess."""
    path = found.items_file
    with reading(path, "a file of items that can be read", *found.more_files):
        catalogue = found.items.collect()
    titled = catalogue.filter(pl.col("title").str.contains(SHOWN))  # others are left out: they may hold anything
    _refuse(titled, path, "item", pl.col("item").is_null())
    _refuse(titled, path, "item", pl.col("item").is_duplicated(), "is there more than once")
    number = pl.col("year").str.strip_chars().cast(pl.Float64, strict=False).fill_nan(None)
    possible = number.is_between(*YEAR_RANGE) & (number == number.floor())
    year = pl.when(possible).then(number).cast(pl.Int64).alias("year")
    read = catalogue.select("item", plain(pl.col("title").fill_null("")), year, pl.col("genres").fill_null(""))
    bare = pl.col("title").str.replace(YEAR, "")
    doubled = (pl.col("title").str.extract(YEAR).cast(pl.Int64) == pl.col("year")).fill_null(False) & (bare != "")
    words = found.genres == "words"
    separator = "|" if found.genres == "apart" else p.genre_separator
    genres = told_apart(pl.col("genres"), separator, words)
    items = read.with_columns(title=pl.when(doubled).then(bare).otherwise("title"), genres=genres)
    counts = {"items_read": catalogue.height + found.items_repeated, "items_without_year": items["year"].null_count()}
    mended = {
        "items_repeated": found.items_repeated,
        "items_with_impossible_year": catalogue.filter(number.is_not_null() & ~possible).height,
        "items_without_genre": items.filter(pl.col("genres") == "").height,
        "titles_with_year": read.filter(doubled).height,
        "titles_with_control_characters": _controlled(catalogue, "title"),
        "genres_with_control_characters": _controlled(catalogue, "genres"),
    }
    guesses = guessed(read["genres"], words) if separator is None else {}
    return items, counts | {name: count for name, count in mended.items() if count}, guesses


def _controlled(catalogue: pl.DataFrame, column: str) -> int:
    """How many values have control characters inside."""
    return catalogue.filter(pl.col(column).str.strip_chars().str.contains(CONTROL)).height


def _typed(found: Found) -> tuple[pl.DataFrame, dict[str, int]]:
    """Interactions with numbers in place of text, and counts of what was read and mended."""
    path = found.interactions_file
    rating = pl.col("rating").cast(pl.Float64, strict=False)
    written = pl.coalesce([_seconds(form) for form in TIMES])
    number = pl.col("timestamp").cast(pl.Float64, strict=False)
    with reading(path, "a file of interactions that can be read", *found.more_files):
        typed = found.interactions.with_columns(number=rating, time=number.cast(pl.Int64, strict=False))
        frame = typed.collect(engine="streaming")
    for column in ("user", "item"):
        _refuse(frame, path, column, pl.col(column).is_null() | (pl.col(column) == ""))
    counts = {"interactions_read": frame.height}
    if frame["rating"].null_count() == frame.height and frame.height:
        frame = frame.with_columns(number=pl.lit(IMPLICIT))
        counts["interactions_without_rating"] = frame.height
    _refuse(frame, path, "rating", pl.col("number").is_null() | ~pl.col("number").is_between(*RATING_RANGE))
    if frame["time"].null_count():
        textual = frame.filter(pl.col("time").is_null()).with_columns(time=written)
        _refuse(textual, path, "timestamp", pl.col("time").is_null(), NO_TIME)
        counts["timestamps_as_text"] = textual.height
        frame = frame.with_columns(time=pl.coalesce("time", written))
    _refuse(frame, path, "timestamp", pl.col("time") < 0, "is before 1970")
    frame, unit = _in_seconds(frame, path)
    if unit != "seconds":
        counts[f"timestamps_in_{unit}"] = frame.height
    return frame.select("user", "item", rating=pl.col("number"), timestamp=pl.col("time")), counts


def _in_seconds(frame: pl.DataFrame, path: Path) -> tuple[pl.DataFrame, str]:
    """Times in seconds, and the unit they were in, told by their size; InputError where they are in several."""
    least, most = frame.select(pl.min("time").fill_null(0), most=pl.max("time").fill_null(0)).row(0)
    unit, other = _unit(most), _unit(least)
    if unit != other:
        larger = pl.col("time") > LONGEST * UNITS[unit] // 1000
        few = frame.filter(larger).height * 2 <= frame.height
        bad, named, rest = (larger, unit, other) if few else (~larger, other, unit)
        _refuse(frame, path, "timestamp", bad, f"is in {named}, others are in {rest}")
    if UNITS[unit] > 1:
        frame = frame.with_columns(time=pl.col("time") // UNITS[unit])
    return frame, unit


def _unit(time: int) -> str:
    """The unit in which a number is a time of our age."""
    return next(unit for unit, parts in UNITS.items() if time <= LONGEST * parts)


def _seconds(form: str) -> pl.Expr:
    """Seconds since 1970 of a time that is written in `form`, UTC where it names no zone; null where it is not."""
    kind = pl.Datetime("ms", "UTC") if form.endswith("z") else pl.Datetime("ms")
    return pl.col("timestamp").str.strip_chars().str.strptime(kind, form, strict=False).dt.epoch("s")


def _refuse(frame: pl.DataFrame, path: Path, column: str, bad: pl.Expr, why: str = "is not valid") -> None:
    """Raise InputError with the first line that holds a bad value."""
    lines = frame.filter(bad)
    if lines.height:
        line, value = lines.select("line", column).row(0)
        raise InputError(f"{path}: line {line}, column {column}: {value!r} {why} ({lines.height} such lines)")
