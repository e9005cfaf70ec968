"""Reward models: cross-fitted over the two halves of the tuning users, several seeds each.

Some models label: their rewards make the preference pairs. Others, of another net, judge what was tuned on these: a
gain that the labellers see may be their own whim, learned.
"""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rlrf4rec import store, workers
from rlrf4rec.checkpoints import EPOCHS, Checkpoint
from rlrf4rec.errors import InputError, entry
from rlrf4rec.progress import Progress
from rlrf4rec.ranking import nets
from rlrf4rec.ranking.lists import ItemFeatures, Lists
from rlrf4rec.ranking.module import Ranker, fit, mean_ndcg
from rlrf4rec.seeds import derive, seeded
from rlrf4rec.tables.vectors import load_tensors, save_tensors
from rlrf4rec.workers import one_thread

EXPERTS = (2, 3)  # shared, private; when a list-wise re-ranker is the reward model


@dataclass(frozen=True)
class Hyperparameters:
    """What the search chooses."""

    learning_rate: float
    weight_decay: float
    width: int
    epochs: int


DEFAULTS = Hyperparameters(learning_rate=0.001, weight_decay=1.0, width=64, epochs=48)


def _llm(llm: Tensor, template: Tensor) -> Tensor:
    return llm


def _template(llm: Tensor, template: Tensor) -> Tensor:
    return template


def _both(llm: Tensor, template: Tensor) -> Tensor:
    """Either half of the time."""
    return torch.cat([llm, template.expand(-1, llm.shape[1], -1)], dim=1)


TEXTS = {"llm": _llm, "template": _template, "both": _both}  # by the name in the params


def text_bank(llm: Tensor, template: Tensor, which: str) -> Tensor:
    """Texts a reward model is trained with, [U, S', W], from the LLM's [U, S, W] and the template's [U, 1, W]."""
    return entry(TEXTS, which, "reward_model.texts")(llm, template)


def profile(beside: str, read: Callable[[str], Tensor]) -> Tensor | None:
    """What stands beside every text of a user, [U, W], by the name in the params; None: nothing.

    read: vectors of the texts of a name, [U, S, W].
    """
    return None if beside == "none" else read(beside).mean(1)


def joined(texts: Tensor, profile: Tensor | None) -> Tensor:
    """Texts [..., S, W] with their user's profile [..., W] behind each, [..., S, 2 W]; without a profile as they are.

    InputError when the two are not equally wide.
    """
    if profile is None:
        return texts
    if profile.shape[-1] != texts.shape[-1]:
        raise InputError(
            f"vectors of texts are {texts.shape[-1]} numbers wide, those of the profile beside them "
            f"{profile.shape[-1]}; both have to come from one encoder: run `dvc repro encode`"
        )
    return torch.cat([texts, profile[..., None, :].expand_as(texts)], dim=-1)


@one_thread()
def new(
    net: str, item_features: ItemFeatures, seen: Tensor, lists: Lists, dropout: float, width: int, seed: int
) -> nn.Module:
    """An untrained reward model of such lists; `seen` are the text vectors that it may take its statistics from."""
    with seeded(seed):
        return nets.build(net, item_features, seen, lists.item.shape[1], dropout, *EXPERTS, width, lists.ranked)


@dataclass(frozen=True)
class Job:
    """A reward model to train in place: the net, its name, its lists, all users' texts, how, and the seed."""

    net: nn.Module
    name: str
    lists: Lists
    texts: Tensor
    h: Hyperparameters
    batch: int
    seed: int


def train_all(jobs: Sequence[Job], validation: Lists, what: str) -> tuple[list[list[float]], list[float]]:
    """Train all jobs' nets, or take them from the store; as many at once as this process has threads, each with one.

    Returns the losses by epoch of each, and NDCG@5 of its scores of the validation lists. A killed training goes on
    from its last checkpoint in the store, which goes when the net is trained.
    """
    code = store.code("reward.models", threads=1)
    keys = [
        store.digest(code, job.net.state_dict(), job.name, job.lists, job.texts, job.h, job.batch, job.seed)
        for job in jobs
    ]
    losses, reached = [], []
    progress = Progress(len(jobs), what)
    made = workers.spread(functools.partial(_train, validation), list(zip(keys, jobs, strict=True)))
    for job, (own, ndcg, weights) in zip(jobs, made, strict=True):
        job.net.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
        job.net.eval()
        losses.append(own)
        reached.append(ndcg)
        progress.advance(1, f"loss {own[-1]:.3f}")
    progress.close()
    return losses, reached


def _train(validation: Lists, work: tuple[str, Job]) -> tuple[list[float], float, dict[str, np.ndarray]]:
    """Weights as arrays, which travel by value."""
    key, job = work
    if found := store.load_tensors("train_reward", key):
        job.net.load_state_dict(found[0])
        job.net.eval()
        losses = list(json.loads(found[1]["losses"]))
    else:
        resumed = Checkpoint(EPOCHS, key)
        losses = train_anew(job.net, job.name, job.lists, job.texts, job.h, job.batch, job.seed, checkpoint=resumed)
        store.save_tensors("train_reward", key, job.net.state_dict(), {"losses": json.dumps(losses)})
        store.remove(EPOCHS, key)
    ndcg = mean_ndcg(job.net, validation, job.texts, 5)
    return losses, ndcg, {name: tensor.numpy() for name, tensor in job.net.state_dict().items()}


@one_thread()
def train_anew(
    net: nn.Module,
    name: str,
    lists: Lists,
    texts: Tensor,
    h: Hyperparameters,
    batch: int,
    seed: int,
    each_epoch: Callable[[int], bool] | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[float]:
    """Train one reward model; returns the losses by epoch. See `ranking.module.fit` for `each_epoch` and `checkpoint`.

    With one thread: with two, sums of gradients come in another order from run to run.
    """
    with seeded(derive(seed, "dropout")):
        ranker = Ranker(net, name, lists, texts, h.learning_rate, h.weight_decay, derive(seed, "text"))
        return fit(ranker, h.epochs, batch, derive(seed, "shuffle"), each_epoch, checkpoint)


@dataclass(frozen=True)
class RewardModels:
    """Frozen reward models by `half-seed`, and what they read beside a text: `profile` [U, W] (see `joined`)."""

    nets: Mapping[str, nn.Module]
    profile: Tensor | None = None


def save(path: Path, models: dict[str, nn.Module], net: str, width: int, ranked: bool, beside: str = "none") -> None:
    """Write the reward models of a round and a duty into one file; keys are `half-seed`.

    ranked: whether a first stage ranked the lists that they learned from; beside: see `profile`.
    """
    tensors = {f"{name}/{key}": value for name, model in models.items() for key, value in model.state_dict().items()}
    about = {"net": net, "width": str(width), "models": ",".join(models)}
    about |= {"first_stage": "known"} if ranked else {}
    save_tensors(path, tensors, about | ({"beside": beside} if beside != "none" else {}))


@one_thread()
def load(path: Path, item_features: ItemFeatures, length: int, read: Callable[[str], Tensor]) -> RewardModels:
    """Read the reward models of a round and a duty with what stood beside the texts when they were trained.

    The file says what that was, and `read` (see `profile`) gives it for the users whose texts they are to score.
    """
    tensors, metadata = _read(path)
    beside = metadata.get("beside", "none")
    known = profile(beside, read)
    models = {}
    for name in metadata["models"].split(","):
        state = {key.split("/", 1)[1]: value for key, value in tensors.items() if key.startswith(f"{name}/")}
        model = nets.build(
            metadata["net"],
            item_features,
            torch.zeros(1, item_features.vectors.shape[1] * (1 if known is None else 2)),
            length,
            0.0,
            *EXPERTS,
            int(metadata["width"]),
            "first_stage" in metadata,
        )
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            raise InputError(
                f"{path}: weights do not fit the items and texts with {beside!r} beside them ({error}); "
                "run `dvc repro train_reward`"
            ) from None
        models[name] = model.eval().requires_grad_(False)
    return RewardModels(models, known)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Weights and what they are of; InputError where that is not said, or where a number is not finite."""
    tensors, metadata = load_tensors(path)
    again = "run `dvc repro train_reward`"
    known = metadata.get("net") in nets.NETS and metadata.get("width", "").isdigit() and metadata.get("models")
    if not known:
        raise InputError(f"{path}: does not say which models of which net and width it holds; {again}")
    if odd := [name for name, values in tensors.items() if not values.isfinite().all()]:
        raise InputError(f"{path}: weights {odd[0]} are not finite; {again}")
    return tensors, metadata


def by_seed(models: RewardModels) -> list[RewardModels]:
    """The models of each seed, those of both halves."""
    of = {name: name.split("-")[1] for name in models.nets}
    return [
        replace(models, nets={name: net for name, net in models.nets.items() if of[name] == seed})
        for seed in dict.fromkeys(of.values())
    ]


def models_of(names: list[str], group: dict[int, str]) -> dict[int, list[int]]:
    """Models that may score each user: those of the other half for tuning users, all for everybody else.

    names: `half-seed` of each model; the half is the one it was trained on. group: user -> half or fold.
    """
    halves = [name.split("-")[0] for name in names]
    return {user: [m for m, half in enumerate(halves) if half != name] for user, name in group.items()}
