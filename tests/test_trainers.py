"""One process on one device, whatever scheduler or launcher has started it."""

import os
import re
from pathlib import Path

import pytest
import torch
from test_dpo import PAIRS, SETTINGS, tuned, words
from test_ranking import build, world

from rlrf4rec import trainers
from rlrf4rec.alignment import module
from rlrf4rec.alignment.module import DpoModule
from rlrf4rec.lists import sasrec
from rlrf4rec.llm import predict
from rlrf4rec.ranking.module import Ranker, fit

SOURCE = Path(trainers.__file__).parent
RANKS = {"RANK": "3", "LOCAL_RANK": "3", "WORLD_SIZE": "4", "MASTER_ADDR": "192.0.2.1", "MASTER_PORT": "9"}
JOBS = {
    "slurm": {
        "SLURM_JOB_ID": "1",
        "SLURM_JOB_NAME": "train",
        "SLURM_NTASKS": "4",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0",
    },
    "torchrun": {**RANKS, "TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "4", "GROUP_RANK": "0"},
    "accelerate": {**RANKS, "ACCELERATE_MIXED_PRECISION": "bf16", "ACCELERATE_USE_CPU": "true"},
    "mpi": {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "1", "PMI_SIZE": "4", "PMI_RANK": "1"},
    "lsf": {"LSB_JOBID": "1", "LSB_DJOB_RANKFILE": "x", "JSM_NAMESPACE_LOCAL_RANK": "1", "JSM_NAMESPACE_SIZE": "4"},
    "kubeflow": {**RANKS, "KUBERNETES_PORT": "1"},
}


@pytest.fixture(params=JOBS)
def job(request, monkeypatch):
    def begin():
        for name, value in JOBS[request.param].items():
            monkeypatch.setenv(name, value)

    return begin


def ranker():
    """Losses and weights of a small re-ranker."""
    item_features, texts, lists = world()
    net = build("match", item_features, texts)
    losses = fit(Ranker(net, "match", lists, texts, 0.01, 0.0, 1), 2, 64, 1)
    return losses, net.state_dict()


def test_in_a_job_of_four_tasks_a_training_gives_what_it_gives_alone(job):
    losses, weights = ranker()
    job()
    again, same = ranker()
    assert again == losses
    assert all(torch.equal(same[name], weights[name]) for name in weights)


@pytest.mark.filterwarnings("ignore:predict returned None")
def test_every_lightning_trainer_runs_in_a_job_of_four_tasks(job, llama):
    job()
    policy, reference, _ = tuned(llama)
    assert module.train(DpoModule(policy, PAIRS, reference, SETTINGS), "test", None)
    assert sasrec.fit([torch.arange(5).numpy()], 6, 0, sasrec.SASRecSettings(width=4, heads=2, epochs=1)).losses
    taken = []
    predict._by_lightning(torch.nn.Linear(1, 1), lambda batch: batch + 1, [1, 2], taken.append)
    assert taken == [2, 3]


@pytest.fixture
def asked_anew():
    """What a process once knows of its ranks its libraries keep: forgotten, and given back."""
    from accelerate.state import AcceleratorState, PartialState

    kept = [(state._shared_state, dict(state._shared_state)) for state in (AcceleratorState, PartialState)]
    for shared, _ in kept:
        shared.clear()
    yield PartialState
    for shared, before in kept:
        shared.clear()
        shared.update(before)


@pytest.mark.filterwarnings("ignore")
def test_trl_runs_in_a_job_of_four_tasks_and_leaves_the_environment_as_it_was(job, llama, asked_anew):
    from rlrf4rec.alignment import trl_engine

    job()
    before = dict(os.environ)
    policy, reference, _ = tuned(llama)
    assert len(trl_engine.train(policy, words(), PAIRS, reference, SETTINGS)) == 12
    assert dict(os.environ) == before
    assert asked_anew().num_processes == 1


def test_no_trainer_is_made_anywhere_else():
    made = [p.name for p in SOURCE.rglob("*.py") if re.search(r"\b(L|lightning|pl)\.Trainer\(", p.read_text())]
    assert made == ["trainers.py"]
