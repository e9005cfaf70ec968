"""The LLM's history of each user: an early part that ends strictly before the candidate lists begin."""

import polars as pl


def cut(timestamps: list[int], length: int) -> int | None:
    """How many of a user's time-ordered interactions are history.

    KAR takes the earliest min((n + 1) // 2, length). Here the cut must fall where time moves on, else
    "before" is file order: the last such place not after KAR's, or the first one after it. None: no place.
    """
    wanted = min((len(timestamps) + 1) // 2, length)
    places = [i for i in range(1, len(timestamps)) if timestamps[i - 1] < timestamps[i]]
    early = [i for i in places if i <= wanted]
    if early:
        return early[-1]
    return places[0] if places else None


def histories(interactions: pl.DataFrame, length: int) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """Split interactions (ordered by user, time) into history and what comes after it.

    Returns the history table, the later interactions with `activity` (interactions of the user before each),
    and the users without a possible cut.
    """
    cuts, uncut = [], []
    for user, rows in interactions.group_by("user", maintain_order=True):
        place = cut(rows["timestamp"].to_list(), length)
        if place is None:
            uncut.append(str(user[0]))
        else:
            cuts.append({"user": user[0], "cut": place})
    places = pl.DataFrame(cuts, schema={"user": pl.String, "cut": pl.Int64})
    ranked = interactions.join(places, on="user", maintain_order="left").with_columns(
        pl.int_range(pl.len()).over("user").cast(pl.Int64).alias("position")
    )
    history = ranked.filter(pl.col("position") < pl.col("cut")).select(
        "user", "position", "item", "rating", "timestamp"
    )
    later = ranked.filter(pl.col("position") >= pl.col("cut")).rename({"position": "activity"}).drop("cut")
    return history, later, uncut


def popularity(items: pl.DataFrame, history: pl.DataFrame, train_users: pl.DataFrame) -> pl.DataFrame:
    """Interactions with each catalogue item in the histories of train users: no label is touched."""
    counted = (
        history.join(train_users, on="user", how="semi").group_by("item").agg(pl.len().cast(pl.Int64).alias("count"))
    )
    return (
        items.select("item")
        .join(counted, on="item", how="left", maintain_order="left")
        .with_columns(pl.col("count").fill_null(0))
    )
