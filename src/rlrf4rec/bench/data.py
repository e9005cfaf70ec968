"""A generated data set of any size, in the format of MovieLens 25M."""

from pathlib import Path

import numpy as np
import polars as pl

ITEMS = 60_000
FIRST, SECONDS = 1_000_000_000, 600_000_000  # of the timestamps


def generate(folder: Path, interactions: int, users: int, seed: int) -> None:
    """Write `ratings.csv` and `movies.csv`: activity of users and popularity of items fall off as powers.

    About `interactions` rows; a user rates an item at most once.
    """
    rng = np.random.default_rng(seed)
    active = 1 / (np.arange(users) + 50.0) ** 0.6
    counts = np.maximum(10, (active / active.sum() * interactions).astype(np.int64))
    user = np.repeat(np.arange(users), counts)
    item = (ITEMS * rng.random(len(user)) ** 3).astype(np.int64)
    frame = pl.DataFrame({"userId": user + 1, "movieId": item + 1}).unique(maintain_order=True)
    frame = frame.with_columns(
        rating=pl.Series(rng.integers(1, 11, frame.height) / 2),
        timestamp=pl.Series(FIRST + rng.integers(0, SECONDS, frame.height)),
    )
    frame.write_csv(folder / "ratings.csv")
    titles = [f'"Film {i}, The ({1950 + i % 70})"' for i in range(1, ITEMS + 1)]
    lines = [f"{i},{title},Drama|War" for i, title in enumerate(titles, 1)]
    (folder / "movies.csv").write_text("movieId,title,genres\n" + "\n".join(lines) + "\n", encoding="utf-8")
