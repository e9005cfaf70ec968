"""Stage train_policy (study): the LLM tuned on the pairs of a round in another way, see the room `methods`.

`shuffled` is tuned on the pairs of the run's round 1; `matched-2` on those of `tuned-2` of the study of arms, and it is
told how far the two have moved from the LLM.
"""

from pathlib import Path
from typing import Any

import polars as pl
from peft import PeftModel

from rlrf4rec import machine, paths, replicates, store
from rlrf4rec.alignment import packed
from rlrf4rec.alignment.packed import TokenPair
from rlrf4rec.alignment.pairs import token_pairs
from rlrf4rec.alignment.policy import load_policy_for_training, new_policy, save_adapter
from rlrf4rec.alignment.reference import reference
from rlrf4rec.alignment.tune import DEFAULTS, settings_of, tune
from rlrf4rec.errors import ParamsError
from rlrf4rec.files import fingerprint, read_json, write_csv, write_json
from rlrf4rec.llm.models import DTYPES, Place, context, load_llm
from rlrf4rec.llm.tokenizer import load_tokenizer
from rlrf4rec.methods import methods
from rlrf4rec.methods.matched import Matched
from rlrf4rec.methods.method import Given
from rlrf4rec.methods.movement import Texts, others
from rlrf4rec.params import Dpo, Llm, Sample, TrainDpo, TrainPolicy
from rlrf4rec.search import study
from rlrf4rec.seeds import derive
from rlrf4rec.tables.rewards import PAIRS, check_tuning_users
from rlrf4rec.tables.split import FOLD_USERS
from rlrf4rec.tables.texts import PROMPTS, TEXTS


def run(
    seed: int,
    sample: Sample,
    llm: Llm,
    dpo: Dpo,
    train_dpo: TrainDpo,
    train_policy: TrainPolicy,
    name: str,
) -> str:
    """Train and save the adapter `name`; returns the closing line."""
    method, number = replicates.parts(name)
    round_name, wrote = replicates.beside(name, "tuned", "round1"), replicates.beside(name, "base", "base")
    changed = methods.method(method)
    if changed.loss is Matched and not number:
        raise ParamsError(f"train_policy: {name} moves as far as a policy of the study of arms; name one: {name}-1")
    values, _ = study.join(train_dpo.model_dump(), read_json(paths.TUNE_DPO), DEFAULTS)
    users, texts = FOLD_USERS.read(paths.FOLD_USERS), TEXTS.read(paths.texts(wrote))
    of_round, prompts = PAIRS.read(paths.pairs(round_name)), PROMPTS.read(paths.PROMPTS)
    check_tuning_users(of_round, users, paths.pairs(round_name))
    where = Place.of(llm.device, llm.quantization, llm.trust_remote_code)
    tokenizer = load_tokenizer(paths.LLM, where.trusted)
    if number:
        held_out = users.filter(pl.col("fold") == "validation")["user"]
        apart = others(texts, prompts, held_out, train_policy.moved_users)
        measured, target = _of_tuned(of_round, prompts, apart, paths.policy(round_name), dpo, where)
    base = load_llm(paths.LLM, DTYPES[dpo.precision], packed.NAME, where)
    # The same seed as the round's own policy: adapter and order of the pairs are equal, the preferences differ.
    own_seed = derive(seed, "train_dpo", round_name)
    frame = changed.pairs(Given(of_round, texts, derive(seed, name)))
    pairs = token_pairs(frame, prompts, context(base))
    tuned = new_policy(base, dpo.lora_rank, dpo.lora_alpha, dpo.lora_dropout, own_seed, dpo.lora_target)
    identity = fingerprint([where.identity(paths.LLM), store.code("stages.train_policy")])
    what = f"train_policy {name}"
    same = sample.dtype == dpo.precision
    before = reference(tuned, frame, pairs, same, dpo.batch, dpo.precision, f"{what} reference", identity)
    settings = changed.settings(settings_of(dpo, values, own_seed, where.device), train_policy)
    work = changed.loss(tuned, pairs, before, settings)
    if isinstance(work, Matched):
        work.far_enough = lambda: measured[1].kl(tuned) >= target["kl"]
    steps = tune(work, dpo.engine, tokenizer, what, identity)
    save_adapter(tuned, paths.LLM, paths.policy(name))
    write_csv(paths.plot("train_policy", name), [vars(step) for step in steps])
    tail = steps[len(steps) // 2 :]
    last = {
        n: sum(getattr(s, n) for s in tail) / len(tail) for n in ("loss", "margin", "accuracy", "chosen", "rejected")
    }
    done = f"{len(pairs)} pairs, {len(steps)} steps, accuracy {last['accuracy']:.2f}"
    report: dict[str, Any] = {"pairs": len(pairs), "swapped": swapped(of_round, frame), "second_half": last}
    if number:
        moved = _moved(measured, tuned)
        report |= {"users_skipped": of_round.height - frame.height, "moved": moved, "moved_tuned": target}
        report |= {"steps": len(steps), "all_steps": len(steps) == work.total}
        done += f", {moved['kl']:.2f} nats from the LLM ({round_name} {target['kl']:.2f})"
    computed = machine.arithmetic(dpo.precision, where.device)
    write_json(paths.metrics("train_policy", name), {**report, "arithmetic": computed})
    return f"wrote {paths.policy(name)}, {done}; {computed}"


def swapped(of_round: pl.DataFrame, pairs: pl.DataFrame) -> int:
    """How many of the round's pairs are among `pairs` with chosen and rejected the other way round."""
    sides = ["chosen_sample", "rejected_sample"]
    return pairs.join(of_round, how="semi", left_on=["user", *sides], right_on=["user", *sides[::-1]]).height


def _of_tuned(
    of_round: pl.DataFrame, prompts: pl.DataFrame, apart: list[TokenPair], adapter: Path, dpo: Dpo, where: Place
) -> tuple[list[Texts], dict[str, float]]:
    """The texts to measure on, those of the pairs and those `apart`, and how far the policy of `adapter` has moved."""
    llm = load_llm(paths.LLM, DTYPES[dpo.precision], packed.NAME, where)
    tuned = load_policy_for_training(llm, adapter)
    with tuned.disable_adapter():
        of_pairs = token_pairs(of_round, prompts, context(llm))
        measured = [Texts.of(tuned, own, dpo.batch, dpo.precision) for own in (of_pairs, apart)]
    return measured, _moved(measured, tuned)


def _moved(measured: list[Texts], policy: PeftModel) -> dict[str, float]:
    """How far a policy has moved, in nats a text.

    shift: of the texts of the round's pairs, mean |log p - log p_LLM|; kl: KL(LLM || policy) on texts about validation
    users, whom no policy is tuned on.
    """
    return {"shift": measured[0].shift(policy), "kl": measured[1].kl(policy)}
