"""Who is a final user: by the id alone, as the source has it. No seed, no filter and no other user decides on it.

A data set whose users were looked at before any were laid apart has a list of those who were not: the file of its name
in the folder `final` beside this module. Of another data set the users fall into parts by a hash of their ids.
"""

import hashlib
from pathlib import Path

import polars as pl

from rlrf4rec.errors import InputError, ParamsError
from rlrf4rec.params import Interactions

LISTS = Path(__file__).parent / "final"
CONSTANT = "rlrf4rec final users"  # never another one: users who have been looked at would change places with others


def is_final(users: pl.Series, p: Interactions) -> pl.Series:
    """Whether each user of the data set is final; bool, in the order of `users`.

    ParamsError for a list that is not there, InputError for one that has none of these users.
    """
    if p.final_folds is None:
        return pl.repeat(False, len(users), dtype=pl.Boolean, eager=True)
    if p.final_list is None:
        folds = p.final_folds
        return pl.Series([part(user, folds) == p.final_fold for user in users.to_list()], dtype=pl.Boolean)
    found = users.is_in(listed(p.final_list).implode())
    if len(users) and not found.any():
        raise InputError(
            f"{LISTS / p.final_list}.csv: none of its users is in the data set; set interactions.final_list to null, "
            "and the users' ids decide"
        )
    return found


def part(user: str, parts: int) -> int:
    """The part of 0 .. parts - 1 that a user falls into: the first 64 bits of SHA-256, cut into equal ranges."""
    first = hashlib.sha256(f"{CONSTANT} {user}".encode()).digest()[:8]
    return int.from_bytes(first, "big") * parts >> 64


def listed(name: str) -> pl.Series:
    """Ids of the users of a list; ParamsError if there is none of this name."""
    names = sorted(path.stem for path in LISTS.glob("*.csv"))
    if name not in names:
        raise ParamsError(f"interactions.final_list: no list {name!r}; there are {', '.join(names)}, or null")
    return pl.read_csv(LISTS / f"{name}.csv", infer_schema=False)["user"]
