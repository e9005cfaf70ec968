"""Stage bench: what sampling and DPO cost against plain transformers, stock TRL and the last commit.

Every measurement is a process of its own with one thread; those that are compared run in turn, so that a machine whose
speed drifts slows all of them. Where the source is that of the last commit, the comparison with it shows the noise.
"""

import os
import platform
import tempfile
from functools import partial
from importlib.metadata import version
from pathlib import Path

from rlrf4rec import machine, paths
from rlrf4rec.bench import arms
from rlrf4rec.bench.scaling import INTERACTIONS, SPLIT, large_catalogue, large_data, prompts_of, scaling
from rlrf4rec.files import write_json
from rlrf4rec.llm.tokenizer import load_tokenizer
from rlrf4rec.params import Bench, Dpo, Prompt, Sample
from rlrf4rec.prompting import template
from rlrf4rec.tables.interactions import ITEMS, text_names
from rlrf4rec.tables.rewards import PAIRS
from rlrf4rec.tables.split import HISTORY
from rlrf4rec.tables.texts import PROMPTS

LIBRARIES = ("torch", "transformers", "trl", "peft", "lightning")
SIDE = "", "_tokens", "_log_prob"
PAIR = tuple(f"{side}{what}" for side in ("chosen", "rejected") for what in SIDE)


def run(prompt: Prompt, sample: Sample, dpo: Dpo, bench: Bench) -> str:
    """Measure and write metrics/bench.json; returns the closing line."""
    told = PROMPTS.read(paths.PROMPTS)
    prompts = told["tokens"].head(bench.users).to_list()
    shown_to = told.select("user", "prompt", prompt_tokens="tokens")
    of_round = PAIRS.read(paths.pairs("round1")).join(shown_to, on="user", how="inner", maintain_order="left")
    pairs = of_round.select("prompt", "prompt_tokens", *PAIR).head(bench.pairs).to_dicts()
    items, ratings = ITEMS.read(paths.ITEMS), HISTORY.read(paths.HISTORY)
    history = ratings.join(items, on="item", how="left", maintain_order="left")
    shown = template.read(Path(prompt.template), texts=text_names(items))
    kinds = [kind for kind in ("float32", "bfloat16") if kind == "float32" or machine.bfloat16_in_hardware("cpu")]
    sampling, tuning = arms.sampling_spec(sample, prompts, bench.batch_users), arms.dpo_spec(dpo, pairs)
    with tempfile.TemporaryDirectory() as folder:
        before = arms.last_commit(Path(folder))
        found = {kind: arms.in_arithmetic(kind, sampling, tuning, bench.turns, before) for kind in kinds}
    longer = partial(prompts_of, history, shown, load_tokenizer(paths.LLM))
    interactions, split = large_data(paths.DATA, bench.interactions, bench.interacting_users, INTERACTIONS, SPLIT)
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
        "scaling": scaling(longer, {**sampling, "dtype": kinds[-1]}, bench.users),
        "retrieved": large_catalogue(paths.DATA),
        "interactions": interactions,
        "split": split,
    }
    write_json(paths.metrics("bench"), report)
    ratios = [
        f"{kind}: plain generate takes {of['sampling']['others']['transformers']['ratio']} times the CPU, "
        f"stock TRL {of['dpo']['others']['trl']['ratio']} times"
        for kind, of in found.items()
    ]
    return f"wrote {paths.metrics('bench')}; {'; '.join(ratios)}"
