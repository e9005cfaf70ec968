"""Who is a final user: by the id alone, as the source has it. No seed, no filter and no other user decides on it.

A data set whose users were looked at before any were laid apart has a list of those who were not: the file of its name
in the folder `final` beside this module. Users that it calls `out` are neither final nor of the run. Of another data
set the users fall into parts by a hash of their ids.
"""

import hashlib
from pathlib import Path

import polars as pl

from rlrf4rec.errors import InputError, ParamsError
from rlrf4rec.params import Interactions

LISTS = Path(__file__).parent / "final"
RUN, FINAL, OUT = "run", "final", "out"
CONSTANT = "rlrf4rec final users"  # never another one: users who have been looked at would change places with others


def belonging(users: pl.Series, p: Interactions) -> pl.Series:
    """To what each user of the data set belongs, `run`, `final` or `out`, in the order of `users`.

    ParamsError for a list that is not there, InputError for one that has none of these users.
    """
    if p.final_folds is None:
        return pl.repeat(RUN, len(users), dtype=pl.String, eager=True)
    if p.final_list is None:
        folds = p.final_folds
        found = [FINAL if part(user, folds) == p.final_fold else RUN for user in users.to_list()]
        return pl.Series(found, dtype=pl.String)
    named = listed(p.final_list)
    if len(users) and not named.keys() & set(users.to_list()):
        raise InputError(
            f"{LISTS / p.final_list}.csv: none of its users is in the data set; set interactions.final_list to null, "
            "and the users' ids decide"
        )
    return pl.Series([named.get(user, RUN) for user in users.to_list()], dtype=pl.String)


def part(user: str, parts: int) -> int:
    """The part of 0 .. parts - 1 that a user falls into: the first 64 bits of SHA-256, cut into equal ranges."""
    first = hashlib.sha256(f"{CONSTANT} {user}".encode()).digest()[:8]
    return int.from_bytes(first, "big") * parts >> 64


def listed(name: str) -> dict[str, str]:
    """Users of a list by their ids, `final` or `out`; ParamsError if there is no list of this name."""
    names = sorted(path.stem for path in LISTS.glob("*.csv"))
    if name not in names:
        raise ParamsError(f"interactions.final_list: no list {name!r}; there are {', '.join(names)}, or null")
    return dict(pl.read_csv(LISTS / f"{name}.csv", infer_schema=False).select("user", "part").iter_rows())
