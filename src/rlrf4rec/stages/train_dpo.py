"""Stage train_dpo: tune the policy of the round before on the round's pairs; writes a LoRA adapter."""

from contextlib import nullcontext

from rlrf4rec import machine, paths, store
from rlrf4rec.alignment import packed
from rlrf4rec.alignment.module import DpoModule
from rlrf4rec.alignment.pairs import token_pairs
from rlrf4rec.alignment.policy import check_settings, load_policy_for_training, new_policy, save_adapter
from rlrf4rec.alignment.reference import reference
from rlrf4rec.alignment.steps import Step
from rlrf4rec.alignment.tune import DEFAULTS, settings_of, tune
from rlrf4rec.files import fingerprint, sha256, write_csv, write_json
from rlrf4rec.llm.models import DTYPES, Place, context, load_llm
from rlrf4rec.llm.tokenizer import load_tokenizer
from rlrf4rec.params import Dpo, Llm, Sample, TrainDpo
from rlrf4rec.search import study
from rlrf4rec.seeds import derive
from rlrf4rec.tables.rewards import read_pairs
from rlrf4rec.tables.split import FOLD_USERS
from rlrf4rec.tables.texts import PROMPTS


def run(seed: int, sample: Sample, llm: Llm, dpo: Dpo, train_dpo: TrainDpo, round_name: str, policy: str) -> str:
    """Train and save the adapter `round_name`; returns the closing line with the source of each value."""
    searched = study.searched(paths.TUNE_DPO, DEFAULTS, "tune_dpo")
    values, sources = study.join(train_dpo.model_dump(), searched, DEFAULTS)
    frame = read_pairs(paths.pairs(round_name), FOLD_USERS.read(paths.FOLD_USERS))
    where = Place.of(llm.device, llm.quantization, llm.trust_remote_code)
    tokenizer = load_tokenizer(paths.LLM, where.trusted)
    base = load_llm(paths.LLM, DTYPES[dpo.precision], packed.NAME, where)
    pairs = token_pairs(frame, PROMPTS.read(paths.PROMPTS), context(base))
    own_seed = derive(seed, "train_dpo", round_name)
    identity = fingerprint([where.identity(paths.LLM), store.code("stages.train_dpo")])
    if policy == "base":
        tuned = new_policy(base, dpo.lora_rank, dpo.lora_alpha, dpo.lora_dropout, own_seed, dpo.lora_target)
    else:
        tuned = load_policy_for_training(base, paths.policy(policy))
        check_settings(tuned, paths.policy(policy), dpo.lora_rank, dpo.lora_alpha, dpo.lora_dropout)
        identity = fingerprint([identity, dpo.reference, sha256(paths.policy(policy))])
    wrote = (policy == "base" or dpo.reference == "previous") and sample.dtype == dpo.precision
    with tuned.disable_adapter() if dpo.reference == "base" else nullcontext():
        before = reference(
            tuned, frame, pairs, wrote, dpo.batch, dpo.precision, f"train_dpo {round_name} reference", identity
        )
    work = DpoModule(tuned, pairs, before, settings_of(dpo, values, own_seed, where.device))
    steps = tune(work, dpo.engine, tokenizer, f"train_dpo {round_name}", identity)
    save_adapter(tuned, paths.LLM, paths.policy(round_name))
    write_csv(paths.plot("train_dpo", round_name), [vars(step) for step in steps])
    tail = steps[len(steps) // 2 :]
    last = {
        name: sum(getattr(s, name) for s in tail) / len(tail)
        for name in ("loss", "margin", "accuracy", "chosen", "rejected")
    }
    computed = machine.arithmetic(dpo.precision, where.device)
    report = {"hyperparameters": values, "pairs": len(pairs), "second_half": last, "arithmetic": computed}
    write_json(paths.metrics("train_dpo", round_name), report)
    done = f"{len(pairs)} pairs, {len(steps)} steps; {sources}; {_trend(steps)}"
    return f"wrote {paths.policy(round_name)}, {done}; {computed}"


def _trend(steps: list[Step]) -> str:
    return f"loss {steps[0].loss:.3f} to {steps[-1].loss:.3f}"
