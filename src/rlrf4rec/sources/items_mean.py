"""What a user likes, by the items' own vectors."""

from itertools import compress

import torch
from torch import Tensor

from rlrf4rec.liking import at_or_above_mean
from rlrf4rec.sources.given import SourceInputs


def make(given: SourceInputs) -> Tensor:
    """Mean vectors, [users, 1, width], of the items that a user's history rates at or above the user's mean."""
    tables = given.tables
    described = tables.item_features().vectors
    row = {item: number for number, item in enumerate(tables.items["item"])}
    rated = given.history.group_by("user").agg("item", "rating")
    liked = {user: list(compress(items, at_or_above_mean(ratings))) for user, items, ratings in rated.iter_rows()}
    return torch.stack([described[[row[i] for i in liked[user]]].mean(dim=0) for user in tables.users["user"]])[:, None]
