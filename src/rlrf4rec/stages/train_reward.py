"""Stage train_reward: the reward models of a round, cross-fitted over the halves of the tuning users."""

import functools
from typing import Any

import polars as pl

from rlrf4rec import machine, paths
from rlrf4rec.files import write_json
from rlrf4rec.inputs import read_tables
from rlrf4rec.params import RewardModel, TrainReward
from rlrf4rec.reward import models, reading
from rlrf4rec.reward.models import DEFAULTS, Hyperparameters
from rlrf4rec.search import study
from rlrf4rec.seeds import derive
from rlrf4rec.tables.rewards import TRAINED_LISTS, check_tuning_users
from rlrf4rec.tables.split import TUNING


def run(seed: int, reward_model: RewardModel, train_reward: TrainReward, round_name: str, texts_name: str) -> str:
    """Train models for both halves and all seeds; returns the closing line with the source of each value."""
    tables = read_tables()
    item_features = tables.item_features()
    read = functools.partial(reading.texts, tables, item_features)
    bank = models.joined(
        models.text_bank(read(texts_name, "tuning"), read("template"), reward_model.texts),
        models.profile(reward_model.beside, read),
    )
    searched = study.searched(paths.TUNE_REWARD, vars(DEFAULTS), "tune_reward")
    values, sources = study.join(train_reward.model_dump(), searched, vars(DEFAULTS))
    h = Hyperparameters(**values)
    frame = tables.list_frame("train")
    validation = tables.lists_of(tables.list_frame("validation"), "validation", "a validation user")
    duties: dict[paths.Duty, tuple[str, int]] = {
        "label": (reward_model.net, train_reward.seeds),
        "judge": (train_reward.judge_net, train_reward.judge_seeds),
    }
    trained: list[pl.DataFrame] = []
    jobs: dict[tuple[paths.Duty, str], models.Job] = {}
    for half in ("A", "B"):
        members = tables.users.filter(TUNING & (pl.col("half") == half)).select("user")
        own = frame.join(members, on="user", how="semi")
        check_tuning_users(own, tables.users, paths.lists("train"))
        lists = tables.lists_of(own, "train", f"a tuning user of half {half}")
        seen = bank[tables.rows(TUNING & (pl.col("half") == half))]
        trained.append(own.select(pl.lit(half).alias("half"), "user", "list").unique(maintain_order=True))
        for duty, (name, seeds) in duties.items():
            for number in range(seeds):
                key = f"{half}-{number}"
                own_seed = derive(seed, "train_reward", round_name, duty, key)
                net = models.new(name, item_features, seen, lists, reward_model.dropout, h.width, own_seed)
                jobs[duty, key] = models.Job(net, name, lists, bank, h, reward_model.batch, own_seed)
    losses, reached = models.train_all(list(jobs.values()), validation, f"train_reward {round_name}")
    report: dict[paths.Duty, dict[str, Any]] = {duty: {} for duty in duties}
    for (duty, key), curve, ndcg in zip(jobs, losses, reached, strict=True):
        report[duty][key] = {"loss_first": curve[0], "loss_last": curve[-1], "validation_ndcg@5": ndcg}
    TRAINED_LISTS.write(pl.concat(trained), paths.trained_lists(round_name))
    for duty, (name, _) in duties.items():
        nets = {key: job.net for (of, key), job in jobs.items() if of == duty}
        models.save(paths.reward_models(round_name, duty), nets, name, h.width, validation.ranked, reward_model.beside)
    computed = machine.arithmetic(threads=1)
    about = {"hyperparameters": values, "models": report, "arithmetic": computed}
    write_json(paths.metrics("train_reward", round_name), about)
    counted = ", ".join(f"{2 * seeds} models ({name}) to {duty}" for duty, (name, seeds) in duties.items())
    return f"wrote {paths.reward_models(round_name, 'label').parent}, {counted}; {sources}; {computed}"
