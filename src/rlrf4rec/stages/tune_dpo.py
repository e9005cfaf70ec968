"""Stage tune_dpo: search of DPO's hyperparameters by the reward of new texts for held-out train users.

DPO's own loss is not comparable across beta, so each trial tunes the LLM on some users' pairs, samples new
texts for other train users, and is judged by their reward under models that did not train on those users
and did not label the pairs.
"""

import tempfile
from pathlib import Path

import optuna
import polars as pl

from rlrf4rec import machine, paths, store
from rlrf4rec.alignment import packed
from rlrf4rec.alignment.module import DpoModule
from rlrf4rec.alignment.pairs import token_pairs
from rlrf4rec.alignment.policy import new_policy, save_adapter
from rlrf4rec.alignment.reference import reference
from rlrf4rec.alignment.tune import DEFAULTS, settings_of, tune
from rlrf4rec.errors import RLRFError
from rlrf4rec.files import sha256, write_csv, write_json
from rlrf4rec.judging.judge import Judge
from rlrf4rec.llm.models import DTYPES, Place, context, load_llm
from rlrf4rec.llm.tokenizer import load_tokenizer
from rlrf4rec.params import Dpo, Encode, Llm, Reward, Sample, TuneDpo
from rlrf4rec.search import study
from rlrf4rec.seeds import derive
from rlrf4rec.tables.rewards import PAIRS, REWARDS, check_tuning_users
from rlrf4rec.tables.split import FOLD_USERS
from rlrf4rec.tables.texts import PROMPTS


def run(
    seed: int,
    sample: Sample,
    llm: Llm,
    encode: Encode,
    reward: Reward,
    dpo: Dpo,
    tune_dpo: TuneDpo,
    round_name: str,
) -> str:
    """Search and write the best hyperparameters and all trials; returns the closing line."""
    trials: list[optuna.trial.FrozenTrial] = []
    if tune_dpo.n_trials:
        files = [paths.pairs(round_name), paths.rewards(round_name), paths.reward_models(round_name, "judge")]
        blocks = [b.model_dump() for b in (sample, llm, encode, reward, dpo, tune_dpo)]
        key = study.identity(
            [
                store.code("stages.tune_dpo"),
                seed,
                *blocks,
                sha256(paths.LLM),
            ],
            files,
        )
        trials = _search(seed, sample, llm, encode, reward, dpo, tune_dpo, round_name, key)
    winner = study.best(trials)
    found = dict(winner.params) if winner else {}
    edges = study.at_edge(found, {"learning_rate": tune_dpo.learning_rate, "beta": tune_dpo.beta})
    write_json(paths.TUNE_DPO, found)
    rows = study.rows(trials)
    write_csv(paths.TUNE_DPO_TRIALS, rows)
    write_csv(paths.plot("tune_dpo", "trials"), [{k: r[k] for k in ("trial", "value", "best_so_far")} for r in rows])
    value = winner.value if winner else None
    computed = machine.arithmetic(dpo.precision, machine.device(llm.device))
    measure = "heldout_reward_gain"
    counts = {measure: value, "trials": len(trials), "at_edge": edges, "default": study.default(trials, measure)}
    write_json(paths.metrics("tune_dpo"), {**counts, **found, "arithmetic": computed})
    best = f"best {found or 'none: search is off'}, gain {value}{study.edge_note(edges)}"
    return f"wrote {paths.TUNE_DPO}, {len(trials)} trials, {best}; {computed}"


def _search(
    seed: int,
    sample: Sample,
    llm: Llm,
    encode: Encode,
    reward: Reward,
    dpo: Dpo,
    space: TuneDpo,
    round_name: str,
    key: str,
) -> list[optuna.trial.FrozenTrial]:
    frame, held = held_out(seed, space, round_name)
    where = Place.of(llm.device, llm.quantization, llm.trust_remote_code)
    tokenizer = load_tokenizer(paths.LLM, where.trusted)
    base = load_llm(paths.LLM, DTYPES[dpo.precision], packed.NAME, where)
    pairs = token_pairs(frame, PROMPTS.read(paths.PROMPTS), context(base))
    fewer = sample.model_copy(update={"n": space.samples})
    judge = Judge(held, "train", fewer, encode, reward, round_name, seed, where)
    before = REWARDS.read(paths.rewards(round_name))
    policy = new_policy(base, dpo.lora_rank, dpo.lora_alpha, dpo.lora_dropout, 0, dpo.lora_target)
    # The texts of the first round are those of the base LLM, which is the reference here.
    wrote, what = round_name == "round1" and sample.dtype == dpo.precision, "tune_dpo reference"
    at_reference = reference(policy, frame, pairs, wrote, dpo.batch, dpo.precision, what, where.identity(paths.LLM))
    policy.unload()

    def objective(trial: optuna.Trial) -> float:
        """Gain in reward of the users who were held out."""
        learning_rate = trial.suggest_float("learning_rate", *space.learning_rate, log=True)
        beta = trial.suggest_float("beta", *space.beta, log=True)
        own = derive(seed, "tune_dpo")  # the same for all trials: they differ in hyperparameters alone
        tuned = new_policy(base, dpo.lora_rank, dpo.lora_alpha, dpo.lora_dropout, own, dpo.lora_target)

        def gain(users: list[str]) -> float:
            """Mean reward of new texts less that of the base LLM's."""
            with tempfile.TemporaryDirectory() as folder:
                save_adapter(tuned, paths.LLM, Path(folder) / "adapter")
                new = judge.rewards(users, Path(folder) / "adapter")
            old = before.filter(pl.col("user").is_in(users))["judged"].mean()
            return sum(new) / len(new) - float(old)  # type: ignore[arg-type]

        def halfway() -> None:
            """End the trial when half of its training and half of the users say that it is behind."""
            trial.report(gain(held[: len(held) // 2]), 0)
            if trial.should_prune():
                raise optuna.TrialPruned

        try:
            settings = settings_of(dpo, {"beta": beta, "learning_rate": learning_rate}, own, where.device)
            work = DpoModule(tuned, pairs, at_reference, settings, halfway)
            tune(work, dpo.engine, tokenizer, f"tune_dpo trial {trial.number}", None)
            return gain(held)
        finally:
            tuned.unload()

    inside = all(
        low <= DEFAULTS[n] <= high for n, (low, high) in (("beta", space.beta), ("learning_rate", space.learning_rate))
    )
    return study.run("tune_dpo", key, objective, space.n_trials, seed, 2, 0, DEFAULTS if inside else None)


def held_out(seed: int, space: TuneDpo, round_name: str) -> tuple[pl.DataFrame, list[str]]:
    """Pairs to train on (those with the largest gaps) and the tuning users whose new texts are judged."""
    pairs = PAIRS.read(paths.pairs(round_name))
    users = FOLD_USERS.read(paths.FOLD_USERS)
    scored = REWARDS.read(paths.rewards(round_name)).filter(pl.col("fold") == "train")["user"].unique().sort()
    held = scored.sample(min(space.holdout_users, len(scored)), seed=derive(seed, "held_out"), shuffle=True).to_list()
    own = pairs.filter(~pl.col("user").is_in(held))
    rest = own.sort(["gap", "user", "chosen_sample"], descending=[True, False, False]).head(space.pairs)
    if not rest.height:
        raise RLRFError(
            f"tune_dpo: {pairs.height} pairs, all of the {len(held)} held-out users; lower tune_dpo.holdout_users"
        )
    check_tuning_users(rest, users, paths.pairs(round_name))
    return rest.sort("user", maintain_order=True), held
