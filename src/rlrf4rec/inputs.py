"""Tables, vectors and lists that several stages read, checked as they are read."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl
from torch import Tensor

from rlrf4rec import paths
from rlrf4rec.errors import InputError
from rlrf4rec.ranking.lists import ItemFeatures, Lists
from rlrf4rec.tables import vectors
from rlrf4rec.tables.interactions import ITEMS
from rlrf4rec.tables.split import (
    CANDIDATES,
    FOLD_USERS,
    HISTORY,
    LISTS,
    POPULARITY,
    USERS,
    check_fold,
    check_history,
    check_items,
)


@dataclass(frozen=True)
class Tables:
    """Users with folds, items, popularity, and the folder that the candidate lists lie in."""

    users: pl.DataFrame
    items: pl.DataFrame
    popularity: pl.DataFrame
    folder: Path = paths.SPLIT

    def texts(self, name: str, users: str = "all") -> Tensor:
        """Vectors of texts about users, [users, samples, width], rows as in `users`."""
        return self.text_vectors(paths.vectors(name), users)

    def text_vectors(self, path: Path, users: str) -> Tensor:
        """The same of a file; those of `users` (of `tables.split.USERS`) have to be there, others may be NaN."""
        return vectors.read_texts(path, self.users["user"], self.rows(USERS[users]))

    def item_features(self, described: Path | None = None) -> ItemFeatures:
        """What is known of the items, with these vectors of their side; None: those of the items' texts.

        InputError unless each item has its popularity, in the items' order.
        """
        if not self.items["item"].equals(self.popularity["item"]):
            raise InputError(
                f"{paths.POPULARITY}: not one row for each of the {self.items.height} items of {paths.ITEMS}, in their "
                "order; run `dvc repro split`"
            )
        found = vectors.read_texts(described or paths.vectors("items"), self.items["item"])[:, 0]
        return ItemFeatures.of(self.items, self.popularity, found)

    def list_frame(self, fold: str) -> pl.DataFrame:
        """Candidate lists of a fold, checked for users of other folds, against the items and against the histories.

        A list without a positive (KAR's protocol has such) teaches nothing: it counts, with 0, where it is evaluated.
        """
        path = paths.lists(fold, self.folder)
        frame = check_items(check_fold(LISTS.read(path), self.users, fold, path), self.items, path)
        check_history(frame, HISTORY.read(paths.HISTORY), path)
        return frame if fold == "development" else frame.filter(pl.col("label").max().over("user", "list") > 0)

    def lists(self, frame: pl.DataFrame) -> Lists:
        """Lists as tensors; users and items as rows of the tables."""
        return Lists.of(frame, self.users["user"], self.items["item"])

    def lists_of(self, frame: pl.DataFrame, fold: str, whose: str) -> Lists:
        """The same of lists of a fold; InputError when there is none. `whose` they are, in words."""
        if not frame.height:
            raise InputError(f"{paths.lists(fold, self.folder)}: no list of {whose}; run `dvc repro split`")
        return self.lists(frame)

    def candidates(self, fold: str = "development") -> Lists:
        """Lists of a fold without their labels; InputError for users of other folds, unknown items, or no list."""
        path = paths.candidates(self.folder)
        frame = check_items(check_fold(CANDIDATES.read(path), self.users, fold, path), self.items, path)
        if not frame.height:
            raise InputError(f"{path}: no list of a {fold} user; run `dvc repro split`")
        return self.lists(frame)

    def rows(self, condition: pl.Expr) -> list[int]:
        """Row numbers of the users that fulfil a condition."""
        return self.users.with_row_index("row").filter(condition)["row"].to_list()


def read_tables() -> Tables:
    """Read users, items and popularity."""
    return Tables(FOLD_USERS.read(paths.FOLD_USERS), ITEMS.read(paths.ITEMS), POPULARITY.read(paths.POPULARITY))
