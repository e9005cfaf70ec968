"""Training re-rankers in worker processes of one thread each.

Small nets gain little from threads; processes use every core, and a result depends neither on the number
of cores nor on what runs beside it.
"""

import json
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rlrf4rec import store, workers
from rlrf4rec.checkpoints import EPOCHS, Checkpoint
from rlrf4rec.errors import RLRFError
from rlrf4rec.params import TrainRanker
from rlrf4rec.progress import Progress
from rlrf4rec.retraining.material import Material
from rlrf4rec.seeds import seeded


@dataclass(frozen=True)
class RankerSettings:
    """How every re-ranker is trained, whatever its knowledge."""

    learning_rate: float
    weight_decay: float
    dropout: float
    shared: int
    private: int
    epochs: int
    batch: int

    @staticmethod
    def of(p: TrainRanker) -> "RankerSettings":
        """From the params."""
        return RankerSettings(
            p.learning_rate, p.weight_decay, p.dropout, p.experts_shared, p.experts_private, p.epochs, p.batch
        )


@dataclass(frozen=True)
class Job:
    """One re-ranker to train; `others` [U]: for each user another one, with whose text it scores as well."""

    backbone: str
    material: Material
    settings: RankerSettings
    seed: int
    others: Tensor


@dataclass(frozen=True)
class Trained:
    """Weights, mean loss by epoch, validation NDCG@5, scores of lists.

    Scores: `own` and `permuted` (another user's text) of the candidates, and `validation` of those lists. The curve of
    validation is looked at after the first and then every second epoch to the last.
    """

    weights: dict[str, Tensor]
    losses: list[float]
    validation: list[float]
    scores: dict[str, Tensor]


def train(job: Job, key: str | None = None) -> Trained:
    """Train one re-ranker to the last epoch: no early stopping, validation is only recorded.

    `key` names it in the store, where a killed training goes on from its last checkpoint; None keeps none. RLRFError
    for one that has diverged.
    """
    from rlrf4rec.ranking import nets
    from rlrf4rec.ranking.module import Ranker, fit, mean_ndcg, predict

    s, m = job.settings, job.material
    length, texts = m.lists.item.shape[1], m.texts[:, None]
    with seeded(job.seed):
        net = nets.build(
            job.backbone, m.item_features, texts[m.seen], length, s.dropout, s.shared, s.private, 0, m.lists.ranked
        )
        steps = -(-len(m.lists) // s.batch) * s.epochs
        ranker = Ranker(net, job.backbone, m.lists, texts, s.learning_rate, s.weight_decay, job.seed, steps)

        def record(epoch: int) -> bool:
            """Add a point to the curve of validation; never ends the training."""
            if (s.epochs - epoch) % 2 == 0 and epoch > 0:  # every second epoch, the last one among them
                return False
            ranker.validation.append(mean_ndcg(net, m.validation, texts, 5))
            return False

        checkpoint = Checkpoint(EPOCHS, key) if key else None
        losses = fit(ranker, s.epochs, s.batch, job.seed, record, checkpoint)
    scores = {
        "own": predict(net, m.candidates, m.texts[m.candidates.user]),
        "permuted": predict(net, m.candidates, m.texts[job.others][m.candidates.user]),
        "validation": predict(net, m.validation, m.texts[m.validation.user]),
    }
    if not all(found.isfinite().all() for found in scores.values()):
        raise RLRFError(
            f"{job.backbone}: scores of the re-ranker are not finite, and the mean loss of the last of its {s.epochs} "
            f"epochs is {losses[-1]:.3g}: its training has diverged; lower train_ranker.learning_rate"
        )
    return Trained({k: v.detach().clone() for k, v in net.state_dict().items()}, losses, ranker.validation, scores)


def train_all(jobs: list[Job], what: str) -> list[Trained]:
    """Train all jobs that are not in the store, as many at once as this process has threads.

    One whose training was killed goes on from its last checkpoint there, which goes when it is trained.
    """
    code = store.code("retraining.parallel", threads=1)
    keys = [store.digest(code, job) for job in jobs]
    done = {key: found for key in keys if (found := _load(key))}
    missing = {key: job for key, job in zip(keys, jobs, strict=True) if key not in done}
    if missing:
        progress = Progress(len(missing), what)
        made = workers.spread(_numpy_train, list(missing.items()))
        for key, (weights, losses, validation, scores) in zip(missing, made, strict=True):
            done[key] = Trained(_tensors(weights), losses, validation, _tensors(scores))
            _save(key, done[key])
            store.remove(EPOCHS, key)
            progress.advance(1, f"loss {losses[-1]:.3f}")
        progress.close()
    return [done[key] for key in keys]


def _save(key: str, trained: Trained) -> None:
    tensors = {f"weights/{name}": tensor for name, tensor in trained.weights.items()}
    tensors |= {f"scores/{name}": tensor for name, tensor in trained.scores.items()}
    curves = {"losses": json.dumps(trained.losses), "validation": json.dumps(trained.validation)}
    store.save_tensors("train_ranker", key, tensors, curves)


def _load(key: str) -> Trained | None:
    found = store.load_tensors("train_ranker", key)
    if found is None:
        return None
    tensors, curves = found
    weights, scores = (
        {name.split("/", 1)[1]: tensor for name, tensor in tensors.items() if name.startswith(part)}
        for part in ("weights/", "scores/")
    )
    return Trained(weights, json.loads(curves["losses"]), json.loads(curves["validation"]), scores)


Arrays = dict[str, np.ndarray]


def _numpy_train(named: tuple[str, Job]) -> tuple[Arrays, list[float], list[float], Arrays]:
    """As numpy arrays, results travel by value: no shared memory that can run out."""
    key, job = named
    done = train(job, key)
    arrays = [{name: tensor.numpy() for name, tensor in part.items()} for part in (done.weights, done.scores)]
    return arrays[0], done.losses, done.validation, arrays[1]


def _tensors(arrays: Arrays) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
