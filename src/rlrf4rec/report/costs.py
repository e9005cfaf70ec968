"""Section on what sampling and DPO cost, as `make bench` measured it."""

from collections.abc import Mapping
from typing import Any

from rlrf4rec.report import numbers
from rlrf4rec.report.blocks import Block, Note, Section, Table

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


def costs(bench: Json | None) -> Section:
    """`bench`: metrics/bench.json, or None where nothing was measured."""
    title = "What does it cost?"
    if bench is None:
        return Section("costs", title, (Note("Not measured: `make bench` does."),))
    machine = bench["machine"]
    share = bench["sampling"]["here"]["share_of_matmul_limit"]
    about = (
        f"{machine['cpu']}, one thread, float32, torch {machine['torch']}, transformers {machine['transformers']}, "
        f"TRL {machine['trl']}. The arms ran in turn, each in a process of its own. A product of matrices reaches "
        f"{numbers.compact(machine['matmul_gflop_per_cpu_s'])} GFLOP in a CPU-second here; sampling reaches "
        f"{share:.0%} of that."
    )
    sizes = tuple(
        (kind, _row(cost["sizes"]), _row(cost["cpu_s"]), numbers.plain(cost["exponent"], 2))
        for kind, cost in bench["scaling"].items()
    )
    large = bench["interactions"]
    told = Note(
        f"{numbers.plain(large['interactions'])} interactions of {numbers.plain(large['users'])} users go through the "
        f"stage interactions in {large['wall_s']:.0f} s with at most {large['peak_mb'] / 1024:.1f} GiB of memory."
    )
    columns = ("work", "sizes", "CPU-seconds", "exponent")
    tables: tuple[Block, ...] = tuple(_arms(what, bench[what]) for what in WORK)
    return Section("costs", title, (Note(about), *tables, Table("Cost of sampling against work", columns, sizes), told))


def _arms(what: str, arms: Json) -> Table:
    per, each = WORK[what]
    rows = []
    for name in (n for n in NAMES if n in arms):
        other = arms["others"].get(name)
        times = "1" if other is None else f"{numbers.compact(other['ratio'])} [{other['low']:g}, {other['high']:g}]"
        memory = (f"{arms[name][key]:.0f}" for key in ("peak_mb", "loaded_mb"))
        rows.append((NAMES[name], numbers.compact(arms[name]["cpu_s_per"]), times, *memory))
    return Table(f"{what}, by {each} ({arms['here'][per]} {per} a turn)", COLUMNS, tuple(rows))


def _row(values: list[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
