"""Rewards: how well a re-ranker that knows a text re-ranks its user's lists.

What a kind of reward makes of the values on each list is in `kinds`. Where models read a profile beside the text, a
text is paid for what it adds to it: what the profile alone is worth is the same for all texts of a user, so it falls
out of every comparison of them and is not taken off.

Shapes: M models, S texts of a user, L lists of a user, O lists of others, C candidates.
"""

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import lightning as L
import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from rlrf4rec import store, workers
from rlrf4rec.errors import InputError
from rlrf4rec.metrics.ranking import average_precision, log_likelihood, ndcg, ranked_labels
from rlrf4rec.params import Reward
from rlrf4rec.progress import Progress
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.reward.kinds import KINDS as KINDS
from rlrf4rec.reward.kinds import LISTS, MODELS_AND_LISTS, kind
from rlrf4rec.reward.models import RewardModels, joined, models_of
from rlrf4rec.seeds import derive

VALUES = ("ndcg", "map", "smooth", "others")  # of UserRewards


@dataclass
class UserRewards:
    """Values of one user's texts: `ndcg`, `map`, `smooth` [M, S, L] on own lists, `others` [M, S, O] smooth."""

    user: int
    ndcg: Tensor
    map: Tensor
    smooth: Tensor
    others: Tensor

    def per_model(self, name: str) -> Tensor:
        """Rewards of a kind by each model, [M, S]."""
        return kind(name).reward(self, LISTS)

    def reward(self, name: str) -> Tensor:
        """Rewards of a kind averaged over models, [S]."""
        return self.per_model(name).mean(0)

    def by_list(self, name: str) -> Tensor:
        """What each text gets on each of its user's own lists, [M, S, L]."""
        return kind(name).by_list(self)

    def halves(self, name: str) -> tuple[Tensor, Tensor]:
        """Rewards [S] from even and from odd lists; only for users with at least two lists."""
        even, odd = (kind(name).reward(self._every_second(first), MODELS_AND_LISTS) for first in (0, 1))
        return even, odd

    def _every_second(self, first: int) -> "UserRewards":
        """The same of lists `first`, `first` + 2, ..., own and others'."""
        return UserRewards(self.user, *(getattr(self, name)[..., first::2] for name in VALUES))


@dataclass(frozen=True)
class ScoringTask:
    """What to score: a user, the rows of its own lists and of others' lists, and its texts [S, W]."""

    user: int
    own: Tensor
    others: Tensor
    texts: Tensor


class RewardScorer(L.LightningModule):
    """Scores texts with frozen reward models; `models_of[user]` are those that did not train on the user.

    profile [U, W]: beside the text stands that of the user whose list it is, on others' lists theirs.
    """

    def __init__(
        self,
        nets: list[nn.Module],
        models_of: dict[int, list[int]],
        lists: Lists,
        k: int,
        profile: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)
        self.models_of, self.lists, self.k, self.profile = models_of, lists, k, profile

    def predict_step(self, task: ScoringTask) -> UserRewards:
        """Rewards of one user's texts."""
        rows = torch.cat([task.own, task.others])
        lists, samples, own = self.lists[rows], len(task.texts), len(task.own)
        labels = lists.label
        many = lists[torch.arange(len(rows)).repeat(samples)]
        of_lists = None if self.profile is None else self.profile[lists.user]
        text = joined(task.texts.expand(len(rows), -1, -1), of_lists).transpose(0, 1).flatten(0, 1)
        nets = [self.nets[m] for m in self.models_of[task.user]]
        scores = torch.stack([net(many, text).view(samples, len(rows), -1) for net in nets])
        ranked = ranked_labels(scores[:, :, :own], labels[:own])
        smooth = log_likelihood(scores, labels)
        own_smooth, others = smooth[:, :, :own], smooth[:, :, own:]
        return UserRewards(task.user, ndcg(ranked, self.k), average_precision(ranked, self.k), own_smooth, others)


@dataclass(frozen=True)
class Scoring:
    """Tasks, and the models that score them."""

    scorer: RewardScorer
    tasks: list[ScoringTask]


def tasks(lists: Lists, texts: Tensor, group: dict[int, str], other_lists: int, seed: int) -> list[ScoringTask]:
    """A task for each user of `group` that has lists; others' lists come from users of the same group value.

    texts: [U, S, W]. The others' lists are the same for all texts of a user, so they cancel within a user. InputError
    where a group has lists of one user alone.
    """
    rows_of: dict[int, list[int]] = {}
    for row, user in enumerate(lists.user.tolist()):
        rows_of.setdefault(user, []).append(row)
    pools: dict[str, list[int]] = {}
    for user, name in group.items():
        pools.setdefault(name, []).extend(rows_of.get(user, []))
    made = []
    for user, name in sorted(group.items()):
        if user not in rows_of:
            continue
        others = [row for row in pools[name] if int(lists.user[row]) != user]
        if not others:
            raise InputError(
                f"of the group {name} one user alone has lists, and a text is held against lists of others too: "
                "more users are needed; raise interactions.users, or lower interactions.min_interactions"
            )
        rng = np.random.default_rng(derive(seed, "others", user))
        chosen = rng.choice(others, size=min(other_lists, len(others)), replace=False)
        made.append(ScoringTask(user, torch.tensor(rows_of[user]), torch.tensor(np.sort(chosen)), texts[user]))
    return made


def score(scorings: Sequence[Scoring], what: str) -> list[list[UserRewards]]:
    """Rewards of every scoring's tasks, as many tasks at once as this process has threads.

    Each is computed with one thread. Users are kept in the store as they are scored.
    """
    shelves = [store.Rows("score", _identity(each), ["user"]) for each in scorings]
    kept = [shelf.load() for shelf in shelves]
    done = [{row["user"]: _from_row(row) for row in (() if rows is None else rows.to_dicts())} for rows in kept]
    missing = [
        (number, task) for number, each in enumerate(scorings) for task in each.tasks if task.user not in done[number]
    ]
    if missing:
        progress = Progress(len(missing), what)
        step = functools.partial(_arrays, [each.scorer for each in scorings])
        for (number, task), values in zip(missing, workers.spread(step, missing), strict=True):
            done[number][task.user] = UserRewards(task.user, *map(torch.from_numpy, values))
            shelves[number].add(_to_row(done[number][task.user]))
            progress.advance()
        progress.close()
    for shelf in shelves:
        shelf.flush()
    return [[of[task.user] for task in each.tasks] for of, each in zip(done, scorings, strict=True)]


def _identity(scoring: Scoring) -> str:
    scorer = scoring.scorer
    nets = [str(scorer.nets), scorer.nets.state_dict()]
    code = store.code("reward.rewards", threads=1)
    return store.digest(code, nets, scorer.models_of, scorer.lists, scorer.k, scorer.profile, scoring.tasks)


def _arrays(scorers: Sequence[RewardScorer], piece: tuple[int, ScoringTask]) -> list[np.ndarray]:
    """Values of one user by the scorer of this number, as arrays, which travel by value."""
    number, task = piece
    with torch.inference_mode():
        found = scorers[number].predict_step(task)
    return [getattr(found, name).numpy() for name in VALUES]


def groups(users: pl.DataFrame, lists: Lists) -> dict[int, str]:
    """Of each user (row of the users table) that has lists: the half that it tunes in, or else its fold."""
    halves, folds = users["half"].to_list(), users["fold"].to_list()
    return {u: folds[u] if halves[u] == "-" else halves[u] for u in sorted(set(lists.user.tolist()))}


def scoring(
    models: RewardModels,
    lists: Lists,
    texts: Tensor,
    group: dict[int, str],
    reward: Reward,
    seed: int,
    only: Collection[int] | None = None,
) -> Scoring:
    """The texts [U, S, W] of all users of `group` that have lists, for the models that did not train on them to score.

    group: see `groups`; `only` some users, None: all.
    """
    names, nets = list(models.nets), list(models.nets.values())
    scorer = RewardScorer(nets, models_of(names, group), lists, reward.k, models.profile)
    work = tasks(lists, texts, group, reward.other_lists, seed)
    return Scoring(scorer, [task for task in work if only is None or task.user in only])


def _to_row(rewards: UserRewards) -> pl.DataFrame:
    """A user's rewards as a row of the store: values in one list each, with their shapes."""
    tensors = {name: getattr(rewards, name) for name in VALUES}
    shapes = {f"{name}_shape": [list(tensor.shape)] for name, tensor in tensors.items()}
    values = {
        name: pl.Series([tensor.flatten().tolist()], dtype=pl.List(pl.Float64)) for name, tensor in tensors.items()
    }
    return pl.DataFrame({"user": [rewards.user], **values, **shapes})


def _from_row(row: dict[str, Any]) -> UserRewards:
    return UserRewards(
        row["user"], *(torch.tensor(row[name], dtype=torch.float64).view(row[f"{name}_shape"]) for name in VALUES)
    )
