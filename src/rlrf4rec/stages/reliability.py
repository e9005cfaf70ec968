"""Stage reliability (study): would another re-ranker reward the same texts? Reward models of every net, compared.

For each net, models of both halves and two seeds with the default run's hyperparameters score the base LLM's texts of
validation users; agreement is corrected for the noise of few lists.
"""

from typing import Any

import polars as pl

from rlrf4rec import paths
from rlrf4rec.files import write_json
from rlrf4rec.inputs import Tables, read_tables
from rlrf4rec.judging.reliability import across_backbones
from rlrf4rec.judging.reliability import reliability as of_rewards
from rlrf4rec.params import Reward, RewardModel, TrainReward
from rlrf4rec.progress import track
from rlrf4rec.ranking.nets import NETS
from rlrf4rec.reward import models
from rlrf4rec.reward.models import DEFAULTS, Hyperparameters
from rlrf4rec.reward.rewards import UserRewards, groups, score, scoring
from rlrf4rec.search import study
from rlrf4rec.seeds import derive
from rlrf4rec.tables.split import TUNING

SEEDS = 2


def run(seed: int, reward: Reward, reward_model: RewardModel, train_reward: TrainReward) -> str:
    """Train, score and compare; returns the closing line."""
    tables = read_tables()
    searched = study.searched(paths.TUNE_REWARD, vars(DEFAULTS), "tune_reward")
    values, _ = study.join(train_reward.model_dump(), searched, vars(DEFAULTS))
    rewards = {
        net: _rewards(tables, net, Hyperparameters(**values), reward, reward_model, seed)
        for net in track(list(NETS), "reliability")
    }
    report: dict[str, Any] = {
        "users": len(next(iter(rewards.values()))),
        "nets": {net: of_rewards(found, SEEDS) for net, found in rewards.items()},
        "across": across_backbones(rewards),
    }
    write_json(paths.metrics("reliability"), report)
    shown = ", ".join(f"{pair} {v['disattenuated']:.2f}" for pair, v in report["across"][reward.kind].items())
    return f"wrote {paths.metrics('reliability')}; {reward.kind}, disattenuated: {shown}"


def _rewards(
    tables: Tables, net: str, h: Hyperparameters, reward: Reward, p: RewardModel, seed: int
) -> list[UserRewards]:
    """Rewards of validation users' base texts under models of one net, halves and seeds averaged later."""
    item_features, texts = tables.item_features(), tables.texts("base")
    profile = models.profile(p.beside, tables.texts)
    bank = models.joined(models.text_bank(texts, tables.texts("template"), p.texts), profile)
    frame = tables.list_frame("train")
    validation = tables.lists_of(tables.list_frame("validation"), "validation", "a validation user")
    jobs = {}
    for half in ("A", "B"):
        members = tables.users.filter(TUNING & (pl.col("half") == half)).select("user")
        own_lists = frame.join(members, on="user", how="semi")
        lists = tables.lists_of(own_lists, "train", f"a tuning user of half {half}")
        seen = bank[tables.rows(TUNING & (pl.col("half") == half))]
        for number in range(SEEDS):
            own = derive(seed, "reliability", net, half, number)
            model = models.new(net, item_features, seen, lists, p.dropout, h.width, own)
            jobs[f"{half}-{number}"] = models.Job(model, net, lists, bank, h, p.batch, own)
    models.train_all(list(jobs.values()), validation, f"reliability {net}")
    trained = models.RewardModels({key: job.net.requires_grad_(False) for key, job in jobs.items()}, profile)
    group = groups(tables.users, validation)
    (done,) = score([scoring(trained, validation, texts, group, reward, derive(seed, "score"))], f"reliability {net}")
    return done
