"""Stage bench: what sampling and DPO cost against plain transformers, stock TRL and the last commit.

Every measurement is a process of its own with one thread; those that are compared run in turn, so that a machine whose
speed drifts slows all of them. Where the source is that of the last commit, the comparison with it shows the noise.
"""

import os
import platform
import subprocess
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from rlrf4rec import machine, paths
from rlrf4rec.bench import measure
from rlrf4rec.bench.measure import Result
from rlrf4rec.errors import RLRFError
from rlrf4rec.fetching import assets
from rlrf4rec.files import write_json
from rlrf4rec.params import Bench, Dpo, Prompt, Sample
from rlrf4rec.progress import Progress
from rlrf4rec.prompting import template
from rlrf4rec.prompting.prompts import named, telling
from rlrf4rec.tables.interactions import ITEMS
from rlrf4rec.tables.rewards import PAIRS
from rlrf4rec.tables.split import HISTORY
from rlrf4rec.tables.texts import PROMPTS

LIBRARIES = ("torch", "transformers", "trl", "peft", "lightning")
GIGA = 1e9
OTHERS = {"sampling": ("transformers", "plain_sampling"), "dpo": ("trl", "stock_dpo")}


def run(prompt: Prompt, sample: Sample, dpo: Dpo, bench: Bench) -> str:
    """Measure and write metrics/bench.json; returns the closing line."""
    kinds = [kind for kind in ("float32", "bfloat16") if kind == "float32" or machine.bfloat16_in_hardware("cpu")]
    with tempfile.TemporaryDirectory() as folder:
        before = last_commit(Path(folder))
        found = {kind: in_arithmetic(kind, sample, dpo, bench, before) for kind in kinds}
    report = {
        "machine": {
            "cpu": machine.cpu_name(),
            "capability": machine.capability("cpu"),
            "cores": os.cpu_count(),
            "threads": 1,
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
        "arithmetic": found,
        "scaling": scaling(prompt, sample, bench, kinds[-1]),
        "interactions": large_data(bench),
    }
    write_json(paths.metrics("bench"), report)
    ratios = [
        f"{kind}: plain generate takes {arms['sampling']['others']['transformers']['ratio']} times the CPU, "
        f"stock TRL {arms['dpo']['others']['trl']['ratio']} times"
        for kind, arms in found.items()
    ]
    return f"wrote {paths.metrics('bench')}; {'; '.join(ratios)}"


def in_arithmetic(kind: str, sample: Sample, dpo: Dpo, bench: Bench, before: Path | None) -> Result:
    """Sampling and DPO against the others, everyone computing in `kind`, and what products of matrices reach in it."""
    limit = measure.run({"arm": "matmul", "dtype": kind})
    reached = limit["flop"] / GIGA / limit["cpu_s"]
    sampling = compare(
        {**sampling_spec(sample, bench, bench.users), "dtype": kind}, "sampling", "texts", bench.turns, before
    )
    pairs = compare({**dpo_spec(dpo, bench), "dtype": kind}, "dpo", "pairs", bench.turns, before)
    own = sampling["here"]
    own["share_of_matmul_limit"] = round(own.pop("flop") / GIGA / own["cpu_s"] / reached, 3)
    return {"matmul_gflop_per_cpu_s": round(reached), "sampling": sampling, "dpo": pairs}


def last_commit(folder: Path) -> Path | None:
    """The package as the last commit has it, unpacked into `folder`; None outside of Git."""
    archive = folder / "source.zip"
    if subprocess.run(["git", "archive", f"--output={archive}", "HEAD", "src"], capture_output=True).returncode:
        return None
    return assets.unpack(archive, "src", folder, "bench")


def compare(spec: dict[str, Any], what: str, per: str, turns: int, before: Path | None) -> Result:
    """Medians of every arm after `turns` turns, and how many times more CPU the others take than the code here.

    Left out: the last commit where there is none, or where its code has other names than `child` uses.
    """
    arms = {"here": (f"own_{what}", measure.SOURCE), OTHERS[what][0]: (OTHERS[what][1], measure.SOURCE)}
    if before:
        arms["last_commit"] = (f"own_{what}", before)
    results: dict[str, list[Result]] = {name: [] for name in arms}
    progress = Progress(turns * len(arms), f"bench {what}")
    for _ in range(turns):
        for name in list(arms):
            try:
                results[name].append(measure.run({**spec, "arm": arms[name][0]}, arms[name][1]))
            except RLRFError as error:
                if name != "last_commit":
                    raise
                print(f"bench {what}: the last commit is left out: {error}", flush=True)
                del arms[name], results[name]
            progress.advance()
    progress.close()
    made = {name: measure.summary(some, per) for name, some in results.items()}
    if what == "sampling":
        made["here"]["flop"] = results["here"][0]["flop"]
    own = results.pop("here")
    return {**made, "others": {name: measure.ratio(some, own, per) for name, some in results.items()}}


def sampling_spec(sample: Sample, bench: Bench, users: int) -> dict[str, Any]:
    """Real prompts of the first users, sampled as the params say."""
    prompts = PROMPTS.read(paths.PROMPTS)["prompt"].head(users).to_list()
    settings = {
        "temperature": sample.temperature,
        "top_k": sample.top_k,
        "top_p": sample.top_p,
        "tokens": sample.max_tokens,
    }
    return {**settings, "prompts": prompts, "n": sample.n, "stop": sample.stop, "batch": bench.batch_users}


def dpo_spec(dpo: Dpo, bench: Bench) -> dict[str, Any]:
    """The first pairs of the first round."""
    columns = "prompt", *(f"{side}{what}" for side in ("chosen", "rejected") for what in ("", "_tokens", "_log_prob"))
    pairs = PAIRS.read(paths.pairs("round1")).select(columns).head(bench.pairs).to_dicts()
    return {"pairs": pairs, "rank": dpo.lora_rank, "alpha": dpo.lora_alpha, "batch": dpo.batch}


def scaling(prompt: Prompt, sample: Sample, bench: Bench, kind: str) -> Result:
    """Cost of sampling at four sizes of each kind of work, the others as at the largest but one; texts do not stop."""
    usual = {"users": bench.users // 2, "n": 4, "tokens": 16, "history": 8}
    found: Result = {}
    progress = Progress(4 * len(usual), "bench scaling")
    for axis, middle in usual.items():
        sizes = [middle // 4, middle // 2, middle, middle * 2]
        costs = []
        for size in sizes:
            at = {**usual, axis: size}
            prompts = told(prompt, at["users"], at["history"])
            spec = {**sampling_spec(sample, bench, 0), "dtype": kind, "prompts": prompts, "stop": []}
            costs.append(measure.run({**spec, "arm": "own_sampling", "n": at["n"], "tokens": at["tokens"]})["cpu_s"])
            progress.advance()
        rounded = [float(f"{cost:.3g}") for cost in costs]
        found[axis] = {"sizes": sizes, "cpu_s": rounded, "exponent": measure.exponent(sizes, costs)}
    progress.close()
    return found


def large_data(bench: Bench) -> Result:
    """The stage `interactions` on a generated data set: seconds, and the largest memory."""
    with tempfile.TemporaryDirectory(dir=paths.DATA, prefix=".bench.") as folder:
        size = {"to": folder, "interactions": bench.interactions, "users": bench.interacting_users}
        measure.run({**size, "arm": "generated_data"})
        found = measure.run({**size, "arm": "interactions_stage"})
    return {key: found[key] if isinstance(found[key], int) else float(f"{found[key]:.3g}") for key in found}


def told(prompt: Prompt, users: int, items: int) -> list[str]:
    """Prompts of the users with the longest histories, each with so many ratings, a quarter of them disliked."""
    history = HISTORY.read(paths.HISTORY).join(ITEMS.read(paths.ITEMS), on="item", how="left", maintain_order="left")
    longest = history.group_by("user").len().sort(["len", "user"], descending=[True, False]).head(users)["user"]
    whole = template.read(Path(prompt.template))
    made = []
    for user in longest:
        ratings = history.filter(pl.col("user") == user).to_dicts()
        liked, disliked = telling(ratings, items - items // 4, items // 4)
        made.append(whole.write(named(liked), named(disliked)))
    return made
