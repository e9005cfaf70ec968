"""How cost grows with the work: sampling at four sizes of each kind of it, and stages on large data sets."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from rlrf4rec.bench import measure
from rlrf4rec.bench.arms import Spec
from rlrf4rec.bench.measure import Result
from rlrf4rec.progress import Progress
from rlrf4rec.prompting.prompts import named, telling
from rlrf4rec.prompting.template import Template

INTERACTIONS = {"arm": "interactions_stage"}
SPLIT = {"arm": "split_stage", "protocol": "popularity", "epochs": 10, "threads": 2}


def scaling(prompts: Callable[[int, int], list[list[int]]], spec: Spec, users: int) -> Result:
    """Cost of sampling at four sizes of each kind of work, the others as at the largest but one; texts do not stop.

    prompts: of so many users with so many items each, as tokens. spec: of sampling; `users`: the most of them.
    """
    usual = {"users": users // 2, "n": 4, "tokens": 16, "history": 8}
    found: Result = {}
    progress = Progress(4 * len(usual), "bench scaling")
    for axis, middle in usual.items():
        sizes = [middle // 4, middle // 2, middle, middle * 2]
        costs = []
        for size in sizes:
            at = {**usual, axis: size}
            own = {"arm": "own_sampling", "n": at["n"], "tokens": at["tokens"], "stop": []}
            costs.append(measure.run({**spec, **own, "prompts": prompts(at["users"], at["history"])})["cpu_s"])
            progress.advance()
        rounded = [float(f"{cost:.3g}") for cost in costs]
        found[axis] = {"sizes": sizes, "cpu_s": rounded, "exponent": measure.exponent(sizes, costs)}
    progress.close()
    return found


def prompts_of(history: pl.DataFrame, template: Template, tokenizer: Any, users: int, items: int) -> list[list[int]]:
    """Prompts, as tokens, of the users with the longest histories: so many ratings each, a quarter of them disliked.

    history: ratings with their items' titles, years and genres, in the order of the histories table.
    """
    longest = history.group_by("user").len().sort(["len", "user"], descending=[True, False]).head(users)["user"]
    made = []
    for user in longest:
        ratings = history.filter(pl.col("user") == user).to_dicts()
        liked, disliked = telling(ratings, items - items // 4, items // 4)
        text = template.write(named(liked, template.domain), named(disliked, template.domain))
        made.append(tokenizer.encode(text))
    return made


def large_data(folder: Path, interactions: int, users: int, *stages: Spec) -> list[Result]:
    """Seconds and largest memory of stages, one after the other, on a generated data set in a folder below `folder`."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".bench.") as place:
        measure.run({"arm": "generated_data", "to": place, "interactions": interactions, "users": users})
        found = [measure.run({**stage, "to": place}) for stage in stages]
    return [{key: one[key] if isinstance(one[key], int) else float(f"{one[key]:.3g}") for key in one} for one in found]


def large_catalogue(folder: Path) -> Result:
    """The stage `split` with retrieved lists from a catalogue of `data.ITEMS` items.

    SASRec learns for one epoch, not for its ten: that takes the same memory, and it loses against kNN, so that two
    retrievers of kNN are in memory at once.
    """
    interactions, users = 400_000, 2_000
    read, split = large_data(folder, interactions, users, INTERACTIONS, {**SPLIT, "protocol": "retrieved", "epochs": 1})
    return {**split, **{key: read[key] for key in ("interactions", "users", "items")}}
