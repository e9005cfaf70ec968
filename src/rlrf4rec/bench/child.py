"""One measurement in a process of its own: `python -P child.py SPEC`, a JSON object in, a JSON object out.

It is run by its path, with the source of any commit on PYTHONPATH: so it uses no other module of this package, and only
names that a former commit has as well. Loading is not timed. CPU-seconds are those of the whole process, memory is its
largest resident size.
"""

import contextlib
import json
import resource
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from rlrf4rec import paths
from rlrf4rec.llm.models import load_llm
from rlrf4rec.llm.tokenizer import load_tokenizer

Spec = dict[str, Any]


def plain_sampling(spec: Spec) -> Spec:
    """`generate` of transformers with `num_return_sequences`, prompts of like length together, padded left."""
    from rlrf4rec.sampling.sampler import stop_tokens, token_texts

    tokenizer = load_tokenizer(paths.LLM)
    model = load_llm(paths.LLM, getattr(torch, spec["dtype"]))
    stop = stop_tokens(tokenizer, token_texts(tokenizer), spec["stop"]) if spec["stop"] else frozenset[int]()
    prompts = sorted(spec["prompts"], key=len)
    begin = start()
    new = 0
    for i in range(0, len(prompts), spec["batch"]):
        some = prompts[i : i + spec["batch"]]
        width = max(map(len, some))
        torch.manual_seed(i)
        out = model.generate(  # type: ignore[operator]
            input_ids=torch.tensor([[0] * (width - len(p)) + p for p in some]),
            attention_mask=torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in some]),
            do_sample=True,
            temperature=spec["temperature"],
            top_p=spec["top_p"],
            top_k=spec["top_k"],
            num_return_sequences=spec["n"],
            max_new_tokens=spec["tokens"],
            eos_token_id=sorted(stop) or None,
            pad_token_id=0,
        )
        new += sum(_length(row, stop) for row in out[:, width:].tolist())
    return {**spent(begin), "texts": len(prompts) * spec["n"], "new_tokens": new}


def _length(row: list[int], stop: frozenset[int]) -> int:
    return next((i + 1 for i, token in enumerate(row) if token in stop), len(row))


def own_sampling(spec: Spec) -> Spec:
    """This repository's sampler, with what it computed: tokens through the layers, and through the output."""
    from rlrf4rec.sampling.generate import SamplingSettings, common_prefix
    from rlrf4rec.sampling.sampler import Sampler, sample_texts, stop_tokens, token_texts
    from rlrf4rec.sampling.shared_attention import NAME

    tokenizer = load_tokenizer(paths.LLM)
    model = load_llm(paths.LLM, getattr(torch, spec["dtype"]), NAME)
    stop = stop_tokens(tokenizer, token_texts(tokenizer), spec["stop"]) if spec["stop"] else frozenset[int]()
    prompts = spec["prompts"]
    settings = SamplingSettings(spec["temperature"], spec["top_k"], spec["top_p"], spec["tokens"], stop)
    sampler = Sampler(model, prompts, settings, spec["n"], 1, 0, frozenset(), None)
    begin = start()
    texts = sample_texts(sampler, spec["batch"], "bench")
    cost = spent(begin)
    new = int(texts["tokens"].list.len().sum())
    prefix = common_prefix(prompts)
    layers = prefix + sum(len(p) - prefix for p in prompts) + new - texts.height  # the last token goes through none
    head = model.get_output_embeddings().weight.numel()  # type: ignore[union-attr]
    body = sum(p.numel() for p in model.parameters()) - head
    return {**cost, "texts": texts.height, "new_tokens": new, "flop": 2 * (body * layers + head * new)}


def stock_dpo(spec: Spec) -> Spec:
    """TRL's DPOTrainer with its defaults, on the texts of the pairs."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers.utils import logging
    from trl import DPOConfig, DPOTrainer  # type: ignore[attr-defined]

    logging.set_verbosity_error()
    columns = {name: [pair[name] for pair in spec["pairs"]] for name in ("prompt", "chosen", "rejected")}
    lora = LoraConfig(r=spec["rank"], lora_alpha=spec["alpha"], target_modules="all-linear", task_type="CAUSAL_LM")  # type: ignore[arg-type]
    config = DPOConfig(
        spec["folder"],
        use_cpu=True,
        bf16=spec["dtype"] == "bfloat16",
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = DPOTrainer(
        model=load_llm(paths.LLM, torch.float32),
        args=config,
        train_dataset=Dataset.from_dict(columns),
        processing_class=load_tokenizer(paths.LLM),
        peft_config=lora,
    )
    trainer.args.num_train_epochs = 1
    begin = start()
    trainer.train()
    return {**spent(begin), "pairs": len(spec["pairs"])}


def own_dpo(spec: Spec) -> Spec:
    """This repository's DPO: one epoch, and before it the reference where it is not what the sampler told."""
    import polars as pl

    from rlrf4rec.alignment import module, packed
    from rlrf4rec.alignment.packed import TokenPair
    from rlrf4rec.alignment.policy import new_policy
    from rlrf4rec.alignment.reference import reference

    kind = spec["dtype"]
    policy = new_policy(load_llm(paths.LLM, getattr(torch, kind), packed.NAME), spec["rank"], spec["alpha"], 0.0, 1)
    pairs = [TokenPair(p["prompt_tokens"], p["chosen_tokens"], p["rejected_tokens"]) for p in spec["pairs"]]
    frame = pl.DataFrame([{k: p[k] for k in ("chosen_log_prob", "rejected_log_prob")} for p in spec["pairs"]])
    settings = module.DpoSettings(0.1, 1e-6, spec["batch"], 1, 0.0, 0.0, 1.0, kind, 1)
    begin = start()
    with policy.disable_adapter():
        before = reference(policy, frame, pairs, True, spec["batch"], kind, "bench", None)
    module.train(module.DpoModule(policy, pairs, before, settings), "bench", None)
    return {**spent(begin), "pairs": len(pairs)}


def generated_data(spec: Spec) -> Spec:
    """A data set of the size wanted, in the folder of the spec."""
    from rlrf4rec.bench.data import generate

    begin = start()
    generate(Path(spec["to"]), spec["interactions"], spec["users"], 1)
    return spent(begin)


def interactions_stage(spec: Spec) -> Spec:
    """The stage `interactions` on that data set, from CSV to checked tables."""
    from rlrf4rec.datasets.clean import clean
    from rlrf4rec.datasets.readers import read
    from rlrf4rec.params import load
    from rlrf4rec.tables.interactions import INTERACTIONS, ITEMS, USERS

    folder = Path(spec["to"])
    p = load().interactions.model_copy(update={"format": "ml-csv", "users": None, "final_folds": None})
    begin = start()
    raw = clean(read(folder, p), p, seed=1)
    INTERACTIONS.write(raw.interactions, folder / paths.INTERACTIONS)
    ITEMS.write(raw.items, folder / paths.ITEMS)
    USERS.write(raw.users, folder / paths.USERS)
    found = {"interactions": raw.interactions.height, "users": raw.users.height, "items": raw.items.height}
    return {**spent(begin), **found}


def split_stage(spec: Spec) -> Spec:
    """The stage `split` on those tables, by the protocol of the spec; SASRec, where it learns, for `epochs`."""
    from ruamel.yaml import YAML

    from rlrf4rec.cli import run_stage
    from rlrf4rec.lists import sasrec

    yaml, folder = YAML(typ="safe"), Path(spec["to"])
    params = yaml.load(Path("params.yaml"))
    params["split"]["protocol"] = spec["protocol"]
    yaml.dump(params, folder / "params.yaml")
    fit = partial(sasrec.fit, settings=sasrec.SASRecSettings(epochs=spec["epochs"]))
    begin = start()
    with contextlib.chdir(folder), patch.object(sasrec, "fit", fit):
        run_stage("split", [])
        report = json.loads(paths.metrics("split").read_text(encoding="utf-8"))
    return {**spent(begin), "lists": sum(report[fold]["lists"] for fold in ("train", "validation", "development"))}


def matmul(spec: Spec) -> Spec:
    """GFLOP in a CPU-second of the LLM's own largest shape of product, the machine's limit for this work."""
    rows, wide = (torch.randn(size, 576).to(getattr(torch, spec["dtype"])) for size in (1024, 1536))
    for _ in range(20):
        torch.nn.functional.linear(rows, wide)
    begin = start()
    times = spec.get("times", 300)
    for _ in range(times):
        torch.nn.functional.linear(rows, wide)
    return {**spent(begin), "flop": times * 2 * 1024 * 576 * 1536}


def start() -> tuple[float, float, int]:
    """CPU-seconds, seconds and memory as they stand."""
    return time.process_time(), time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def spent(begin: tuple[float, float, int]) -> Spec:
    """CPU-seconds and seconds since then, the largest memory of all time, and that of the loaded model alone, in MB."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "cpu_s": time.process_time() - begin[0],
        "wall_s": time.monotonic() - begin[1],
        "peak_mb": memory / 1024,
        "loaded_mb": begin[2] / 1024,
    }


ARMS = {
    arm.__name__: arm
    for arm in (
        plain_sampling,
        own_sampling,
        stock_dpo,
        own_dpo,
        generated_data,
        interactions_stage,
        split_stage,
        matmul,
    )
}


def main() -> None:
    """Run the arm that the file of the first argument names, with one thread or those that it asks for, and print."""
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(given.get("threads", 1))
    print(json.dumps(ARMS[given["arm"]](given)))


if __name__ == "__main__":
    main()
