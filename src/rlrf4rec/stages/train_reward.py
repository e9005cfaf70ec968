"""Stage train_reward: the reward models of a round, cross-fitted over the halves of the tuning users."""

import polars as pl

from rlrf4rec import machine, paths
from rlrf4rec.files import read_json, write_json
from rlrf4rec.inputs import read_tables
from rlrf4rec.params import RewardModel, TrainReward
from rlrf4rec.progress import Progress
from rlrf4rec.ranking.module import mean_ndcg
from rlrf4rec.reward import models
from rlrf4rec.reward.models import DEFAULTS, Hyperparameters
from rlrf4rec.search import study
from rlrf4rec.seeds import derive
from rlrf4rec.tables.rewards import TRAINED_LISTS, check_tuning_users
from rlrf4rec.tables.split import TUNING
from rlrf4rec.workers import one_thread


def run(seed: int, reward_model: RewardModel, train_reward: TrainReward, round_name: str, texts_name: str) -> str:
    """Train models for both halves and all seeds; returns the closing line with the source of each value."""
    tables = read_tables()
    catalogue = tables.catalogue()
    bank = models.text_bank(tables.texts(texts_name, "tuning"), tables.texts("template"), reward_model.texts)
    values, sources = study.join(train_reward.model_dump(), read_json(paths.TUNE_REWARD), vars(DEFAULTS))
    h = Hyperparameters(**values)
    frame = tables.list_frame("train")
    validation = tables.lists(tables.list_frame("validation"))
    trained, nets, report = [], {}, {}
    progress = Progress(2 * train_reward.seeds, f"train_reward {round_name}")
    for half in ("A", "B"):
        members = tables.users.filter(TUNING & (pl.col("half") == half)).select("user")
        own = frame.join(members, on="user", how="semi")
        check_tuning_users(own, tables.users, paths.lists("train"))
        lists = tables.lists(own)
        seen = bank[tables.rows(TUNING & (pl.col("half") == half))]
        trained.append(own.select(pl.lit(half).alias("half"), "user", "list").unique(maintain_order=True))
        for number in range(train_reward.seeds):
            name = f"{half}-{number}"
            own_seed = derive(seed, "train_reward", round_name, name)
            net = models.new(
                reward_model.net, catalogue, seen, lists.item.shape[1], reward_model.dropout, h.width, own_seed
            )
            losses = models.train(net, reward_model.net, lists, bank, h, reward_model.batch, own_seed)
            with one_thread():
                reached = mean_ndcg(net, validation, bank, 5)
            nets[name] = net
            report[name] = {
                "loss_first": losses[0],
                "loss_last": losses[-1],
                "validation_ndcg@5": reached,
            }
            progress.advance(1, f"loss {losses[-1]:.3f}")
    progress.close()
    TRAINED_LISTS.write(pl.concat(trained), paths.trained_lists(round_name))
    models.save(paths.reward_model(round_name), nets, reward_model.net, h.width)
    computed = machine.arithmetic(threads=1)
    about = {"hyperparameters": values, "models": report, "arithmetic": computed}
    write_json(paths.metrics("train_reward", round_name), about)
    return f"wrote {paths.reward_model(round_name)}, {len(nets)} models; {sources}; {computed}"
