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
from rlrf4rec.files import atomic, fingerprint, read_json, sha256, write_json

FOLDER = paths.METRICS / "cost"
PAGE = FOLDER / "index.html"
MEGA = 1024 * (1024 if sys.platform == "darwin" else 1)  # the largest resident size comes in bytes there, else in kB


def place(stage: str, entry: list[str]) -> Path:
    """The file of a stage's entry, by its name, the first word: `sample-base.json`."""
    return FOLDER / f"{'-'.join([stage, *entry[:1]])}.json"


@contextmanager
def measured(stage: str, entry: list[str], params: Any, kinds: list[str], begun: float | None = None) -> Iterator[None]:
    """Write what the block costs. `params`: the blocks that the stage gets; `kinds`: what its LLM computes in, if any.

    `kept`: pieces of work that it took from the store, which an earlier stage has paid for; left out where none was.
    `begun`: when the process began, by `time.monotonic`: then all of it is counted, its imports among it.
    A disk that is full or can't be written on ends no stage that has done its work: it is told.
    """
    from rlrf4rec import store

    wall, cpu, before, taken = time.monotonic(), _cpu_seconds(), machine.counted(), store.taken()
    yield
    used = [resource.getrusage(who).ru_maxrss / MEGA for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    end = time.monotonic()
    spent, done = end - wall, machine.counted() - before
    content = {
        "wall_s": round(spent if begun is None else end - begun, 1),
        "cpu_s": round(_cpu_seconds() - (cpu if begun is None else 0.0), 1),
        **({"kept": kept} if (kept := store.taken() - taken) else {}),
        **(_reached(done, spent) if done else {}),
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


def _reached(operations: float, seconds: float) -> dict[str, Any]:
    """What the LLM's products came to, and beside it what the machine can do, as it was measured before the stage."""
    limits = dict(sorted(machine.measured.items()))
    done = {"tflop": round(operations / 1e12, 3), "gflop_per_s": round(operations / 1e9 / seconds, 1)}
    return {**done, **({"machine": limits} if limits else {})}


def identity(stage: str, entry: list[str], params: Any) -> str:
    """Names the run that the cost is of, by its params and its metrics file.

    DVC can bring back outputs of another run than the last; the cost file stays, and is seen to be of another one.
    """
    metrics = paths.metrics(stage, entry[0] if entry else None)
    found = sha256(metrics) if metrics.is_file() else None
    return fingerprint([{name: str(block) for name, block in params.items()}, found])[:16]


def write_page(stages: tuple[str, ...], state: str = "") -> None:
    """Write the costs of all stages as a page, which the report shows; a page that can't be written is told.

    state: what `rlrf4rec check --write` says of the committed run; a run knows nothing of it.
    """
    from rlrf4rec.report.costs import spent_page
    from rlrf4rec.report.worth import beside

    try:
        files = {path.stem: read_json(path) for path in sorted(FOLDER.glob("*.json"))}
        page = spent_page(files, stages, state, beside(files))
        with atomic(PAGE) as temporary:
            temporary.write_text(page, encoding="utf-8", newline="\n")
    except Exception as error:
        print(f"{PAGE} is not written: {error}", file=sys.stderr, flush=True)


def seconds(cpu: str, folder: Path = FOLDER) -> dict[str, float]:
    """Wall seconds of each stage as it was last run on such a CPU, those of its entries together, but for studies'."""
    spent: dict[str, float] = {}
    for path in sorted(folder.glob("*.json")):
        (stage, _, entry), found = path.stem.partition("-"), read_json(path)
        # In a clone lies what the run of somebody else's machine cost.
        if found.get("cpu") == cpu and not paths.study(entry):
            spent[stage] = spent.get(stage, 0.0) + float(found["wall_s"])
    return spent


def _cpu_seconds() -> float:
    """CPU-seconds of this process and of the workers that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system
