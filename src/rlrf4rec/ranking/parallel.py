"""Training the seeds of one re-ranker in worker processes of one thread each.

Small nets gain little from threads; processes use every core, and a result depends neither on the number
of cores nor on what runs beside it.
"""

import os
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import torch
from torch import Tensor

from rlrf4rec.progress import Progress
from rlrf4rec.ranking import nets
from rlrf4rec.ranking.lists import Catalogue, Lists
from rlrf4rec.ranking.module import Ranker, fit, mean_ndcg
from rlrf4rec.seeds import seeded


@dataclass(frozen=True)
class Job:
    """One re-ranker to train; texts [U, S, W]; `seen` are the rows of users that training may take statistics from."""

    backbone: str
    catalogue: Catalogue
    lists: Lists
    validation: Lists
    texts: Tensor
    seen: Tensor
    learning_rate: float
    weight_decay: float
    dropout: float
    shared: int
    private: int
    epochs: int
    batch: int
    seed: int


@dataclass(frozen=True)
class Trained:
    """Weights, mean loss by epoch, and validation NDCG@5 by epoch."""

    weights: dict[str, Tensor]
    losses: list[float]
    validation: list[float]


def train(job: Job) -> Trained:
    """Train one re-ranker to the last epoch: no early stopping, validation is only recorded."""
    with seeded(job.seed):
        net = nets.build(
            job.backbone,
            job.catalogue,
            job.texts[job.seen],
            job.lists.item.shape[1],
            job.dropout,
            job.shared,
            job.private,
            0,
        )
        steps = -(-len(job.lists) // job.batch) * job.epochs
        ranker = Ranker(net, job.backbone, job.lists, job.texts, job.learning_rate, job.weight_decay, job.seed, steps)
        curve: list[float] = []

        def record(epoch: int) -> bool:
            curve.append(mean_ndcg(net, job.validation, job.texts.mean(dim=1, keepdim=True), 5))
            return False

        losses = fit(ranker, job.epochs, job.batch, job.seed, record)
    return Trained({k: v.detach().clone() for k, v in net.state_dict().items()}, losses, curve)


def _start() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    import logging

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


def train_all(jobs: list[Job], what: str) -> list[Trained]:
    """Train all jobs, as many at once as there are cores."""
    workers = min(len(jobs), len(os.sched_getaffinity(0)))
    progress = Progress(len(jobs), what)
    done = []
    with ProcessPoolExecutor(workers, get_context("spawn"), _start) as pool:
        for result in pool.map(_numpy_train, jobs):
            weights = {name: torch.from_numpy(array) for name, array in result[0].items()}
            done.append(Trained(weights, result[1], result[2]))
            progress.advance(1, f"loss {result[1][-1]:.3f}")
    progress.close()
    return done


def _numpy_train(job: Job) -> tuple[dict[str, object], list[float], list[float]]:
    """As numpy arrays, results travel by value: no shared memory that can run out."""
    result = train(job)
    return {name: tensor.numpy() for name, tensor in result.weights.items()}, result.losses, result.validation
