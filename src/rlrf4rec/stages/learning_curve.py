"""Stage learning_curve: held-out reward against the number of preference pairs.

For every size the base LLM is tuned on a random part of the round's pairs (smaller parts lie within larger ones) and
writes new texts for validation users, whom neither the LLM nor a reward model has been trained on. The texts of the
untuned LLM, drawn with the same random numbers, are the curve's point at 0 pairs.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from rlrf4rec import machine, paths
from rlrf4rec.alignment import packed
from rlrf4rec.alignment.loss import LogProbs
from rlrf4rec.alignment.module import Dpo
from rlrf4rec.alignment.pairs import token_pairs
from rlrf4rec.alignment.policy import new_policy, save_adapter
from rlrf4rec.alignment.reference import reference
from rlrf4rec.alignment.tune import DEFAULTS, settings_of, tune
from rlrf4rec.errors import RLRFError
from rlrf4rec.files import read_json, write_csv, write_json
from rlrf4rec.judging.judge import Judge
from rlrf4rec.llm.models import DTYPES, Place, context, load_llm
from rlrf4rec.llm.tokenizer import load_tokenizer
from rlrf4rec.metrics.statistics import Array, paired_interval
from rlrf4rec.params import Dpo as DpoParams
from rlrf4rec.params import Encode, LearningCurve, Llm, Reward, Sample, TrainDpo
from rlrf4rec.search import study
from rlrf4rec.seeds import derive
from rlrf4rec.tables.rewards import PAIRS, check_tuning_users
from rlrf4rec.tables.split import FOLD_USERS


class Tuner:
    """Tunes the base LLM on some of the pairs; reference log-probabilities are computed once."""

    def __init__(self, frame: pl.DataFrame, told: bool, dpo: DpoParams, values: dict[str, float], place: Place) -> None:
        """`told`: the sampler computed in the same arithmetic, and its log-probabilities are taken."""
        self.dpo, self.values, self.place = dpo, values, place
        self.tokenizer = load_tokenizer(paths.LLM, place.trusted)
        self.llm = llm = load_llm(paths.LLM, DTYPES[dpo.precision], packed.NAME, place)
        self.pairs = pairs = token_pairs(frame, self.tokenizer, context(llm))
        policy = new_policy(llm, dpo.lora_rank, dpo.lora_alpha, dpo.lora_dropout, 0, dpo.lora_target)
        self.reference = reference(
            policy, frame, pairs, told, dpo.batch, dpo.precision, "learning_curve reference", None
        )
        policy.unload()

    def tune(self, rows: list[int], epochs: int, seed: int, target: Path) -> None:
        """Save an adapter tuned on these pairs at `target`."""
        dpo = self.dpo.model_copy(update={"epochs": epochs})
        settings = settings_of(dpo, self.values, seed, self.place.device)
        before = LogProbs(self.reference.chosen[rows], self.reference.rejected[rows])
        tuned = new_policy(self.llm, dpo.lora_rank, dpo.lora_alpha, dpo.lora_dropout, seed, dpo.lora_target)
        work = Dpo(tuned, [self.pairs[r] for r in rows], before, settings)
        tune(work, dpo.engine, self.tokenizer, f"learning_curve {len(rows)} pairs", None)
        save_adapter(tuned, paths.LLM, target)
        tuned.unload()


def run(
    seed: int,
    sample: Sample,
    llm: Llm,
    encode: Encode,
    reward: Reward,
    dpo: DpoParams,
    train_dpo: TrainDpo,
    learning_curve: LearningCurve,
    round_name: str,
) -> str:
    """Tune and judge at every size; returns the closing line."""
    users = FOLD_USERS.read(paths.FOLD_USERS)
    frame = PAIRS.read(paths.pairs(round_name))
    check_tuning_users(frame, users, paths.pairs(round_name))
    curve = learning_curve
    values, sources = study.join(train_dpo.model_dump(), read_json(paths.TUNE_DPO), DEFAULTS)
    held = held_out_users(users, curve.users, derive(seed, "learning_curve", "users"))
    where = Place.of(llm.device, llm.quantization, llm.trust_remote_code)
    fewer = sample.model_copy(update={"n": curve.samples})
    judge = Judge(held, "validation", fewer, encode, reward, round_name, derive(seed, "learning_curve"), where)
    held = [user for user in held if judge.row[user] in judge.group]
    tuner = Tuner(frame, sample.dtype == dpo.precision, dpo, values, where)
    before = _by_user(judge.rewards(held, paths.policy("base")), curve.samples)
    found: dict[int, list[Array]] = {size: [] for size in sizes(curve.pairs, frame.height)}
    for repeat in range(curve.repeats):
        own = derive(seed, "learning_curve", "repeat", repeat)
        order = np.random.default_rng(own).permutation(frame.height).tolist()
        for size, gains in found.items():
            epochs = dpo.epochs * max(1, round(max(found) / size)) if curve.equal_steps else dpo.epochs
            with tempfile.TemporaryDirectory() as folder:
                tuner.tune(sorted(order[:size]), epochs, own, Path(folder) / "adapter")
                after = _by_user(judge.rewards(held, Path(folder) / "adapter"), curve.samples)
            gains.append(after - before)
    rows = points({size: np.stack(gains, axis=1) for size, gains in found.items()}, curve.bootstrap, seed)
    about = {"users": len(held), "reward": reward.kind, "reward_base": float(before.mean()), "hyperparameters": values}
    computed = machine.arithmetic(dpo.precision, where.device)
    written = {**about, "equal_steps": curve.equal_steps, "points": rows, "arithmetic": computed}
    write_json(paths.metrics("learning_curve", round_name), written)
    shown = ("pairs", "gain", "low", "high")
    write_csv(paths.plot("learning_curve", round_name), [{name: row[name] for name in shown} for row in rows])
    told = ", ".join(f"{row['pairs']}: {row['gain']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]" for row in rows)
    wrote = f"wrote {paths.metrics('learning_curve', round_name)}, {len(held)} users"
    return f"{wrote}; {sources}; gain by pairs {told}; {computed}"


def held_out_users(users: pl.DataFrame, count: int, seed: int) -> list[str]:
    """At most `count` validation users, drawn at random, in a fixed order."""
    validation = users.filter(pl.col("fold") == "validation")["user"].sort()
    return sorted(validation.sample(min(count, len(validation)), seed=seed, shuffle=True).to_list())


def sizes(wanted: list[int], pairs: int) -> list[int]:
    """The wanted numbers of pairs that there are, rising; RLRFError when there are not enough pairs for one."""
    kept = sorted({size for size in wanted if size <= pairs})
    if not kept:
        raise RLRFError(f"learning_curve: {pairs} pairs, fewer than any of learning_curve.pairs = {wanted}; lower them")
    return kept


def points(gains: dict[int, Array], resamples: int, seed: int) -> list[dict[str, Any]]:
    """The curve: mean gain over users and repeats with its 95 % interval, and the mean gain of each repeat.

    gains: number of pairs -> [users, repeats], reward of tuned texts minus that of base texts of the same user.
    The first point is 0 pairs with a gain of 0.
    """
    rows: list[dict[str, Any]] = [{"pairs": 0, "gain": 0.0, "low": 0.0, "high": 0.0, "repeats": []}]
    for size, values in sorted(gains.items()):
        mean, low, high = paired_interval(values, resamples, derive(seed, "learning_curve", size))
        rows.append({"pairs": size, "gain": mean, "low": low, "high": high, "repeats": values.mean(axis=0).tolist()})
    return rows


def _by_user(rewards: list[float], samples: int) -> Array:
    """Mean reward of each user's texts, [users]."""
    return np.asarray(rewards, dtype=np.float64).reshape(-1, samples).mean(axis=1)
