"""Wording and numbers that all forms of the report share, and the report as JSON."""

import json
from collections.abc import Sequence
from typing import Any

from rlrf4rec.revisions.comparison import Comparison, Row, Tried
from rlrf4rec.revisions.differences import FROZEN
from rlrf4rec.revisions.git import Revision

HEADS = ["A", "B", "B - A", "95 % interval", "p", "Holm", "MDE", "up"]
LEGEND = (
    "Interval: over new users and newly trained seeds. p: sign flips of users, for these trained re-rankers. Holm: p "
    "adjusted for all of these comparisons. MDE: the true difference that is found in 80 % of cases; where the "
    "interval holds 0, a smaller one may have been missed. up: seeds with a difference above 0."
)


def plain(text: str) -> str:
    """One line without control characters: names and values come from anybody's commit."""
    return "".join(c if c.isprintable() else "?" for c in text)


def listed(things: Sequence[object], shown: int = 5) -> str:
    """The first of them, and how many more."""
    first = ", ".join(str(thing) for thing in things[:shown])
    return f"{first} and {len(things) - shown} more" if len(things) > shown else first


def short(row: Row) -> str:
    """`old -> new` of a changed key, as JSON."""
    sides = [json.dumps(row[k], ensure_ascii=False, default=str) if k in row else "absent" for k in ("old", "new")]
    return plain(" -> ".join(sides))


def hashes(row: Row) -> str:
    """`old -> new` of a changed hash, eight characters of each."""
    return " -> ".join(row[k][:8] if k in row else "absent" for k in ("old", "new"))


def source(path: str) -> str:
    """A source file without what all of them begin with."""
    return plain(path.removeprefix("src/rlrf4rec/"))


def number(value: float | None, signed: bool = False) -> str:
    """Four decimals; empty for a missing one, no sign at what rounds to 0."""
    if value is None:
        return ""
    text = f"{value:+.4f}" if signed else f"{value:.4f}"
    return text[1:] if text in ("+0.0000", "-0.0000") else text


def interval(row: Row) -> str:
    """The 95 % interval of a row of differences."""
    return f"[{number(row['low'], signed=True)}, {number(row['high'], signed=True)}]"


def probability(p: float) -> str:
    """Three decimals without the leading zero."""
    return "<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def cells(row: Row) -> list[str]:
    """The columns `HEADS` of a row of differences."""
    return [
        number(row["a"]),
        number(row["b"]),
        number(row["difference"], signed=True),
        interval(row),
        probability(row["p"]),
        probability(row["p_holm"]),
        number(row["mde"]).removeprefix("0"),
        f"{sum(d > 0 for d in row['by_seed'])}/{len(row['by_seed'])}" if row["by_seed"] else "-",
    ]


def summary_cells(row: Row) -> list[str]:
    """Metric, both values and their change; words as they are."""
    sides = (row.get(side) for side in ("a", "b"))
    values = [plain(value) if isinstance(value, str) else number(value) for value in sides]
    return [plain(row["metric"]), *values, number(row.get("change"), signed=True)]


def title(rows: Sequence[Row], family: int) -> str:
    """What a table of one metric is of."""
    backbones = list(dict.fromkeys(b for row in rows for b in row["backbones"]))
    judge = "under frozen re-rankers" if backbones == [FROZEN] else f"mean of {', '.join(backbones)}"
    users = _either(row["users"] for row in rows)
    seeds = _either(len(row["by_seed"]) for row in rows if row["by_seed"])
    paired = f", {seeds} seeds" if seeds else ", seeds averaged, so not in the interval"
    return plain(f"{rows[0]['metric']}: {judge}; {users} users{paired}; {holm(family)}")


def holm(family: int) -> str:
    """How many comparisons the adjusted p is of."""
    return f"Holm over {family} comparison{'' if family == 1 else 's'}"


def verdict(rows: Sequence[Row]) -> str:
    """Which intervals leave 0 out."""
    up = [row["knowledge"] for row in rows if row["low"] > 0]
    down = [row["knowledge"] for row in rows if row["high"] < 0]
    sides = [f"wholly {side} 0: {', '.join(of)}" for side, of in (("above", up), ("below", down)) if of]
    return plain(f"Interval {'; '.join(sides)}." if sides else "Every interval holds 0.")


def nothing_changed(found: Comparison) -> str:
    """The sentence for two equal runs, else empty."""
    if not found.changes.none:
        return ""
    if found.reasons or any(row["difference"] for row in found.rows):
        return "Params, code, libraries, data and arithmetic of the two runs are the same."
    return "Nothing changed: params, code, libraries, data and arithmetic are the same, and all differences are 0."


def in_short(found: Comparison) -> str:
    """What changed, on one line."""
    said = [f"{row['key']} {short(row)}" for row in found.changes.params]
    said += [f"code of {', '.join(found.changes.code)}"] if found.changes.code else []
    said += [f"{len(found.changes.libraries)} libraries"] if found.changes.libraries else []
    said += (
        [f"arithmetic of {', '.join(r['key'] for r in found.changes.arithmetic)}"] if found.changes.arithmetic else []
    )
    return plain("; ".join(said) or ("only data" if found.changes.data else "nothing"))


def worse_line(row: Row) -> str:
    """Which knowledge failed `--fail-if-worse`."""
    return plain(f"Worse: {row['metric']} with {row['knowledge']}, {row['difference']:+.4f} {interval(row)}")


def as_dict(found: Comparison) -> dict[str, Any]:
    """The comparison as JSON; its keys are those of `Comparison` and its rows, `changed` those of `Changes`.

    `comparable` is false when there are `reasons`; then `summary` and `differences` are empty. Of a changed key
    `old` or `new` is missing where that side does not have it. `worse` is what failed `--fail-if-worse`.
    """
    return {
        "a": _revision(found.a),
        "b": _revision(found.b),
        "comparable": not found.reasons,
        "reasons": found.reasons,
        "notes": found.notes,
        "changed": {
            "params": found.changes.params,
            "code": found.changes.code,
            "libraries": found.changes.libraries,
            "arithmetic": found.changes.arithmetic,
            "data": found.changes.data,
        },
        "summary": found.summary,
        "family": found.family,
        "differences": found.rows,
        "worse": [{"metric": row["metric"], "knowledge": row["knowledge"]} for row in found.worse],
    }


def all_as_dict(tried: Sequence[Tried], notes: Sequence[str], of: Revision) -> dict[str, Any]:
    """The table of experiments as JSON; `fault` says why an experiment could not be read, else it is null."""
    return {
        "a": _revision(of),
        "notes": list(notes),
        "experiments": [
            {"name": one.name, "fault": one.fault or None} | (as_dict(one.comparison) if one.comparison else {})
            for one in tried
        ],
    }


def _revision(revision: Revision) -> dict[str, str | None]:
    return {"name": revision.name, "commit": revision.commit}


def _either(values: Any) -> str:
    return " or ".join(str(v) for v in sorted(set(values)))
