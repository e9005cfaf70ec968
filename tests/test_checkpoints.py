"""A re-ranker or reward model whose training is killed goes on from an epoch, and ends the same to the bit."""

from dataclasses import replace

import pytest
import torch
from test_ranking import HOW, NETS, OTHERS, RERANKERS, material, world

from rlrf4rec import store
from rlrf4rec.ranking.module import Ranker
from rlrf4rec.retraining.parallel import Job, train_all
from rlrf4rec.reward import models
from rlrf4rec.reward.models import Hyperparameters

EPOCHS = 5


class KilledError(Exception):
    """As if the process had ended."""


@pytest.fixture
def training(monkeypatch):
    """How many epochs were begun; after `kill` of them the training ends."""
    real, begun = Ranker.on_train_epoch_start, []

    def start(ranker):
        if len(begun) == training.kill:
            raise KilledError
        begun.append(len(ranker.losses))
        real(ranker)

    training.kill, training.begun = None, begun
    monkeypatch.setattr(Ranker, "on_train_epoch_start", start)
    return training


def checkpoints():
    return [shelf.pieces for shelf in store.shelves() if shelf.kind == "epochs"]


def same(one, two):
    assert list(one) == list(two)
    return all(torch.equal(one[name], two[name]) for name in one)


def trained_in_two(training, monkeypatch, train, kill):
    """What `train` gives in one go, and when it was killed after `kill` epochs."""
    whole = train()
    assert training.begun == list(range(EPOCHS))
    assert checkpoints() == []  # it takes less than `store.EVERY`
    store.clean(0)
    monkeypatch.setattr(store, "EVERY", 0.0)
    training.begun.clear()
    training.kill = kill
    with pytest.raises(KilledError):
        train()
    assert checkpoints() == [1]  # the last one, in place of those before
    training.begun.clear()
    training.kill = None
    torch.rand(3)  # wherever the generator of the process stands
    again = train()
    assert training.begun == list(range(kill, EPOCHS))
    assert checkpoints() == []
    return whole, again


@pytest.mark.parametrize("kill", [1, 4])
@pytest.mark.parametrize("name", RERANKERS)
def test_a_killed_re_ranker_goes_on(training, monkeypatch, name, kill):
    job = Job(name, material(*world()), replace(HOW, epochs=EPOCHS, batch=80), 3, OTHERS)
    whole, again = trained_in_two(training, monkeypatch, lambda: train_all([job], "test")[0], kill)
    assert same(again.weights, whole.weights)
    assert same(again.scores, whole.scores)
    assert (again.losses, again.validation) == (whole.losses, whole.validation)
    assert len(set(whole.losses)) == EPOCHS


@pytest.mark.parametrize("kill", [1, 3])
@pytest.mark.parametrize("name", NETS)
def test_a_killed_reward_model_goes_on(training, monkeypatch, name, kill):
    item_features, texts, lists = world()

    def train():
        net = models.new(name, item_features, texts, lists, 0.3, 16, 1)
        job = models.Job(net, name, lists, texts, Hyperparameters(0.01, 0.1, 16, EPOCHS), 80, 5)
        return net, models.train_all([job], lists, "test")[0]

    (net, losses), (resumed, again) = trained_in_two(training, monkeypatch, train, kill)
    assert same(resumed.state_dict(), net.state_dict())
    assert again == losses


def test_a_checkpoint_is_of_one_training_alone(training, monkeypatch):
    """Another seed begins at its beginning."""
    monkeypatch.setattr(store, "EVERY", 0.0)
    job = Job("prm", material(*world()), replace(HOW, epochs=EPOCHS), 3, OTHERS)
    training.kill = 2
    with pytest.raises(KilledError):
        train_all([job], "test")
    training.kill = None
    training.begun.clear()
    train_all([replace(job, seed=4)], "test")
    assert training.begun == list(range(EPOCHS))
    assert checkpoints() == [1]


def test_a_checkpoint_is_written_once_enough_time_has_passed(monkeypatch):
    """`store.seconds` of work at most are lost, and what is quicker than that never waits for the disk."""
    clock, written, real = [0.0], [], store.save_tensors

    def save(kind, key, tensors, metadata, rank=0):
        written.append((kind, rank))
        real(kind, key, tensors, metadata, rank)

    def start(ranker):
        clock[0] += 8

    monkeypatch.setattr("rlrf4rec.checkpoints.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(store, "save_tensors", save)
    monkeypatch.setattr(Ranker, "on_train_epoch_start", start)
    job = Job("prm", material(*world()), replace(HOW, epochs=8), 3, OTHERS)
    train_all([job], "test")
    assert written == [("epochs", 3), ("epochs", 6), ("train_ranker", 0)]
