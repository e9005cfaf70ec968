"""What the default run is estimated to take, and what is said of the costs that a run has measured."""

from dataclasses import replace
from pathlib import Path

from rlrf4rec import estimate, paths
from rlrf4rec.estimate import LlmSize, Machine, Work
from rlrf4rec.params import recipes
from rlrf4rec.stages import STAGES

SMALL = LlmSize(134_515_008, 30, 576, 192, 49_152)
LARGE = LlmSize(8_030_261_248, 32, 4096, 1024, 128_256)
WORK = Work(943, 418, 267)
CPU = Machine(2, 4e11, 4e11, 25e9, 70e9)
COMMITTED = replace(WORK, users=recipes.read("default").work["users"])  # of the run whose costs are in Git
GPU = Machine(16, 6e13, 1e12, 128e9, 500e9, 80e9)


def params(**changes):
    content = recipes.plain()
    for key, value in {"sample__dtype": "float32", "dpo__precision": "float32", **changes}.items():
        block, _, name = key.partition("__")
        content[block][name] = value
    return recipes.check(content, Path("params.yaml"))


def of_rounds(t):
    """The params of T rounds, in float32."""
    float32 = {"sample.dtype": "float32", "dpo.precision": "float32"}
    return recipes.resolve(recipes.Recipe("x", "x", float32, rounds=t), recipes.plain())[1]


def needs(p=None, llm=SMALL, work=WORK, machine=CPU):
    return {need.stage: need for need in estimate.needs(p or params(), llm, work, machine)}


HEAVY = {"sample", "tune_dpo", "train_dpo", "train_ranker"}  # they keep all cores busy
MEASURED = ("sample-", "tune_dpo-", "train_dpo-")  # cost files that say how fast the machine was
UNDISTURBED = 0.85  # of the cores' time, which a heavy stage reaches where it does not wait for other programs


def part(p, stage, entry):
    """An entry's part of what its stage computes; from the second round on a reference is computed beside the pairs."""
    if stage == "sample":
        return estimate.share_of_sampling(p, COMMITTED, entry)
    return 1.0 if entry == "round1" else 1.5


def held(files):
    """What is said of stages whose estimate is far from their cost in `files`, and the stages that others disturbed.

    The machine as each entry of the LLM's stages measured it beside its own work, since a run that was begun on
    another day or machine may have been twice as fast; for nets of one thread at its best of these. A busy machine
    makes a stage wait, so it would have taken between its CPU-seconds on all cores and its wall seconds; waiting makes
    the former more as well, so what a heavy stage took that waited much says nothing, and is left out.
    """
    own = files["sample-base"]
    files = {name: cost for name, cost in files.items() if cost["cpu"] == own["cpu"]}
    arithmetic = own["arithmetic"].split()[0]
    p = params(sample__dtype=arithmetic, dpo__precision=arithmetic)
    own_work = {name: cost for name, cost in files.items() if "machine" in cost}  # what was kept has measured nothing
    measured = {name: cost["machine"] for name, cost in own_work.items() if name.startswith(MEASURED)}
    best = {
        key: max(one[key] for one in measured.values()) for key in (f"{arithmetic}_gflop_per_s", "float32_gflop_per_s")
    }
    best["ns_per_number"] = min(one["ns_per_number"] for one in measured.values())

    def seconds(speeds):
        """What each stage takes on a machine of these speeds."""
        speed, cpu_speed = (1e9 * speeds[f"{kind}_gflop_per_s"] for kind in (arithmetic, "float32"))
        there = Machine(own["cores"], speed, cpu_speed, 25e9, 70e9, per_number=1e-9 * speeds["ns_per_number"])
        return {stage: need.seconds for stage, need in needs(p, work=COMMITTED, machine=there).items()}

    found = seconds(best)
    assert set(found) == HEAVY | {"others"}
    for stage in (name.removesuffix("-") for name in MEASURED):
        entries = {name: name.partition("-")[2] for name in measured if name.startswith(f"{stage}-")}
        parts = {name: part(p, stage, entry) for name, entry in entries.items() if not paths.study(entry)}
        of_parts = sum(share * seconds(measured[name])[stage] for name, share in parts.items())
        found[stage] = of_parts / sum(parts.values())
    spent = {stage: [0.0, 0.0, found[stage]] for stage in found}
    for name, cost in files.items():
        stage, _, entry = name.partition("-")
        if stage in STAGES and not paths.study(entry):
            row = spent[stage if stage in found else "others"]
            row[0] += cost["cpu_s"] / cost["cores"]
            row[1] += cost["wall_s"]
    disturbed = {stage for stage in HEAVY if spent[stage][0] < UNDISTURBED * spent[stage][1]}
    spent = {stage: row for stage, row in spent.items() if stage not in disturbed}
    spent["all"] = [sum(row[i] for row in spent.values()) for i in range(3)]
    far = {
        stage: f"{seconds:.0f} s estimated, {least:.0f} to {most:.0f} s taken"
        for stage, (least, most, seconds) in spent.items()
        if not least / 1.5 < seconds < most * 1.5
    }
    return far, disturbed
