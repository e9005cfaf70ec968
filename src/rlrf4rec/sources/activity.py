"""How much and how generously a user rates."""

from functools import partial

import numpy as np
from torch import Tensor

from rlrf4rec.sources.given import SourceInputs
from rlrf4rec.sources.numbers import User, vectors


def numbers(history: User, genres: list[str], per_second: int) -> list[float]:
    """Log count, mean, spread, share of 4 and 5, log days from the first to the last."""
    ratings = np.array([float(r["rating"]) for r in history])
    days = (int(history[-1]["timestamp"]) - int(history[0]["timestamp"])) / per_second / 86400
    return [np.log1p(len(ratings)), ratings.mean(), ratings.std(), (ratings >= 4).mean(), np.log1p(days)]


def make(given: SourceInputs) -> Tensor:
    """Vectors [users, 1, width]."""
    return vectors(given, "activity", partial(numbers, per_second=given.per_second))
