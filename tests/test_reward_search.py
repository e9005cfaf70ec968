"""The search of the reward model: what a trial trains is what `train_reward` trains."""

import optuna
import polars as pl
import pytest
import torch

from rlrf4rec.params import load
from rlrf4rec.ranking.lists import ItemFeatures, Lists
from rlrf4rec.reward import models
from rlrf4rec.stages import tune_reward

USERS, LENGTH, WIDTH = 9, 4, 6


class World:
    """Four users of half A, two of half B, and three to validate; each has five lists."""

    users = pl.DataFrame(
        {
            "user": [str(u) for u in range(USERS)],
            "fold": ["train"] * 6 + ["validation"] * 3,
            "role": ["tune"] * 6 + ["none"] * 3,
            "half": ["A"] * 4 + ["B"] * 2 + ["-"] * 3,
        }
    )

    def __init__(self):
        self.generator = torch.Generator().manual_seed(0)

    def draw(self, *shape):
        return torch.randn(shape, generator=self.generator)

    def item_features(self):
        return ItemFeatures(self.draw(20, WIDTH), torch.ones(20, 2), self.draw(20))

    def texts(self, name, users="all"):
        return self.draw(USERS, 1 if name == "template" else 2, WIDTH)

    def rows(self, condition):
        return self.users.with_row_index("row").filter(condition)["row"].to_list()

    def list_frame(self, fold):
        return self.users.filter(pl.col("fold") == fold).select("user")

    def lists_of(self, frame, fold, whose):
        user = torch.tensor([int(u) for u in frame["user"]]).repeat_interleave(5)
        item = torch.stack([torch.randperm(20, generator=self.generator)[:LENGTH] for _ in user])
        label = torch.zeros_like(item)
        label[:, 0] = 1
        return Lists(user, torch.arange(5).repeat(frame.height), item, label, torch.ones(len(user)))


@pytest.fixture
def objective(monkeypatch):
    world = World()
    monkeypatch.setattr(tune_reward, "read_tables", lambda: world)
    params = load()
    space = params.tune_reward.model_copy(update={"max_epochs": 3})
    return tune_reward.Objective(1, params.reward_model, space, "base")


def test_a_trial_trains_a_model_for_each_half_as_train_reward_does(objective, monkeypatch):
    seen, real = [], models.train_anew

    def watched(net, name, lists, texts, h, batch, seed, look):
        seen.append((sorted(set(lists.user.tolist())), h.epochs, batch))
        return real(net, name, lists, texts, h, batch, seed, look)

    monkeypatch.setattr(models, "train_anew", watched)
    first = optuna.create_study(direction="maximize").ask()
    value = objective(first)
    batch = objective.reward_model.batch
    assert seen == [([0, 1, 2, 3], 3, batch), ([4, 5], 3, batch)]
    trial = optuna.create_study(direction="maximize").ask()
    curves = [objective._curve(trial, models.Hyperparameters(**first.params, epochs=3), lists, bank, half)
              for half, lists, bank in zip("AB", objective.train, objective.seen, strict=True)]  # fmt: skip
    means = [(a + b) / 2 for a, b in zip(*curves, strict=True)]
    assert value == pytest.approx(max(means))
    assert first.user_attrs["epochs"] == means.index(max(means)) + 1


def test_the_first_half_s_curve_prunes_a_trial_before_the_second_half_is_trained(objective, monkeypatch):
    trained, real = [], models.train_anew
    monkeypatch.setattr(models, "train_anew", lambda *given: trained.append(1) or real(*given))
    trial = optuna.create_study(direction="maximize", pruner=optuna.pruners.ThresholdPruner(lower=1e9)).ask()
    with pytest.raises(optuna.TrialPruned):
        objective(trial)
    assert trained == [1]
