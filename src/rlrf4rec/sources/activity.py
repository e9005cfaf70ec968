"""How much and how generously a user rates."""

import numpy as np
from torch import Tensor

from rlrf4rec.sources.given import SourceInputs
from rlrf4rec.sources.numbers import User, vectors


def numbers(history: User, genres: list[str]) -> list[float]:
    """Log count, mean, spread, share of 4 and 5, log days from the first to the last.

    Where times have fractions of a second, they are counted in these: the days are as many times as long.
    """
    ratings = np.array([float(r["rating"]) for r in history])
    days = (int(history[-1]["timestamp"]) - int(history[0]["timestamp"])) / 86400
    return [np.log1p(len(ratings)), ratings.mean(), ratings.std(), (ratings >= 4).mean(), np.log1p(days)]


def make(given: SourceInputs) -> Tensor:
    """Vectors [users, 1, width]."""
    return vectors(given, "activity", numbers)
