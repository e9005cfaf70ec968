"""SIGKILL at random moments of every long stage, then `dvc repro`: it goes on and ends the same to the byte."""

import json
import random

import pytest
from ruamel.yaml import YAML

from .conftest import hashes, killed_repro, ran, run, tiny_repository

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]
KILLS = {
    "sample@base": 4,
    "encode@base": 2,
    "tune_reward": 3,
    "train_reward@round1": 3,
    "score@round1": 2,
    "tune_dpo": 3,
    "train_dpo@round1": 4,
    "sample@round1": 2,
    "train_ranker@base": 2,
    "evaluate": 1,
}
IMPORTS = 3.0  # CPU-seconds, of those stages that have as many, before there is work to lose


def cpu_seconds(folder, stage):
    """What a stage of a finished run cost, its imports among it."""
    _, *words = YAML(typ="safe").load((folder / "dvc.lock").read_text())["stages"][stage]["cmd"].split()
    return json.loads((folder / "metrics" / "cost" / f"{'-'.join(words[:2])}.json").read_text())["cpu_s"]


def moments(cost, times, rng):
    """CPU-seconds of a stage at which it is killed, one after the other.

    What was finished before is not done again: each time there is less to be killed in, and half of that at most is let
    go by.
    """
    start = min(IMPORTS, cost / 2)
    return [rng.uniform(1.0, start + (cost - start) * 0.5 ** (time + 1)) for time in range(times)]


def test_kills_at_random_moments_leave_no_trace(clones, assets, tmp_path):
    (whole, _), _ = clones
    folder = tiny_repository(tmp_path / "r", assets)
    rng = random.Random(2026)
    killed = []
    for stage, times in KILLS.items():
        spent = cpu_seconds(whole, stage)
        for moment in moments(spent, times, rng):
            if not killed_repro(folder, stage, moment, target=stage):
                break  # it is finished, so nothing of it is left to be killed
            killed.append((stage, moment))
            print(f"{stage} killed at {moment:.1f} of {spent} CPU-seconds", flush=True)
    assert len(killed) >= 20, killed
    # Each can be: its first moment lies at about half of what it costs at most, before anything of it is finished.
    assert {stage for stage, _ in killed} == set(KILLS), killed
    last = run(folder, "dvc", "repro").stdout
    assert hashes(folder) == hashes(whole)
    assert ran(last)
    assert not list(folder.glob("data/**/*.partial"))
