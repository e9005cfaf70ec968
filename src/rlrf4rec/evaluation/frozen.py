"""Rewards of every policy's texts under frozen re-rankers, with own and with permuted texts, and their gains."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl
from torch import Tensor

from rlrf4rec import paths
from rlrf4rec.evaluation import compare
from rlrf4rec.metrics.permute import permutation
from rlrf4rec.params import Reward
from rlrf4rec.ranking.lists import ItemFeatures, Lists
from rlrf4rec.reward import models, rewards
from rlrf4rec.reward.rewards import UserRewards
from rlrf4rec.seeds import derive
from rlrf4rec.tables.results import PERMUTED


def policy_rewards(
    users: pl.DataFrame,
    lists: Lists,
    texts: Mapping[str, Tensor],
    by_duty: Mapping[paths.Duty, models.RewardModels],
    reward: Reward,
    seed: int,
) -> pl.DataFrame:
    """Mean reward of every policy's texts for the users of the lists: `tables.results.PolicyReward`.

    texts: vectors [users, samples, width] of each policy; by_duty: the models of each duty. Each seed of the models has
    a permutation of the users of its own; a profile that stands beside a text stays the user's own.
    """
    group = rewards.groups(users, lists)
    frames = []
    for duty, of_duty in by_duty.items():
        for number, of_seed in enumerate(models.by_seed(of_duty)):
            other = permutation(group, users.height, derive(seed, "permuted", number))
            # One seed at a time: permuted texts are copies.
            both = [each for own_texts in texts.values() for each in (own_texts, own_texts[other])]
            scorings = [rewards.scoring(of_seed, lists, each, group, reward, seed) for each in both]
            done = iter(rewards.score(scorings, f"evaluate {duty} {number}"))
            for policy, own, permuted in zip(texts, done, done, strict=True):
                frames.append(_frame({"policy": policy, "duty": duty, "seed": number}, users, own, permuted))
    return pl.concat(frames)


def of_first_round(
    item_features: ItemFeatures, length: int, read: Callable[[str], Tensor]
) -> dict[paths.Duty, models.RewardModels]:
    """The reward models of the first round, those of both duties, for lists of so many items.

    read: vectors of the texts of a name about these users, for the profile that models read beside a text.
    """
    return {
        duty: models.load(paths.reward_models("round1", duty), item_features, length, read) for duty in paths.DUTIES
    }


def _frame(
    keys: dict[str, Any], users: pl.DataFrame, own: list[UserRewards], permuted: list[UserRewards]
) -> pl.DataFrame:
    names, folds = users["user"].to_list(), users["fold"].to_list()
    rows = []
    for mine, others in zip(own, permuted, strict=True):
        kinds = {kind: float(mine.reward(kind).mean()) for kind in rewards.KINDS}
        permuted_kinds = {f"permuted_{kind}": float(others.reward(kind).mean()) for kind in PERMUTED}
        rows.append({**keys, "user": names[mine.user], "fold": folds[mine.user], **kinds, **permuted_kinds})
    return pl.DataFrame(rows)


Gains = dict[str, dict[str, Any]]


def gains(rewarded: pl.DataFrame, tuned: Sequence[str], resamples: int, seed: int) -> dict[paths.Duty, Gains]:
    """By the models of each duty, the reward gain of each tuned policy for users of each fold."""
    return {duty: _gains(rewarded.filter(pl.col("duty") == duty), tuned, resamples, seed) for duty in paths.DUTIES}


def _gains(rewarded: pl.DataFrame, tuned: Sequence[str], resamples: int, seed: int) -> Gains:
    folds = sorted(rewarded["fold"].unique())
    return {
        policy: {fold: compare.reward_gain(rewarded, policy, fold, resamples, seed) for fold in folds}
        for policy in tuned
    }


def judged(rewarded: pl.DataFrame, fold: str) -> pl.DataFrame:
    """The rows of a fold's users by the models that judge."""
    return rewarded.filter(pl.col("duty") == "judge", pl.col("fold") == fold)
