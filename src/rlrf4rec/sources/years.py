"""When the items were released that a user knows and likes."""

from torch import Tensor

from rlrf4rec.sources.given import SourceInputs
from rlrf4rec.sources.numbers import User, eras, liked, vectors


def numbers(history: User, genres: list[str]) -> list[float]:
    """Release years: quantiles, mean and spread, of all and of liked items."""
    return [*eras(history), *eras(liked(history))]


def make(given: SourceInputs) -> Tensor:
    """Vectors [users, 1, width]."""
    return vectors(given, "years", numbers)
