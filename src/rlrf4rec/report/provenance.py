"""Section on where the numbers come from: data, models, params, and the hashes of the files that were read."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlrf4rec.report import numbers
from rlrf4rec.report.blocks import Note, Section, TableBlock

Json = Mapping[str, Any]


def provenance(
    dataset: Json,
    counts: Mapping[str, Json],
    models: Mapping[str, Json],
    params: Json,
    read: Sequence[Path],
    computed: Mapping[str, str],
) -> Section:
    """`counts` by stage; `models` and `params` as plain values of params.yaml; `read` are the files of this page;
    `computed`: what each stage computed in, by its metrics file.
    """
    files = [("data set as fetched", "SHA-256", dataset.get("source_sha256", numbers.DASH))]
    files += [
        (f"{role}: {m['name']}", "SHA-256", m.get("sha256") or m.get("revision") or numbers.DASH)
        for role, m in models.items()
    ]
    files += [(path.as_posix(), "MD5", md5(path)) for path in sorted(read)]
    return Section(
        "provenance",
        "Where these numbers come from",
        (
            Note(
                "The params and hashes below define the run. MD5 is what DVC names content by. The same files give "
                "this page byte for byte."
            ),
            TableBlock(
                "Data",
                ("stage", "what", "number"),
                tuple(
                    (stage, name, numbers.compact(value))
                    for stage, content in counts.items()
                    for name, value in flat(content)
                ),
                words=2,
            ),
            TableBlock(
                "Arithmetic: on another kind of CPU last bits differ", ("stage", "computed in"), _by_value(computed), 2
            ),
            TableBlock(
                "Params", ("param", "value"), tuple((name, _value(value)) for name, value in flat(params)), words=2
            ),
            TableBlock("Files", ("file", "kind", "hash"), tuple(files), words=3),
        ),
    )


def _by_value(computed: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Stages that computed in the same, in one row."""
    stages: dict[str, list[str]] = {}
    for stage, said in computed.items():
        stages.setdefault(said, []).append(stage)
    return tuple((", ".join(of), said) for said, of in stages.items())


def flat(content: Json, before: str = "") -> list[tuple[str, Any]]:
    """Values of nested objects under dotted names.

    >>> flat({"split": {"step": 4}, "seed": 1})
    [('split.step', 4), ('seed', 1)]
    """
    found: list[tuple[str, Any]] = []
    for name, value in content.items():
        where = f"{before}{name}"
        found += flat(value, f"{where}.") if isinstance(value, Mapping) else [(where, value)]
    return found


def md5(path: Path) -> str:
    """MD5 of a file, as DVC computes it."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _value(value: Any) -> str:
    if value is None:
        return "null (from the search)"
    if isinstance(value, list):
        return ", ".join(repr(v) if isinstance(v, str) and not v.strip() else str(v) for v in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
