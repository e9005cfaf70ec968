"""metrics/reproduced.json, which no stage writes: the last `rlrf4rec reproduce` by kind of arithmetic.

A run in the same arithmetic asks whether the code does again what it did; one in another draws other texts and trains
another policy, and asks whether the result is more than one draw. Neither answers for the other, so both are kept.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlrf4rec import paths
from rlrf4rec.errors import InputError
from rlrf4rec.files import read_json, write_json
from rlrf4rec.reproducing.headlines import Headline

REPRODUCED = paths.METRICS / "reproduced.json"
SAME, OTHER = "the same arithmetic", "another arithmetic"
MEND = "`rlrf4rec reproduce` writes it anew, or delete it"

Record = dict[str, Any]


def kind(record: Mapping[str, Any]) -> str:
    """SAME where the run computed in what the committed one did; the number of threads apart.

    >>> kind({"arithmetic": {"committed": ["float32 on avx2, 1 thread"], "here": ["float32 on avx2, 2 threads"]}})
    'the same arithmetic'
    >>> kind({"arithmetic": {"committed": ["bfloat16 on amx_bf16, 1 thread"], "here": ["float32 on avx2, 1 thread"]}})
    'another arithmetic'
    """
    return SAME if widths(record, "committed") == widths(record, "here") else OTHER


def widths(record: Mapping[str, Any], side: str) -> list[str]:
    """What a side (`committed`, `here`) computed in, each once, without its threads."""
    return sorted({word.partition(",")[0] for word in record["arithmetic"][side]})


def read(root: Path) -> dict[str, Record]:
    """The records by kind, none where there is no file; InputError where it is not of the form that is written."""
    if not (root / REPRODUCED).exists():
        return {}
    content = read_json(root / REPRODUCED)
    try:
        if not content or not set(content) <= {SAME, OTHER}:
            raise ValueError(f"the top level holds {', '.join(map(repr, content)) or 'nothing'}")
        for each, record in content.items():
            _check(record)
            if kind(record) != each:
                raise ValueError(f"{each!r} holds a run in {kind(record)}")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        message = f"{REPRODUCED} is not as `rlrf4rec reproduce` writes it ({error!r}); {MEND}"
        raise InputError(message) from None
    return content


def _check(record: Mapping[str, Any]) -> None:
    for row in record["numbers"].values():
        headline(row["committed"], row["tolerance"])
    _ = record["classes"].items(), record["date"], record["machine"]["cpu"], record["commit"]
    _ = record["other_claims"][:0]


def put(record: Record) -> None:
    """Write a record into the workspace's file, in place of the last of its kind; the other stays.

    A file that can't be read is replaced, and that is said: a run of hours is not lost to it.
    """
    try:
        content = read(Path())
    except InputError as error:
        print(f"note: {error}; it is replaced")
        content = {}
    content[kind(record)] = record
    write_json(REPRODUCED, {each: content[each] for each in (SAME, OTHER) if each in content})


def headline(row: Mapping[str, Any], tolerance: float) -> Headline:
    """A side of a number as it stands in the file."""
    return Headline(float(row["value"]), float(tolerance), row.get("low"), row.get("high"), row.get("claimed"))
