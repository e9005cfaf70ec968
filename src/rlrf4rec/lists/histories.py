"""The LLM's history of each user: an early part that ends strictly before the candidate lists begin."""

import polars as pl


def cut(length: int) -> pl.Expr:
    """How many of a user's time-ordered interactions are history, from their `timestamp`.

    KAR takes the earliest min((n + 1) // 2, length). Here the cut must fall where time moves on, else
    "before" is file order: the last such place not after KAR's, or the first one after it. Null: no place.
    """
    place, moves = pl.int_range(pl.len(), dtype=pl.Int64), pl.col("timestamp").diff() > 0
    wanted = pl.min_horizontal((pl.len() + 1) // 2, length)
    return pl.coalesce(place.filter(moves & (place <= wanted)).max(), place.filter(moves).min())


def histories(interactions: pl.DataFrame, length: int) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """Split interactions (ordered by user, time) into history and what comes after it.

    Returns the history table, the later interactions with `activity` (interactions of the user before each),
    and the users without a possible cut.
    """
    position = pl.int_range(pl.len(), dtype=pl.Int64)
    ranked = interactions.with_columns(position.over("user").alias("position"), cut(length).over("user").alias("cut"))
    history = ranked.filter(pl.col("position") < pl.col("cut")).select(
        "user", "position", "item", "rating", "timestamp"
    )
    later = ranked.filter(pl.col("position") >= pl.col("cut")).rename({"position": "activity"}).drop("cut")
    uncut = ranked.filter(pl.col("cut").is_null())["user"].unique(maintain_order=True)
    return history, later, uncut.to_list()


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
