"""What a stage cost, in `metrics/cost`: in Git, but outside of what DVC hashes, so that outputs stay byte-equal."""

import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlrf4rec import machine, paths
from rlrf4rec.files import fingerprint, read_json, sha256, write_json

FOLDER = paths.METRICS / "cost"
MEGA = 1024 * (1024 if sys.platform == "darwin" else 1)  # the largest resident size comes in bytes there, else in kB


def place(stage: str, entry: list[str]) -> Path:
    """The file of a stage's entry: `sample-base.json`; words that are paths are left out."""
    return FOLDER / f"{'-'.join([stage, *(word for word in entry if '/' not in word)])}.json"


@contextmanager
def measured(stage: str, entry: list[str], params: Any, kinds: list[str]) -> Iterator[None]:
    """Write what the block costs. `params`: the blocks that the stage gets; `kinds`: what its LLM computes in, if any.

    A disk that is full or can't be written on ends no stage that has done its work: it is told.
    """
    wall, cpu = time.monotonic(), _cpu_seconds()
    yield
    used = [resource.getrusage(who).ru_maxrss / MEGA for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    content = {
        "wall_s": round(time.monotonic() - wall, 1),
        "cpu_s": round(_cpu_seconds() - cpu, 1),
        "peak_mb": round(used[0]),
        "largest_worker_mb": round(used[1]),
        "cpu": machine.cpu_name(),
        "cores": os.cpu_count(),
    }
    if "torch" in sys.modules:
        device = machine.device(params["llm"].device) if "llm" in params else "cpu"
        content["arithmetic"] = machine.arithmetic(" and ".join(sorted(set(kinds))) or "float32", device)
    try:
        write_json(place(stage, entry), {**content, "of": identity(stage, entry, params)})
    except Exception as error:
        print(f"{place(stage, entry)} is not written: {error}", file=sys.stderr, flush=True)


def identity(stage: str, entry: list[str], params: Any) -> str:
    """Names the run that the cost is of, by its params and its metrics file.

    DVC can bring back outputs of another run than the last; the cost file stays, and is seen to be of another one.
    """
    metrics = paths.metrics(stage, entry[0] if entry else None)
    found = sha256(metrics) if metrics.is_file() else None
    return fingerprint([{name: str(block) for name, block in params.items()}, found])[:16]


def seconds(stage: str, folder: Path = FOLDER) -> float | None:
    """Wall seconds of all entries of a stage as they were last run, or None."""
    found = sorted(folder.glob(f"{stage}.json")) + sorted(folder.glob(f"{stage}-*.json"))
    return sum(float(read_json(path)["wall_s"]) for path in found) if found else None


def _cpu_seconds() -> float:
    """CPU-seconds of this process and of the workers that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system
