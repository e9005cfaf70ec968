"""What stands below the table of costs: each arm's cost beside its gain, each search's beside what it found."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlrf4rec import cost, paths
from rlrf4rec.files import read_json
from rlrf4rec.report import numbers, searches
from rlrf4rec.report.blocks import Note, PageBlock, TableBlock
from rlrf4rec.report.results import METRIC, POOLED
from rlrf4rec.revisions import dag, locks
from rlrf4rec.revisions.dag import Stage

Json = Mapping[str, Any]
Parts = dict[str, list[Json]]  # files of metrics/cost by what is paid for
RUNS = (locks.DEFAULT, *(f"studies/{name}/dvc.yaml" for name in ("controls", "arms/base", "arms/second", "arms")))
PARTS = {
    "sampling": ("sample",),
    "encoding": ("encode", "source"),
    "rewards and pairs": ("tune_reward", "train_reward", "score", "pair"),
    "tuning": ("tune_dpo", "train_dpo", "train_policy", "match_policy"),
    "re-rankers": ("train_ranker", "control", "arm"),
}  # stages by what an arm's CPU-seconds are spent on; the rest is data, lists and prompts
BEFORE = "before that"
CHOOSES, CHOSEN = "best_of_n", ("data/encode/base", "models/train_reward")  # the one source that reads these
TRAINED = {"train_ranker": "this run", "control": "study"}  # stages that an arm ends in


def beside(files: Mapping[str, Json]) -> list[PageBlock]:
    """Of the run and the studies of this folder, as far as there are any; files: metrics/cost by name."""
    evaluate = _known(paths.EVALUATE)
    controls, arms = (
        study.get(str(evaluate.get("protocol")), next(iter(study.values()), {}))
        for study in (_known(paths.CONTROLS), _known(paths.ARMS))
    )
    found = locks.locks(Path()) if Path(dag.PARAMS).exists() else {}
    ran = dag.stages({"stages": {f"{run}:{name}": of for run in RUNS for name, of in found.get(run, {}).items()}})
    seconds = {name: file["cpu_s"] for name, file in files.items() if "cpu_s" in file}
    of_search = {name.partition("-")[0]: spent for name, spent in seconds.items()}
    searched = {stage: _known(paths.metrics(stage)) for stage in searches.SEARCHES}
    tables = [*spent(files, ran, evaluate, controls), *replicated(files, ran, arms)]
    return [*tables, *searches.table(searched, of_search)]


def _known(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}


def spent(files: Mapping[str, Json], ran: Mapping[str, Stage], evaluate: Json, controls: Json) -> list[PageBlock]:
    """Each arm's difference to the constant and CPU-seconds of the stages that it comes from; no block without one.

    files: metrics/cost by name; ran: stages of the locks of the run and the study; controls: the report of a protocol.
    """
    gains = {"train_ranker": _gains(evaluate), "control": _gains(controls)}
    found = {name: _entry(stage) for name, stage in ran.items()}
    arms = [(kind, arm, name) for name, (kind, arm) in found.items() if kind in TRAINED and arm in gains[kind]]
    arms.sort(key=lambda each: (list(TRAINED).index(each[0]), -gains[each[0]][each[1]]["difference"]))
    rows = tuple(
        (f"{arm}, {TRAINED[kind]}", *_gain(gains[kind][arm]), *_cells(_parts(files, ran, name)))
        for kind, arm, name in arms
    )
    about = (
        "CPU-seconds are those of all stages that an arm comes from, each as it was last run. Arms share stages: what "
        "the untuned LLM's texts cost is a part of what the tuned one's did, and is paid once. Arms of the study have "
        "re-rankers under every protocol; their difference is under that of the run. ≥ marks what took finished pieces "
        "of work from the store, as a study's re-rankers that the run has trained before: they cost nothing there."
    )
    columns = ("arm", "gain", "95 % interval", "all", *PARTS, BEFORE)
    caption = f"Each arm's {METRIC.upper()} minus constant, and its CPU-seconds, all and by part; one policy each"
    return [Note(about), TableBlock(caption, columns, rows)] if rows else []


def replicated(files: Mapping[str, Json], ran: Mapping[str, Stage], arms: Json) -> list[PageBlock]:
    """The same of the study of arms, against base and in the mean over its policies; no block where none was run.

    arms: the report of a protocol.
    """
    done = {_entry(stage): name for name, stage in ran.items()}
    kinds, policies = arms.get("kinds", {}), sorted(number for kind, number in done if kind == "arm")
    rows, computed = [], set[str]()
    for arm in (name for name in paths.ARM_POLICIES if name in kinds):
        ends = [(number, done.get(("encode", f"{arm}-{number}"))) for number in policies]
        made = [_with_rankers(_parts(files, ran, end), files, number, len(kinds)) for number, end in ends if end]
        d = arms["differences"].get(f"{arm} - base", {}).get(METRIC, {})
        if made:
            together = {part: [file for of in made for file in of[part]] for part in made[0]}
            rows.append((arm, *_gain(d), *_cells(together, len(made))))
            computed |= {_machine(file) for of in together.values() for file in of if "cpu" in file}
    about = (
        "The arms of several policies. CPU-seconds are a mean over policies, of all stages that a policy's texts come "
        "from, and an equal share of its re-rankers, which are trained for all kinds of knowledge at once."
    )
    if len(computed) > 1:
        about += f" They were spent on several machines: {'; '.join(sorted(computed))}. Hold like against like."
    columns = ("arm", "gain", "95 % interval", "all", *PARTS, BEFORE)
    caption = f"Each arm's {METRIC.upper()} minus base over several policies, and its CPU-seconds a policy"
    return [Note(about), TableBlock(caption, columns, tuple(rows))] if rows else []


def _with_rankers(parts: Parts, files: Mapping[str, Json], number: str, kinds: int) -> Parts:
    whole = files.get(cost.place("arm", [number]).stem, {})
    share = {**whole, "cpu_s": whole["cpu_s"] / kinds} if "cpu_s" in whole else {}
    return {**parts, "re-rankers": [share]}


def _machine(file: Json) -> str:
    """The CPU that a stage ran on, and the GPU of one that used any."""
    device = str(file.get("arithmetic", "")).partition(" on ")[2].partition(",")[0]
    return f"{file['cpu']} with {device}" if " " in device else str(file["cpu"])  # instructions of a CPU are one word


def _gain(d: Json) -> tuple[str, str]:
    return numbers.signed(d.get("difference")), numbers.interval(d)


def _gains(report: Json) -> dict[str, Json]:
    """Pooled difference of each arm to the constant."""
    pairs = {name: name.partition(" - ") for name in report.get("differences", {})}
    found = {arm: report["differences"][name].get(POOLED, {}) for name, (arm, _, b) in pairs.items() if b == "constant"}
    return {arm: by[METRIC] for arm, by in found.items() if METRIC in by}


def _entry(stage: Stage) -> tuple[str, str]:
    """Stage and first argument of a command `rlrf4rec stage argument ...`."""
    _, kind, argument, *_ = [*stage.command.split(), "", "", ""]
    return kind, argument


def _parts(files: Mapping[str, Json], ran: Mapping[str, Stage], last: str) -> Parts:
    """Files of the cost of all stages that `last` comes from, and of it; an empty one where a stage has left none."""
    parts: Parts = {part: [] for part in (*PARTS, BEFORE)}
    for name in needed(ran, last):
        kind, argument = _entry(ran[name])
        part = next((part for part, kinds in PARTS.items() if kind in kinds), BEFORE)
        parts[part].append(files.get(cost.place(kind, [argument] if argument else []).stem, {}))
    return parts


def _cells(parts: Parts, policies: int = 1) -> tuple[str, ...]:
    """Seconds of all and by part, a policy; a dash where a stage has left no file."""
    return tuple(_sum(of, policies) for of in ([file for of in parts.values() for file in of], *parts.values()))


def _sum(found: list[Json], policies: int) -> str:
    if any("cpu_s" not in file for file in found):
        return numbers.DASH
    spent = math.fsum(file["cpu_s"] for file in found)  # a half is not rounded now up, now down by the stages' order
    return numbers.seconds(spent / policies, any("kept" in file for file in found))


def needed(ran: Mapping[str, Stage], last: str) -> set[str]:
    """A stage and all that it comes from."""
    wrote = {path: name for name, stage in ran.items() for path in stage.outs}
    found, todo = set[str](), [last]
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        kind, argument = _entry(ran[name])
        unread = CHOSEN if kind == "source" and argument != CHOOSES else ()
        for dep in (dep for dep in ran[name].deps if not dep.startswith(unread)):
            places = [dep, *(dep[:end] for end, letter in enumerate(dep) if letter == "/")]
            todo += [wrote[place] for place in places if place in wrote]
    return found
