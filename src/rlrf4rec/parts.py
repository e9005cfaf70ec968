"""Users cut at random into parts of equal size: folds, and those that lie apart."""

import numpy as np
import numpy.typing as npt

from rlrf4rec.seeds import derive


def size(users: int, parts: int, part: int) -> int:
    """How many of so many users are in a part of 0 .. parts - 1; parts differ by one user at most."""
    return round(users * (part + 1) / parts) - round(users * part / parts)


def in_order(users: int, parts: int, part: int, seed: int) -> npt.NDArray[np.int64]:
    """The users 0 .. users - 1 in a random order in which the last `size(...)` are those of the part.

    Over all parts each user is among the last exactly once.
    """
    before = round(users * part / parts)
    return np.roll(np.random.default_rng(derive(seed, "folds")).permutation(users), before)
