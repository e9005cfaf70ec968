"""What `rlrf4rec reproduce` prints and writes."""

import os
import platform
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlrf4rec import machine, store
from rlrf4rec.reproducing import classes, records, runs
from rlrf4rec.reproducing.classes import Held
from rlrf4rec.reproducing.headlines import Headline
from rlrf4rec.reproducing.records import REPRODUCED
from rlrf4rec.reproducing.runs import Run
from rlrf4rec.revisions.git import Revision
from rlrf4rec.revisions.text import PLAIN_WIDTH
from rlrf4rec.revisions.words import interval, number

STYLES = {classes.EQUAL: "green", classes.WITHIN: "", classes.NOT: "bold red"}


def recorded(revision: Revision, how: str, committed: Run, folder: Path) -> tuple[dict[str, Any], dict[str, Held]]:
    """The run in a folder held against the committed one, and put into metrics/reproduced.json of the workspace.

    how: `run` in a clone, or `taken` from the workspace.
    """
    here = runs.of_folder(folder)
    held = classes.hold(committed.numbers, here.numbers)
    content = _record(revision, how, committed, here, held)
    records.put(content)
    return content, held


def _record(revision: Revision, how: str, committed: Run, here: Run, held: Mapping[str, Held]) -> dict[str, Any]:
    other = [path for path, hashes in committed.outputs.items() if here.outputs.get(path) != hashes]
    return {
        "commit": revision.commit,
        "how": how,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": {"cpu": machine.cpu_name(), "cores": os.cpu_count(), "capability": machine.capability("cpu")},
        "arithmetic": {"committed": committed.arithmetic, "here": here.arithmetic},
        "versions": {"python": platform.python_version(), **_versions()},
        "outputs": {"equal": len(committed.outputs) - len(other), "other": other},
        "classes": classes.counts(held),
        "other_claims": classes.other_claims(held),
        "numbers": {name: _row(one) for name, one in held.items()},
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in (*store.LIBRARIES, "dvc"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _row(one: Held) -> dict[str, Any]:
    here = _number(one.here) if one.here else None
    return {"class": one.kind, "tolerance": one.committed.tolerance, "committed": _number(one.committed), "here": here}


def _number(one: Headline) -> dict[str, Any]:
    whole = {"value": one.value, "low": one.low, "high": one.high, "claimed": one.claimed}
    return {key: value for key, value in whole.items() if value is not None}


def show(revision: Revision, content: Mapping[str, Any], held: Mapping[str, Held]) -> None:
    """The table, and what a reader asks after it."""
    fixed = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PLAIN_WIDTH
    console = Console(file=sys.stdout, width=fixed, markup=False, emoji=False, highlight=False)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for head in ("", "committed", "95 % interval", "here", "off by", "tolerance", ""):
        table.add_column(Text(head), justify="left" if not head else "right", no_wrap=bool(head), overflow="fold")
    for name, one in held.items():
        table.add_row(*(Text(cell) for cell in _cells(name, one)), style=STYLES[one.kind])
    console.print(table)
    counted = ", ".join(f"{count} {kind}" for kind, count in content["classes"].items())
    print(f"{revision.label}: {counted}; tolerance: half the width of the committed 95 % interval")
    for claim in content["other_claims"]:
        print(f"note: {claim}")
    outputs = content["outputs"]
    total = outputs["equal"] + len(outputs["other"])
    print(f"outputs equal to the byte: {outputs['equal']} of {total}")
    if records.kind(content) == records.OTHER:
        for where, said in content["arithmetic"].items():
            print(f"arithmetic {where}: {'; '.join(said)}")
    print(f"wrote {REPRODUCED}; `rlrf4rec check --write` tells it in README.md, a commit keeps both")


def _cells(name: str, one: Held) -> list[str]:
    own, here = one.committed, one.here
    signed = own.low is not None
    between = interval({"low": own.low, "high": own.high}) if signed else ""
    off = number(here.value - own.value, signed=True) if here else ""
    shown = number(here.value, signed=signed) if here else "missing"
    return [name, number(own.value, signed=signed), between, shown, off, number(own.tolerance), one.kind]
