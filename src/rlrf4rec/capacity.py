"""What this machine has, and an estimate held against it: `rlrf4rec estimate`, and before a stage of the LLM."""

import json
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlrf4rec import cost, estimate, machine, paths
from rlrf4rec.errors import InputError, ParamsError
from rlrf4rec.estimate import GB, LlmSize, Machine, Need, Work, needs, refuse, share_of_sampling
from rlrf4rec.files import read_json
from rlrf4rec.params import Params, recipes
from rlrf4rec.params.recipes import Recipe
from rlrf4rec.stages import STAGES

GPU_FLOPS = 20e12  # operations a second that an LLM reaches on an ordinary GPU in bfloat16; not measured
SMALL_ENCODER = 384  # width of the default encoder's vectors
USUAL = "default"  # the recipe that an estimate goes by before anything is fetched


def known_llm(folder: Path = paths.LLM) -> LlmSize | None:
    """The numbers of the LLM that was fetched; None while there is none, InputError where they can't be read."""
    weights = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    path = folder / "config.json"
    if not path.is_file() or not weights:
        return None
    config = read_json(path)
    usual = {"num_hidden_layers": 0, "hidden_size": 0, "num_attention_heads": 1, "vocab_size": 0}
    numbers = {name: config.get(name, value) for name, value in usual.items()}
    numbers["num_key_value_heads"] = config.get("num_key_value_heads", numbers["num_attention_heads"])
    numbers["head_dim"] = config.get("head_dim") or 0  # some have the key without a value
    if odd := [name for name, value in numbers.items() if not isinstance(value, int)]:
        raise InputError(f"{path}: {odd[0]} is no whole number; run `dvc repro fetch_models`")
    head = numbers["head_dim"] or numbers["hidden_size"] // max(1, numbers["num_attention_heads"])
    return LlmSize(
        weights / estimate.BYTES.get(str(config.get("dtype")), 2),
        numbers["num_hidden_layers"],
        numbers["hidden_size"],
        head * numbers["num_key_value_heads"],
        numbers["vocab_size"],
    )


def machine_here(device: str, arithmetic: str = "float32") -> Machine:
    """What there is; `device` is llm.device, `arithmetic` what the LLM computes in.

    The speed of the CPU is measured, that of a GPU is a usual figure.
    """
    start = _start()
    import torch

    memory = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    cpu, gpu = machine.flops("float32"), None
    if device != "cpu" and torch.cuda.is_available():
        gpu = float(torch.cuda.get_device_properties(0).total_memory)
    elif device == "cuda":
        gpu = 0.0
    own = cpu if arithmetic == "float32" else machine.flops(arithmetic)
    flops, per_number = (own, machine.per_number()) if gpu is None else (GPU_FLOPS, 0.0)
    free = float(shutil.disk_usage(Path()).free)
    return Machine(os.cpu_count() or 1, flops, cpu, memory, free, gpu, per_number, start)


def _start() -> float:
    """Seconds that the imports of a stage take, measured where they are not done yet."""
    if "transformers" in sys.modules:
        return Machine.start
    begin = time.perf_counter()
    import lightning  # noqa: F401
    import transformers  # noqa: F401

    return time.perf_counter() - begin


def before(stage: str, entry: list[str], p: Params) -> str:
    """A line on what an entry of a stage of the LLM will take, or nothing.

    ResourceError when it can't fit and may be refused; InputError when what it goes by is broken.
    """
    llm = known_llm()
    if llm is None or not paths.PROMPTS.exists():
        return ""
    work = work_here(p)
    here = machine_here(p.llm.device, p.sample.dtype)
    one = [need for need in needs(p, llm, work, here) if need.stage == stage]
    if p.estimate.refuse:
        refuse(one, here)
    share = {"sample": share_of_sampling(p, work, entry[0]), "train_dpo": 1 / len(p.loop.rounds)} if entry else {}
    seconds = one[0].seconds * share.get(stage, 1)
    gpu = f"{one[0].gpu / GB:.1f} GB of GPU memory and " if one[0].gpu else ""
    memory = f"{gpu}{one[0].memory / GB:.1f} GB of memory"
    return f"{stage}: about {duration(seconds)}, at most {memory}, if nothing is done yet"


def work_here(p: Params) -> Work:
    """Users, and tokens of their prompts, from the table of prompts.

    Of the tokens as large a share is the same in all prompts, at their start, as of the letters.
    """
    from rlrf4rec.tables.texts import PROMPTS

    table = PROMPTS.read(paths.PROMPTS)
    if not table.height:
        raise InputError(f"{paths.PROMPTS}: holds no prompt; run `dvc repro prompt`")
    tokens = min(p.prompt.max_tokens, round(float(table["tokens"].list.len().mean())))  # type: ignore[arg-type]
    first, last = str(table["prompt"].min()), str(table["prompt"].max())
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    shared = round(tokens * same / float(table["prompt"].str.len_chars().mean()))  # type: ignore[arg-type]
    return Work(table.height, tokens, min(shared, tokens - 1), encoder_width())


def encoder_width(folder: Path = paths.ENCODER) -> int:
    """Width of the encoder's vectors; the default encoder's while there is none, InputError where it can't be read."""
    config = folder / "config.json"
    modules = folder / "modules.json"
    try:
        width = int((read_json(config) if config.is_file() else {}).get("hidden_size", SMALL_ENCODER))
        for entry in json.loads(modules.read_text(encoding="utf-8")) if modules.is_file() else []:
            asked = read_json(folder / entry["path"] / "config.json")
            pooled = asked.get("pooling_mode", "")
            width = asked.get("out_features", width * (len(pooled) if isinstance(pooled, list) else 1))
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{folder}: the width of its vectors is not to be read ({error}); run `dvc repro fetch_models`"
        ) from None
    return width


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(0), duration(40), duration(600), duration(9000), duration(400_000)
    ('-', '40 s', '10 min', '2.5 h', '4.6 days')
    """
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds else "-"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def show(p: Params, recipe: Recipe | None = None) -> None:
    """Print the table of `rlrf4rec estimate`; ResourceError when it can't fit and may be refused."""
    there = known_llm()
    if recipe is None and there is None and USUAL in recipes.names():
        recipe = recipes.read(USUAL)
        print(f"nothing is fetched yet: by the numbers of {recipe.path}")
    llm = LlmSize(**recipe.model) if recipe and recipe.model else there
    if llm is None:
        raise ParamsError(f"{paths.LLM}: no LLM to estimate by; run `dvc repro fetch_models`")
    if recipe and recipe.work:
        work = Work(**recipe.work, fetched=_same(llm, there))
        work = replace(work, users=min(work.users, p.interactions.users or work.users))
    elif paths.PROMPTS.exists():
        work = work_here(p)
    else:
        raise ParamsError(f"{paths.PROMPTS}: no prompts to estimate by; run `dvc repro prompt`")
    here = machine_here(p.llm.device, p.sample.dtype)
    found = needs(p, llm, work, here)
    print(table(p, llm, work, here, found), flush=True)
    if p.estimate.refuse:
        refuse(found, here)
        print("it fits")


def _same(llm: LlmSize, there: LlmSize | None) -> bool:
    """Whether the LLM that was fetched is this one, by its shape."""
    return there is not None and vars(there) | {"parameters": llm.parameters} == vars(llm)


def last_took(stages: set[str], cpu: str) -> dict[str, float]:
    """Seconds of these stages as they last ran on such a CPU, of `others` and of all; what has not is left out."""
    spent = cost.seconds(cpu)
    spent = {stage: seconds for stage, seconds in spent.items() if stage in STAGES}  # not those of a study
    took: dict[str, float] = {}
    for stage, seconds in spent.items():
        name = stage if stage in stages else "others"
        took[name] = took.get(name, 0.0) + seconds
    return took | ({"all": sum(spent.values())} if spent else {})


def table(p: Params, llm: LlmSize, work: Work, there: Machine, found: list[Need]) -> str:
    """Stages with what they take, their sum or largest, and what there is here."""
    large = llm.parameters >= GB
    size = f"{llm.parameters / GB:.1f} billion" if large else f"{llm.parameters / 1e6:.0f} million"
    head = (
        f"{size} parameters, {work.users} users, {work.tokens} tokens a prompt ({work.shared} of them shared), "
        f"N = {p.sample.n}, T = {len(p.loop.rounds)}"
    )
    seconds, disk = sum(n.seconds for n in found), sum(n.disk for n in found)
    whole = Need("all", seconds, max(n.gpu for n in found), max(n.memory for n in found), disk)
    columns: list[tuple[str, Any]] = [("time", lambda n: duration(n.seconds))]
    columns += [("GPU GB", lambda n: f"{n.gpu / GB:.1f}")] if there.gpu is not None else []
    columns += [("memory GB", lambda n: f"{n.memory / GB:.1f}"), ("disk GB", lambda n: f"{n.disk / GB:.2f}")]
    took = last_took({n.stage for n in found}, machine.cpu_name())
    columns += [("last took", lambda n: duration(took[n.stage]) if n.stage in took else "-")] if took else []
    here = Need("here", 0.0, there.gpu or 0.0, there.memory, there.disk)
    lines = [f"{'stage':12}" + "".join(f"{name:>11}" for name, _ in columns)]
    lines += [f"{n.stage:12}" + "".join(f"{cell(n):>11}" for _, cell in columns) for n in (*found, whole, here)]
    usual = f"{GPU_FLOPS / 1e12:.0f} TFLOP/s taken for the GPU, "
    measured = f"{there.flops / GB:.0f} GFLOP/s measured in {p.sample.dtype}, " if there.gpu is None else usual
    speed = f"{there.cores} cores, {measured}{there.cpu_flops / GB:.0f} in float32 for re-rankers; no download counted"
    return "\n".join([head, *lines, speed])
