"""Stage train_policy (study): the LLM tuned on the pairs of round 1 in another way, see the room `methods`."""

from rlrf4rec import machine, paths, store
from rlrf4rec.alignment import packed
from rlrf4rec.alignment.pairs import token_pairs
from rlrf4rec.alignment.policy import new_policy, save_adapter
from rlrf4rec.alignment.reference import reference
from rlrf4rec.alignment.tune import DEFAULTS, settings_of, tune
from rlrf4rec.files import fingerprint, read_json, write_csv, write_json
from rlrf4rec.llm.models import DTYPES, Place, context, load_llm
from rlrf4rec.llm.tokenizer import load_tokenizer
from rlrf4rec.methods import methods
from rlrf4rec.params import Dpo, Llm, Sample, TrainDpo, TrainPolicy
from rlrf4rec.search import study
from rlrf4rec.seeds import derive
from rlrf4rec.tables.rewards import PAIRS, check_tuning_users
from rlrf4rec.tables.split import FOLD_USERS


def run(
    seed: int,
    sample: Sample,
    llm: Llm,
    dpo: Dpo,
    train_dpo: TrainDpo,
    train_policy: TrainPolicy,
    method: str,
) -> str:
    """Train and save the adapter of `method`; returns the closing line."""
    changed = methods.method(method)
    values, _ = study.join(train_dpo.model_dump(), read_json(paths.TUNE_DPO), DEFAULTS)
    frame = PAIRS.read(paths.pairs("round1"))
    check_tuning_users(frame, FOLD_USERS.read(paths.FOLD_USERS), paths.pairs("round1"))
    where = Place.of(llm.device, llm.quantization, llm.trust_remote_code)
    tokenizer = load_tokenizer(paths.LLM, where.trusted)
    base = load_llm(paths.LLM, DTYPES[dpo.precision], packed.NAME, where)
    # The same seed as the default run: adapter and order of the pairs are equal, the preferences differ.
    own_seed = derive(seed, "train_dpo", "round1")
    frame = changed.pairs(frame, derive(seed, method))
    pairs = token_pairs(frame, context(base))
    tuned = new_policy(base, dpo.lora_rank, dpo.lora_alpha, dpo.lora_dropout, own_seed, dpo.lora_target)
    identity = fingerprint([where.identity(paths.LLM), store.code("stages.train_policy")])
    what = f"train_policy {method}"
    same = sample.dtype == dpo.precision
    before = reference(tuned, frame, pairs, same, dpo.batch, dpo.precision, f"{what} reference", identity)
    settings = changed.settings(settings_of(dpo, values, own_seed, where.device), train_policy)
    steps = tune(changed.loss(tuned, pairs, before, settings), dpo.engine, tokenizer, what, identity)
    save_adapter(tuned, paths.LLM, paths.policy(method))
    write_csv(paths.plot("train_policy", method), [vars(step) for step in steps])
    tail = steps[len(steps) // 2 :]
    last = {
        n: sum(getattr(s, n) for s in tail) / len(tail) for n in ("loss", "margin", "accuracy", "chosen", "rejected")
    }
    computed = machine.arithmetic(dpo.precision, where.device)
    report = {"pairs": len(pairs), "second_half": last, "arithmetic": computed}
    write_json(paths.metrics("train_policy", method), report)
    done = f"{len(pairs)} pairs, {len(steps)} steps, accuracy {last['accuracy']:.2f}"
    return f"wrote {paths.policy(method)}, {done}; {computed}"
