"""What a user likes, by the items' own vectors."""

import polars as pl
import torch
from torch import Tensor

from rlrf4rec.sources.given import SourceInputs


def make(given: SourceInputs) -> Tensor:
    """Mean vectors, [users, 1, width], of the items that a user's history rates at or above the user's mean."""
    tables = given.tables
    described = tables.item_features().vectors
    row = {item: number for number, item in enumerate(tables.items["item"])}
    liked = given.history.filter(pl.col("rating") >= pl.col("rating").mean().over("user"))
    items = dict(liked.group_by("user").agg("item").iter_rows())
    return torch.stack([described[[row[i] for i in items[user]]].mean(dim=0) for user in tables.users["user"]])[:, None]
