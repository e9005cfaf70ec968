"""`metrics/looks.csv`: every look at final users, and what the number of looks does to a p.

A look is known by what was seen (`identity.seen`), not by its commit: to see the same again is no other look. Every
other one counts, whatever its users: those that two sets share can't be told by ids, which are other ones in other data
sets, and to count all bounds the error of all that is ever shown.

Look n is tested at alpha / (n (n + 1)). These add up to alpha over any number of looks, so that with probability
1 - alpha no true null is rejected in any of them (union bound; alpha spending with weights that add up to one: Tian and
Ramdas 2021, "Online control of the familywise error rate", Statistical Methods in Medical Research 30). So the first
look has alpha / 2, and a second one is there for a price. p times the number of looks would not do it: a first look at
alpha and a second one at alpha / 2 make 1.5 alpha.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rlrf4rec.errors import InputError
from rlrf4rec.files import fingerprint, write_csv


@dataclass(frozen=True)
class Look:
    """A row; users: SHA-256 of the ids; seen: see `identity.seen`; look: its number; params: see `commit.changed`."""

    date: str
    commit: str
    final_users: int
    users: str
    seen: str
    look: int
    params: str


COLUMNS = [field.name for field in fields(Look)]


def read(path: Path) -> list[Look]:
    """All rows, the first look first; none where the file is not there. InputError for a file of another kind."""
    return parse(path.read_bytes(), str(path)) if path.exists() else []


def parse(content: bytes, name: str) -> list[Look]:
    """Rows of a file's content; InputError by its name and line."""
    back = "have the file of HEAD back"
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""))
        names = reader.fieldnames
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{name}: {error}; {back}") from None
    if names != COLUMNS:
        raise InputError(f"{name}: its columns are not {', '.join(COLUMNS)}; {back}")
    try:
        return [_look(row) for row in reader]
    except (TypeError, ValueError, csv.Error) as error:
        raise InputError(f"{name}: line {reader.line_num}: {error}; {back}") from None


def _look(row: Mapping[str, str]) -> Look:
    count, look = int(row["final_users"]), int(row["look"])
    return Look(row["date"], row["commit"], count, row["users"], row["seen"], look, row["params"])


def next_look(known: Sequence[Look], commit: str, users: Sequence[str], seen: str, params: str) -> Look:
    """The look that seeing this is: a new one, or the one that it repeats."""
    for look in known:
        if look.seen == seen:
            return look
    today = datetime.now(UTC).date().isoformat()
    return Look(today, commit, len(users), fingerprint(sorted(users)), seen, next_number(known), params)


def next_number(known: Sequence[Look]) -> int:
    """The number of the next look: no row that is gone gives its own back."""
    return 1 + max(len(known), *(look.look for look in known), 0)


def add(path: Path, here: Sequence[Look], look: Look) -> None:
    """Append a look to the rows `here` unless it is among them; it is on the disk when this returns."""
    if look not in here:
        write_csv(path, [asdict(each) for each in (*here, look)])


def spent(look: int) -> int:
    """What a p at this look is multiplied by.

    >>> [spent(1), spent(2), spent(3)]
    [2, 6, 12]
    """
    return look * (look + 1)


def adjusted(found: Any, look: int) -> Any:
    """A report with every `p` and `p_holm` in it adjusted for the number of its look, at most 1.

    >>> adjusted({"a - b": {"difference": 0.1, "p": 0.02, "p_holm": 0.4}}, 2)
    {'a - b': {'difference': 0.1, 'p': 0.12, 'p_holm': 1.0}}
    """
    if not isinstance(found, Mapping):
        return found
    return {
        key: min(1.0, value * spent(look)) if key in ("p", "p_holm") else adjusted(value, look)
        for key, value in found.items()
    }
