"""Measuring commands against each other in processes of their own, in turn, and what the numbers say."""

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlrf4rec.bench import child
from rlrf4rec.errors import RLRFError
from rlrf4rec.trainers import alone

CHILD = Path(child.__file__).resolve()
SOURCE = CHILD.parents[2]
Result = dict[str, Any]


def run(spec: dict[str, Any], source: Path = SOURCE) -> Result:
    """The numbers of one arm, run with the package under `source`; RLRFError with its last words when it fails."""
    with tempfile.TemporaryDirectory() as folder, alone():
        path = Path(folder) / "spec.json"
        path.write_text(json.dumps({**spec, "folder": folder}), encoding="utf-8")
        settings = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(source), "PYTHONWARNINGS": "ignore", "TQDM_DISABLE": "1"}
        done = subprocess.run(
            [sys.executable, "-P", str(CHILD), str(path)],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
        )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise RLRFError(f"bench: {spec['arm']} failed: {last}")
    return dict(json.loads(lines[-1]))


def summary(results: list[Result], per: str) -> Result:
    """Medians of repeated measurements; `per` names what was made, whose cost is `cpu_s_per`."""
    middle = {key: statistics.median(r[key] for r in results) for key in ("cpu_s", "wall_s", "peak_mb", "loaded_mb")}
    each = [r["cpu_s"] / r[per] for r in results]
    return {per: results[0][per], **_rounded(middle), "cpu_s_per": _significant(statistics.median(each))}


def ratio(others: list[Result], own: list[Result], per: str) -> dict[str, float]:
    """How many times more CPU the others take for the same work: median, lowest and highest of the turns."""
    found = sorted(a["cpu_s"] / a[per] / (b["cpu_s"] / b[per]) for a, b in zip(others, own, strict=True))
    return {
        "ratio": _significant(statistics.median(found)),
        "low": _significant(found[0]),
        "high": _significant(found[-1]),
    }


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Slope of log cost over log size, by least squares: 1 is linear.

    >>> exponent([1, 2, 4, 8], [3, 12, 48, 192])
    2.0
    """
    fit = statistics.linear_regression([math.log(s) for s in sizes], [math.log(c) for c in costs])
    return round(fit.slope, 3)


def _rounded(numbers: dict[str, float]) -> dict[str, float]:
    return {key: _significant(value) for key, value in numbers.items()}


def _significant(value: float) -> float:
    return float(f"{value:.3g}")
