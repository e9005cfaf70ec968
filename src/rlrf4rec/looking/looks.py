"""`metrics/looks.csv`: every look at final users, and what the number of looks does to a p.

A look is at users, by their ids: other lists of the same users are another look at them. A second reading of the same
lists by the same commit shows nothing new and is the same look.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from rlrf4rec.errors import InputError
from rlrf4rec.files import fingerprint, write_csv


@dataclass(frozen=True)
class Look:
    """A row of the file; users, lists: SHA-256 of the ids, and of lists and labels; params: see `commit.changed`."""

    date: str
    commit: str
    final_users: int
    users: str
    lists: str
    look: int
    params: str


COLUMNS = [field.name for field in fields(Look)]


def read(path: Path) -> list[Look]:
    """All looks, the first one first; none where the file is not there. InputError for a file of another kind."""
    if not path.exists():
        return []
    back = f"`git checkout {path}` brings it back"
    try:
        reader = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
        names = reader.fieldnames
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: {error}; {back}") from None
    if names != COLUMNS:
        raise InputError(f"{path}: its columns are not {', '.join(COLUMNS)}; {back}")
    try:
        return [_look(row) for row in reader]
    except (TypeError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: line {reader.line_num}: {error}; {back}") from None


def _look(row: Mapping[str, str]) -> Look:
    count, look = int(row["final_users"]), int(row["look"])
    return Look(row["date"], row["commit"], count, row["users"], row["lists"], look, row["params"])


def next_look(before: Sequence[Look], commit: str, lists: pl.DataFrame, params: str) -> Look:
    """The look that reading these lists of final users is: a new one, or the one that it repeats."""
    ids = lists["user"].unique().sort().to_list()
    users = fingerprint(ids)
    content = lists.sort("user", "list", "position").select("user", "list", "item", "label")
    hashed = fingerprint(content.rows())
    own = [look for look in before if look.users == users]
    for look in own:
        if (look.commit, look.lists) == (commit, hashed):
            return look
    today = datetime.now(UTC).date().isoformat()
    return Look(today, commit, len(ids), users, hashed, len(own) + 1, params)


def add(path: Path, before: Sequence[Look], look: Look) -> None:
    """Append a look that is new."""
    if look not in before:
        write_csv(path, [asdict(each) for each in (*before, look)])


def adjusted(found: Any, looks: int) -> Any:
    """A report with every `p` and `p_holm` in it times the number of looks, at most 1 (Bonferroni).

    >>> adjusted({"a - b": {"difference": 0.1, "p": 0.02, "p_holm": 0.4}}, 3)
    {'a - b': {'difference': 0.1, 'p': 0.06, 'p_holm': 1.0}}
    """
    if not isinstance(found, Mapping):
        return found
    return {
        key: min(1.0, value * looks) if key in ("p", "p_holm") else adjusted(value, looks)
        for key, value in found.items()
    }
