"""What a user likes: ratings at or above the user's own mean."""

from collections.abc import Iterable
from fractions import Fraction


def at_or_above_mean(ratings: Iterable[float]) -> list[bool]:
    """For each rating whether it reaches the mean of all, exact in the decimals that a rating is written with.

    A mean of floats can lie above ratings that are all alike.

    >>> at_or_above_mean([4.1] * 6), at_or_above_mean([4.0, 4.1, 4.2])
    ([True, True, True, True, True, True], [False, True, True])
    """
    exact = [Fraction(str(float(rating))) for rating in ratings]
    total = sum(exact)
    return [rating * len(exact) >= total for rating in exact]
