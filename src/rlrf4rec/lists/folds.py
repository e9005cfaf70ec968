"""User folds: train, validation, development; which train users tune the LLM; halves for cross-fitting."""

import numpy as np
import numpy.typing as npt
import polars as pl

from rlrf4rec.errors import RLRFError
from rlrf4rec.seeds import derive


def size(users: int, folds: int, fold: int) -> int:
    """How many of so many users are in a fold of 0 .. folds - 1; folds differ by one user at most."""
    return round(users * (fold + 1) / folds) - round(users * fold / folds)


def in_order(users: int, folds: int, fold: int, seed: int) -> npt.NDArray[np.int64]:
    """The users 0 .. users - 1 in a random order in which the last `size(...)` are those of the fold.

    Over all folds each user is among the last exactly once.
    """
    before = round(users * fold / folds)
    return np.roll(np.random.default_rng(derive(seed, "folds")).permutation(users), before)


def assign(
    users: list[str],
    folds: int,
    fold: int,
    validation_share: float,
    tuning_users: str,
    tuning_share: float,
    seed: int,
) -> pl.DataFrame:
    """Assign each user a fold, a role and a half at random.

    The users are cut into `folds` parts of equal size; part `fold` is the development fold, so that over all
    values of `fold` each user is evaluated exactly once. `validation_share` is a share of all users.
    tuning_users "apart": `tuning_share` of the train users tune the LLM, the others train the evaluated
    re-rankers. "shared": every train user does both.
    Returns columns user, fold, role, half, one row per user in the order of `users`.
    """
    order = in_order(len(users), folds, fold, seed)
    n_development, n_validation = size(len(users), folds, fold), round(len(users) * validation_share)
    n_train = len(users) - n_development - n_validation
    n_tune = n_train if tuning_users == "shared" else round(n_train * tuning_share)
    if min(n_development, n_validation, n_train - n_tune if tuning_users == "apart" else 1) < 1 or n_tune < 2:
        raise RLRFError(f"split: {len(users)} users are too few for these shares; a fold or role would be empty")
    role = "both" if tuning_users == "shared" else "tune"
    names, roles, half = (np.empty(len(users), dtype=object) for _ in range(3))
    for rank, user in enumerate(order):
        in_train = rank < n_train
        tunes = rank < n_tune
        names[user] = "train" if in_train else "validation" if rank < n_train + n_validation else "development"
        roles[user] = role if tunes else "rank" if in_train else "none"
        half[user] = "AB"[rank % 2] if tunes else "-"
    return pl.DataFrame({"user": users, "fold": list(names), "role": list(roles), "half": list(half)})
