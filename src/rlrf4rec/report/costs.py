"""Section on what sampling and DPO cost, as `make bench` measured it."""

from collections.abc import Mapping, Sequence
from typing import Any

from rlrf4rec.report import numbers, page
from rlrf4rec.report.blocks import Beside, Heading, Note, PageBlock, Section, TableBlock

Json = Mapping[str, Any]
NAMES = {
    "here": "this repository",
    "transformers": "plain generate of transformers",
    "trl": "stock DPOTrainer of TRL",
    "last_commit": "this repository at the commit before",
}
WORK = {"sampling": ("texts", "text"), "dpo": ("pairs", "preference pair")}
COLUMNS = (
    "who",
    "CPU-seconds each",
    "times the CPU of this repository",
    "peak memory, MB",
    "of it the loaded model, MB",
)


RUN = Beside("What each stage of the last run cost", "../../metrics/cost/index.html")
SPENT = (
    "stage",
    "arithmetic",
    "seconds",
    "CPU-seconds",
    "peak MB",
    "worker MB",
    "GFLOP/s",
    "of products",
)


def spent_page(
    files: Mapping[str, Json], stages: Sequence[str], state: str = "", beside: Sequence[PageBlock] = ()
) -> str:
    """A page with the table of `metrics/cost`, by the files' names without ending; `stages` in the order of a run.

    A page of its own, as the report is hashed and times are never the same twice. state: a sentence on the run that
    becomes another one when the code changes, or none. beside: what stands below the table.
    """
    order = {stage: place for place, stage in enumerate(stages)}
    names = sorted(files, key=lambda name: (order.get(name.split("-")[0], len(order)), name))
    rows = [_spent(name, files[name]) for name in names]
    wall, cpu, memory, worker = (
        [files[name].get(key, 0) for name in names] for key in ("wall_s", "cpu_s", "peak_mb", "largest_worker_mb")
    )
    whole = (f"{sum(wall):.0f}", f"{sum(cpu):.0f}", f"{max(memory, default=0):.0f}", f"{max(worker, default=0):.0f}")
    rows.append(("all", numbers.DASH, *whole, numbers.DASH, numbers.DASH))
    cpus = sorted({str(file["cpu"]) for file in files.values() if "cpu" in file})
    about = (
        f"As each entry was last run on this copy, on {' and '.join(cpus)}. What was kept from before cost nothing: "
        "≥ marks a stage that took finished pieces of work from the store. "
    )
    about += "Worker MB: of the largest one. GFLOP/s: of the LLM's products, and what share of products alone that is."
    table = TableBlock("Cost of each stage", SPENT, tuple(rows), words=2)
    notes = (Note(state), Note(about)) if state else (Note(about),)
    return page.render("RLRF4Rec: what a run cost", [Section("spent", "Time and memory", (*notes, table, *beside))])


def _spent(name: str, file: Json) -> tuple[str, ...]:
    reached, arithmetic = file.get("gflop_per_s"), str(file.get("arithmetic", numbers.DASH))
    limit = file.get("machine", {}).get(f"{arithmetic.split()[0]}_gflop_per_s")
    return (
        name,
        arithmetic,
        f"{file.get('wall_s', 0):.1f}",
        numbers.seconds(file.get("cpu_s", 0), "kept" in file, 1),
        *(f"{file.get(key, 0):.0f}" for key in ("peak_mb", "largest_worker_mb")),
        numbers.DASH if reached is None else f"{reached:.0f}",
        numbers.DASH if reached is None or not limit else f"{reached / limit:.0%}",
    )


def _interactions(measured: Json) -> str:
    count, users = (numbers.plain(measured[what]) for what in ("interactions", "users"))
    return f"{count} interactions of {users} users go through the stage interactions {_taking(measured)}."


def _split(measured: Json) -> str:
    return f"After it they go through the stage split {_taking(measured)}: {numbers.plain(measured['lists'])} lists."


def _retrieved(measured: Json) -> str:
    count, users, items = (numbers.plain(measured[what]) for what in ("interactions", "users", "items"))
    return (
        f"Lists retrieved from {items} items for {users} users of {count} interactions go through the stage split "
        f"{_taking(measured)}; SASRec learns for one epoch there."
    )


def _taking(measured: Json) -> str:
    return f"in {measured['wall_s']:.0f} s with at most {measured['peak_mb'] / 1024:.1f} GiB of memory"


LARGE = {"interactions": _interactions, "split": _split, "retrieved": _retrieved}


def costs(bench: Json | None) -> Section:
    """`bench`: metrics/bench.json, or None where nothing was measured."""
    title = "What does it cost?"
    if bench is None:
        return Section("costs", title, (RUN, Note("Not measured: `make bench` does.")))
    machine = bench["machine"]
    about = (
        f"{machine['cpu']} ({machine['capability']}), one thread, torch {machine['torch']}, transformers "
        f"{machine['transformers']}, TRL {machine['trl']}. The arms ran in turn, each in a process of its own."
    )
    tables: list[PageBlock] = []
    for kind, arms in bench["arithmetic"].items():
        share = arms["sampling"]["here"]["share_of_matmul_limit"]
        limit = numbers.compact(arms["matmul_gflop_per_cpu_s"])
        tables.append(Heading(f"In {kind}"))
        tables.append(
            Note(
                f"A product of matrices reaches {limit} GFLOP in a CPU-second here; sampling reaches {share:.0%} "
                "of that."
            )
        )
        tables += [_arms(what, arms[what]) for what in WORK]
    sizes = tuple(
        (kind, _row(cost["sizes"]), _row(cost["cpu_s"]), numbers.plain(cost["exponent"], 2))
        for kind, cost in bench["scaling"].items()
    )
    large = [Note(tell(bench[name])) for name, tell in LARGE.items() if name in bench]
    columns = ("work", "sizes", "CPU-seconds", "exponent")
    return Section(
        "costs",
        title,
        (RUN, Note(about), *tables, TableBlock("Cost of sampling against work", columns, sizes), *large),
    )


def _arms(what: str, arms: Json) -> TableBlock:
    per, each = WORK[what]
    rows = []
    for name in (n for n in NAMES if n in arms):
        other = arms["others"].get(name)
        times = "1" if other is None else f"{numbers.compact(other['ratio'])} [{other['low']:g}, {other['high']:g}]"
        memory = (f"{arms[name][key]:.0f}" for key in ("peak_mb", "loaded_mb"))
        rows.append((NAMES[name], numbers.compact(arms[name]["cpu_s_per"]), times, *memory))
    return TableBlock(f"{what}, by {each} ({arms['here'][per]} {per} a turn)", COLUMNS, tuple(rows))


def _row(values: list[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
