"""Candidate lists and features of items as tensors.

Shapes: L lists, C candidates a list, I items, U users, S texts a user, W width of text vectors, G genres.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlrf4rec.files import fingerprint


@dataclass(frozen=True)
class ItemFeatures:
    """What every re-ranker knows of the items, in the order of the items table."""

    vectors: Tensor  # [I, W] of the item descriptions
    genres: Tensor  # [I, G] 0/1
    log_popularity: Tensor  # [I] log(1 + count), standardised over the catalogue

    @staticmethod
    def of(items: pl.DataFrame, popularity: pl.DataFrame, vectors: Tensor) -> "ItemFeatures":
        """From the items and popularity tables, which have the same items in the same order."""
        assert items["item"].equals(popularity["item"]), "popularity has one row per item, in the items' order"
        names = sorted({g for genres in items["genres"] for g in genres.split("|") if g}) or ["-"]
        genres = torch.tensor([[float(n in set(row.split("|"))) for n in names] for row in items["genres"]])
        log_count = torch.log1p(torch.tensor(popularity["count"].to_numpy(), dtype=torch.float32))
        spread = log_count.std().clamp(min=1e-6)
        return ItemFeatures(vectors.float(), genres, (log_count - log_count.mean()) / spread)


@dataclass(frozen=True)
class Lists:
    """Candidate lists; `user` and `item` are rows of the users and items tables."""

    user: Tensor  # int64 [L]
    number: Tensor  # int64 [L], the list's number within its user
    item: Tensor  # int64 [L, C]
    label: Tensor  # int64 [L, C], 0 or 1
    activity: Tensor  # float32 [L], log(1 + interactions of the user before the list)
    first_stage: Tensor | None = None  # float32 [L, C, 2], see `_first_stage`; None: no first stage ranked them

    def __len__(self) -> int:
        return len(self.user)

    def __getitem__(self, rows: Tensor) -> "Lists":
        ranked = None if self.first_stage is None else self.first_stage[rows]
        return Lists(self.user[rows], self.number[rows], self.item[rows], self.label[rows], self.activity[rows], ranked)

    @property
    def ranked(self) -> bool:
        """Whether a first stage ranked them."""
        return self.first_stage is not None

    def identity(self) -> str:
        """Names users, numbers and candidates of the lists, in their order, whatever the labels."""
        return fingerprint([self.user.tolist(), self.number.tolist(), self.item.tolist()])

    @staticmethod
    def of(frame: pl.DataFrame, users: pl.Series, items: pl.Series) -> "Lists":
        """From a lists table; rows of `users` and `items` give the numbers. Without labels all are 0."""
        user_row = {u: i for i, u in enumerate(users)}
        item_row = {t: i for i, t in enumerate(items)}
        frame = frame.sort("user", "list", "position")
        length = int(frame["position"].max()) + 1  # type: ignore[arg-type, operator]
        heads = frame.filter(pl.col("position") == 0)
        shape = (heads.height, length)
        return Lists(
            torch.tensor([user_row[u] for u in heads["user"]]),
            torch.tensor(heads["list"].to_numpy()),
            torch.tensor(np.array([item_row[t] for t in frame["item"]])).view(shape),
            torch.tensor((frame["label"] if "label" in frame.columns else frame["position"] * 0).to_numpy()).view(
                shape
            ),
            torch.log1p(torch.tensor(heads["activity"].to_numpy(), dtype=torch.float32)),
            _first_stage(frame["first_stage"].to_numpy().reshape(shape)) if "first_stage" in frame.columns else None,
        )


def _first_stage(scores: NDArray[np.float64]) -> Tensor:
    """A first stage's scores [L, C] and the discount of its ranks (position 0 is its best), [L, C, 2].

    Both centred and scaled within the list: sums of similarities grow with what the user did before.
    """
    discount = np.broadcast_to(1 / np.log2(np.arange(scores.shape[1]) + 2), scores.shape)
    both = np.stack([scores, discount], axis=-1)
    centred = both - both.mean(axis=1, keepdims=True)
    return torch.from_numpy(centred / both.std(axis=1, keepdims=True).clip(min=1e-9)).float()
