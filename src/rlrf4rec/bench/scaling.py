"""How cost grows with the work: sampling at four sizes of each kind of it, and `interactions` on a large data set."""

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


def large_data(folder: Path, interactions: int, users: int) -> Result:
    """The stage `interactions` on a generated data set: seconds, and the largest memory; `folder`: where it may lie."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".bench.") as place:
        size = {"to": place, "interactions": interactions, "users": users}
        measure.run({**size, "arm": "generated_data"})
        found = measure.run({**size, "arm": "interactions_stage"})
    return {key: found[key] if isinstance(found[key], int) else float(f"{found[key]:.3g}") for key in found}
