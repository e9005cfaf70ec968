"""Tables, vectors and lists that several stages read, checked as they are read."""

from dataclasses import dataclass

import polars as pl

from rlrf4rec import paths, vectors
from rlrf4rec.ranking.lists import Catalogue, Lists
from rlrf4rec.tables.interactions import ITEMS
from rlrf4rec.tables.split import FOLD_USERS, HISTORY, LISTS, POPULARITY, check_fold, check_history
from rlrf4rec.vectors import Vectors


@dataclass(frozen=True)
class Tables:
    """Users with folds, items, popularity, and the length of a candidate list is in the lists themselves."""

    users: pl.DataFrame
    items: pl.DataFrame
    popularity: pl.DataFrame

    def vectors(self, name: str) -> Vectors:
        """Vectors of a source of texts, rows as in users and items."""
        return vectors.read(paths.vectors(name), self.users["user"], self.items["item"])

    def catalogue(self, described: Vectors) -> Catalogue:
        """The catalogue with the item vectors of `described`."""
        return Catalogue.of(self.items, self.popularity, described.items)

    def list_frame(self, fold: str) -> pl.DataFrame:
        """Candidate lists of a fold, checked for users of other folds and against the histories."""
        path = paths.lists(fold)
        frame = check_fold(LISTS.read(path), self.users, fold, path)
        check_history(frame, HISTORY.read(paths.HISTORY), path)
        return frame

    def lists(self, frame: pl.DataFrame) -> Lists:
        """Lists as tensors; users and items as rows of the tables."""
        return Lists.of(frame, self.users["user"], self.items["item"])

    def rows(self, condition: pl.Expr) -> list[int]:
        """Row numbers of the users that fulfil a condition."""
        return self.users.with_row_index("row").filter(condition)["row"].to_list()


def read_tables() -> Tables:
    """Read users, items and popularity."""
    return Tables(FOLD_USERS.read(paths.FOLD_USERS), ITEMS.read(paths.ITEMS), POPULARITY.read(paths.POPULARITY))


TUNING = pl.col("role").is_in(["tune", "both"])
RANKING = pl.col("role").is_in(["rank", "both"])
