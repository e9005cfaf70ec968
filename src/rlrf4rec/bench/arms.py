"""The arms of the comparison: this repository's code, what others do the same work with, and the last commit's code."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlrf4rec.bench import measure
from rlrf4rec.bench.measure import Result
from rlrf4rec.errors import RLRFError
from rlrf4rec.fetching import assets
from rlrf4rec.params import Dpo, Sample
from rlrf4rec.progress import Progress

Spec = dict[str, Any]  # of an arm, as `child` takes it
GIGA = 1e9
OTHERS = {"sampling": ("transformers", "plain_sampling"), "dpo": ("trl", "stock_dpo")}


def in_arithmetic(kind: str, sampling: Spec, dpo: Spec, turns: int, before: Path | None) -> Result:
    """Sampling and DPO against the others, everyone computing in `kind`, and what products of matrices reach in it."""
    limit = measure.run({"arm": "matmul", "dtype": kind})
    reached = limit["flop"] / GIGA / limit["cpu_s"]
    texts = compare({**sampling, "dtype": kind}, "sampling", "texts", turns, before)
    pairs = compare({**dpo, "dtype": kind}, "dpo", "pairs", turns, before)
    own = texts["here"]
    own["share_of_matmul_limit"] = round(own.pop("flop") / GIGA / own["cpu_s"] / reached, 3)
    return {"matmul_gflop_per_cpu_s": round(reached), "sampling": texts, "dpo": pairs}


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


def sampling_spec(sample: Sample, prompts: Sequence[list[int]], batch: int) -> Spec:
    """These prompts, as tokens, sampled as the params say, `batch` users at once."""
    settings = {
        "temperature": sample.temperature,
        "top_k": sample.top_k,
        "top_p": sample.top_p,
        "tokens": sample.max_tokens,
    }
    return {**settings, "prompts": list(prompts), "n": sample.n, "stop": sample.stop, "batch": batch}


def dpo_spec(dpo: Dpo, pairs: Sequence[dict[str, Any]]) -> Spec:
    """These pairs: text and tokens of the prompt, and of both sides those and the log-probability."""
    return {"pairs": list(pairs), "rank": dpo.lora_rank, "alpha": dpo.lora_alpha, "batch": dpo.batch}
