"""A profile in numbers: genres and era."""

from torch import Tensor

from rlrf4rec.sources.given import SourceInputs
from rlrf4rec.sources.numbers import User, eras, liked, vectors


def numbers(history: User, genres: list[str]) -> list[float]:
    """Shares of each genre among liked and among other items, and the liked ones' release years."""
    own = liked(history)
    return of_parts(own, [r for r in history if r not in own], genres)


def of_parts(own: User, other: User, genres: list[str]) -> list[float]:
    """The same of liked and of other rows."""
    return [*_shares(own, genres), *_shares(other, genres), *eras(own)]


def _shares(rows: User, genres: list[str]) -> list[float]:
    return [sum(genre in str(r["genres"]).split("|") for r in rows) / max(1, len(rows)) for genre in genres]


def make(given: SourceInputs) -> Tensor:
    """Vectors [users, 1, width]."""
    return vectors(given, "profile", numbers)
