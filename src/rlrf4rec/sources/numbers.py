"""From a user's history to numbers, and from numbers to vectors as the vectors of texts are.

Numbers are standardised over users that may train, then turned at random into as many dimensions as a text's
vector has (an orthogonal map scaled to the norm of a standardised text), so that every kind meets the same net.
"""

from collections.abc import Callable
from itertools import compress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlrf4rec.inputs import Tables
from rlrf4rec.liking import at_or_above_mean
from rlrf4rec.seeds import derive
from rlrf4rec.sources.given import SourceInputs
from rlrf4rec.tables.split import RANKING

User = list[dict[str, Any]]  # rows of a user's history with their items, at least one
Numbers = Callable[[User, list[str]], list[float]]  # of a history and the names of all genres


def vectors(given: SourceInputs, name: str, numbers: Numbers) -> Tensor:
    """Vectors [users, 1, width] of the numbers that `numbers` makes of each user; they turn by the seed of `name`."""
    tables = given.tables
    rows = given.history.join(tables.items, on="item", how="left", maintain_order="left")
    genres = sorted({g for row in tables.items["genres"] for g in row.split("|") if g})
    found = {str(user): frame.to_dicts() for (user,), frame in rows.group_by("user", maintain_order=True)}
    made = np.array([numbers(found[user], genres) for user in tables.users["user"]], dtype=np.float64)
    return turned(torch.from_numpy(made), tables, derive(given.seed, "source", name))


def turned(numbers: Tensor, tables: Tables, seed: int) -> Tensor:
    """Numbers [users, n] as vectors [users, 1, width] of the norm of a standardised text."""
    width = tables.item_features().vectors.shape[1]
    seen = numbers[tables.rows(RANKING)]
    spread = seen.std(dim=0, unbiased=False)
    scaled = torch.where(spread > 1e-9, (numbers - seen.mean(dim=0)) / spread.clamp(min=1e-9), 0.0)
    generator = torch.Generator().manual_seed(seed)
    square = torch.randn(width, numbers.shape[1], generator=generator, dtype=torch.float64)
    basis, _ = torch.linalg.qr(square)
    return ((scaled @ basis.T) * (width / numbers.shape[1]) ** 0.5).float()[:, None]


def liked(history: User) -> User:
    """Rows that are rated at or above the user's mean."""
    return list(compress(history, at_or_above_mean(r["rating"] for r in history)))


def eras(rows: User) -> list[float]:
    """Release years: five quantiles, mean and spread; of year 0 where none is known."""
    found = np.array([int(r["year"]) for r in rows if r["year"]] or [0])
    return [*np.quantile(found, [0.1, 0.25, 0.5, 0.75, 0.9]), found.mean(), found.std()]
