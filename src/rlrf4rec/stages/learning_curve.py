"""Stage learning_curve: held-out reward against the number of preference pairs.

For every size the base LLM is tuned on a random part of the round's pairs (smaller parts lie within larger ones) and
writes new texts for validation users, whom neither the LLM nor a reward model has been trained on. The texts of the
untuned LLM, drawn with the same random numbers, are the curve's point at 0 pairs.
"""

from pathlib import Path

from rlrf4rec import machine, paths
from rlrf4rec.alignment.tune import DEFAULTS
from rlrf4rec.files import write_csv, write_json
from rlrf4rec.judging.judge import Judge
from rlrf4rec.learning_curve.curve import by_user, gains, held_out_users, points
from rlrf4rec.learning_curve.tuner import Tuner
from rlrf4rec.llm.models import Place
from rlrf4rec.metrics.statistics import Array
from rlrf4rec.params import Dpo, Encode, LearningCurve, Llm, Reward, Sample, TrainDpo
from rlrf4rec.search import study
from rlrf4rec.seeds import derive
from rlrf4rec.tables.rewards import read_pairs
from rlrf4rec.tables.split import FOLD_USERS
from rlrf4rec.tables.texts import PROMPTS


def run(
    seed: int,
    sample: Sample,
    llm: Llm,
    encode: Encode,
    reward: Reward,
    dpo: Dpo,
    train_dpo: TrainDpo,
    learning_curve: LearningCurve,
    round_name: str,
) -> str:
    """Tune and judge at every size; returns the closing line."""
    users = FOLD_USERS.read(paths.FOLD_USERS)
    frame = read_pairs(paths.pairs(round_name), users)
    curve = learning_curve
    searched = study.searched(paths.TUNE_DPO, DEFAULTS, "tune_dpo")
    values, sources = study.join(train_dpo.model_dump(), searched, DEFAULTS)
    asked = held_out_users(users, curve.users, derive(seed, "learning_curve", "users"))
    where = Place.of(llm.device, llm.quantization, llm.trust_remote_code)
    fewer = sample.model_copy(update={"n": curve.samples})
    judge = Judge(asked, "validation", fewer, encode, reward, round_name, derive(seed, "learning_curve"), where)
    held = [user for user in asked if judge.row[user] in judge.group]
    tuner = Tuner(frame, PROMPTS.read(paths.PROMPTS), sample.dtype == dpo.precision, dpo, values, paths.LLM, where)

    def rewards(adapter: Path) -> Array:
        """Of new texts by an adapter, [users]."""
        return by_user(judge.rewards(held, adapter), curve.samples)

    before = rewards(paths.policy("base"))
    rows = points(gains(tuner, rewards, before, frame.height, curve, seed), curve.bootstrap, seed)
    about = {"users": len(held), "reward": reward.kind, "reward_base": float(before.mean()), "hyperparameters": values}
    computed = machine.arithmetic(dpo.precision, where.device)
    written = {**about, "equal_steps": curve.equal_steps, "points": rows, "arithmetic": computed}
    write_json(paths.metrics("learning_curve", round_name), written)
    shown = ("pairs", "gain", "low", "high")
    write_csv(paths.plot("learning_curve", round_name), [{name: row[name] for name in shown} for row in rows])
    by_pairs = ", ".join(f"{row['pairs']}: {row['gain']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]" for row in rows)
    wrote = f"wrote {paths.metrics('learning_curve', round_name)}, {len(held)} users"
    return f"{wrote}; {sources}; gain by pairs {by_pairs}; {computed}"
