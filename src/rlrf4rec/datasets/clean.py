"""From a data set as found to the tables of the stage `interactions`. Every row left out or mended is counted.

In this order: items without title or text of their own go, and interactions with unknown items; then, where a user
rated an item again, all but the last line in the files; then ratings below `min_rating`; then, until nothing more goes,
users and items of fewer than `user_core` and `item_core` interactions; then users with fewer than `min_interactions`;
then the final users are laid apart, and who is to be neither goes (see `final_users`); last go all but `users` of the
others, drawn by the seed: a larger number draws the same users and more. What is read is what is kept and the sum of
what each step counts. Interactions are in the order of time; ties keep that of the files.
"""

import hashlib
from dataclasses import dataclass, field

import polars as pl

from rlrf4rec.datasets import final_users, texts
from rlrf4rec.datasets.found import CONTROL, ITEMS, PART, SHOWN, YEAR, Found, plain, reading, refuse, refuse_more
from rlrf4rec.datasets.genres import guessed, told_apart
from rlrf4rec.datasets.times import timed
from rlrf4rec.errors import InputError
from rlrf4rec.params import Interactions
from rlrf4rec.seeds import derive
from rlrf4rec.tables.interactions import RATING_RANGE

YEAR_RANGE = (1800, 2200)  # as the contract of items has it
IMPLICIT = 1.0  # the rating of every interaction where the data set has none


@dataclass(frozen=True)
class Raw:
    """Tables of the `interactions` stage, and how many rows were left out or mended, by reason.

    final: interactions of the users that lie apart. guesses: in how many items' texts genres were told apart by which
    separator, where the params name none.
    """

    interactions: pl.DataFrame
    users: pl.DataFrame
    items: pl.DataFrame
    counts: dict[str, int] = field(default_factory=dict)
    guesses: dict[str, int] = field(default_factory=dict)
    final: pl.DataFrame = field(default_factory=pl.DataFrame)


def clean(found: Found, p: Interactions, seed: int) -> Raw:
    """Tables and counts; InputError with file, line and column where a value can't be what it should be."""
    items, told, guesses = _items(found, p)
    kept, counts = _typed(found)  # one name for what is left: a large data set is not held twice
    counts |= told
    titled = items.filter(pl.col("title").str.contains(SHOWN))
    counts["items_without_title"] = items.height - titled.height

    def narrowed(frame: pl.DataFrame, reason: str) -> pl.DataFrame:
        """The frame, the rows that it lacks of those kept until now counted."""
        counts[f"interactions_{reason}"] = kept.height - frame.height
        return frame

    kept = narrowed(kept.join(titled, on="item", how="semi", maintain_order="left"), "with_unknown_item")
    kept = narrowed(kept.unique(["user", "item"], keep="last", maintain_order=True), "rated_again")
    kept = kept.sort("user", "timestamp", maintain_order=True)  # rows were in the files' order: ties still are
    if p.min_rating is not None:
        kept = narrowed(kept.filter(pl.col("rating") >= p.min_rating), "below_min_rating")
    if max(p.user_core, p.item_core) > 1:
        kept = narrowed(_core(kept, p.user_core, p.item_core), "outside_core")
    users = kept.group_by("user", maintain_order=True).agg(pl.len().cast(pl.Int64).alias("interactions"))
    active = users.filter(pl.col("interactions") >= p.min_interactions)
    counts["users_with_few_interactions"] = users.height - active.height
    kept = narrowed(_of(kept, users, active), "of_users_with_few")
    final = kept.clear()
    if p.final_folds is not None:
        belongs = final_users.belonging(active["user"], p)
        last, out = (active.filter(belongs == name) for name in (final_users.FINAL, final_users.OUT))
        active = active.filter(belongs == final_users.RUN)
        final = kept.join(last, on="user", how="semi", maintain_order="left")
        counts |= {"final_users": last.height, "users_left_out": out.height}
        kept = narrowed(kept.join(last, on="user", how="anti", maintain_order="left"), "of_final_users")
        kept = narrowed(kept.join(out, on="user", how="anti", maintain_order="left"), "of_users_left_out")
    if p.users is not None:
        drawn = _drawn(active, p.users, seed)
        counts["users_not_drawn"] = active.height - drawn.height
        kept = narrowed(_of(kept, active, drawn), "of_users_not_drawn")
        active = drawn
    if not kept.height:
        folder = found.interactions_file.parent
        raise InputError(f"{folder}: no interaction is left ({counts}); lower interactions.min_interactions")
    return Raw(kept, active.sort("user"), titled.sort("item"), counts, guesses, final)


def _of(frame: pl.DataFrame, users: pl.DataFrame, fewer: pl.DataFrame) -> pl.DataFrame:
    """Rows of the `fewer` of the users, in the order that they had."""
    return frame.join(fewer, on="user", how="semi", maintain_order="left") if fewer.height < users.height else frame


def _drawn(users: pl.DataFrame, number: int, seed: int) -> pl.DataFrame:
    """So many users, those whose hashes with the seed are the smallest, in the order that they had."""
    seed = derive(seed, "interactions")
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
    files = found.items_file, *found.more_items
    with reading(files[0], "a file of items that can be read", *files[1:], single=found.single):
        catalogue = found.items.collect()
    refuse_more(catalogue, files)
    read_rows, catalogue = catalogue.height, catalogue.filter(~_is_blank(catalogue))
    titled = catalogue.filter(pl.col("title").str.contains(SHOWN))  # others are left out: they may hold anything
    refuse(titled, files, "item", pl.col("item").is_null())
    refuse(titled, files, "item", pl.col("item").is_duplicated(), "is there more than once")
    number = pl.col("year").str.strip_chars().cast(pl.Float64, strict=False).fill_nan(None)
    possible = number.is_between(*YEAR_RANGE) & (number == number.floor())
    year = pl.when(possible).then(number).cast(pl.Int64).alias("year")
    told, untold = texts.cleaned(catalogue)
    read = catalogue.select("item", plain(pl.col("title").fill_null("")), year, pl.col("genres").fill_null(""), *told)
    bare = pl.col("title").str.replace(YEAR, "")
    doubled = (pl.col("title").str.extract(YEAR).cast(pl.Int64) == pl.col("year")).fill_null(False) & (bare != "")
    words = found.genres == "words"
    separator = {"apart": "|", "listed": PART}.get(found.genres, p.genre_separator)
    genres = told_apart(pl.col("genres"), separator, words)
    whole = pl.col("genres").str.replace_all(PART, " ") if separator == PART else pl.col("genres")
    barred = pl.lit(separator not in (None, "|")) & pl.col("genres").str.contains("|", literal=True)
    items = read.with_columns(title=pl.when(doubled).then(bare).otherwise("title"), genres=genres)
    counts = {"items_read": catalogue.height + found.items_repeated, "items_without_year": items["year"].null_count()}
    counts |= untold
    mended = {
        "items_repeated": found.items_repeated,
        "blank_rows_of_items": read_rows - catalogue.height,
        "items_with_impossible_year": catalogue.filter(number.is_not_null() & ~possible).height,
        "items_without_genre": items.filter(pl.col("genres") == "").height,
        "titles_with_year": read.filter(doubled).height,
        "titles_with_control_characters": _controlled(catalogue, "title"),
        "genres_with_control_characters": _controlled(catalogue.with_columns(whole), "genres"),
        "genres_with_bar": catalogue.filter(barred).height,
    }
    guesses = guessed(read["genres"], words) if separator is None else {}
    return items, counts | {name: count for name, count in mended.items() if count}, guesses


def _is_blank(catalogue: pl.DataFrame) -> pl.Expr:
    """Rows that hold nothing, as blank lines are read."""
    told = [pl.col("texts").list.eval(pl.element().struct.field("value")).list.drop_nulls().list.len() == 0]
    nothing = [pl.col(name).fill_null("").str.strip_chars() == "" for name in ITEMS]
    return pl.all_horizontal(*nothing, *(told if "texts" in catalogue.columns else []))


def _controlled(catalogue: pl.DataFrame, column: str) -> int:
    """How many values have control characters inside."""
    return catalogue.filter(pl.col(column).str.strip_chars().str.contains(CONTROL)).height


def _typed(found: Found) -> tuple[pl.DataFrame, dict[str, int]]:
    """Interactions with numbers in place of text, and counts of what was read and mended."""
    files = found.interactions_file, *found.more_interactions
    rating = pl.col("rating").cast(pl.Float64, strict=False)
    with reading(files[0], "a file of interactions that can be read", *files[1:], single=found.single):
        typed = found.interactions.with_columns(number=rating, time=pl.col("timestamp").cast(pl.Int64, strict=False))
        frame = typed.collect(engine="streaming")
    refuse_more(frame, files)
    for column in ("user", "item"):
        refuse(frame, files, column, pl.col(column).is_null() | (pl.col(column) == ""))
    counts = {"interactions_read": frame.height}
    if frame["rating"].null_count() == frame.height and frame.height:
        frame = frame.with_columns(number=pl.lit(IMPLICIT))
        counts["interactions_without_rating"] = frame.height
    refuse(frame, files, "rating", pl.col("number").is_null() | ~pl.col("number").is_between(*RATING_RANGE))
    frame, times = timed(frame, files)
    return frame.select("user", "item", rating=pl.col("number"), timestamp=pl.col("time")), counts | times
