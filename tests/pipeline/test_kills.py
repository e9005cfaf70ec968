"""SIGKILL at random moments of every long stage, then `dvc repro`: it goes on and ends the same to the byte."""

import random
import re

import pytest

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
STARTING = 5.0  # seconds that a stage takes before its own clock runs: imports


def test_kills_at_random_moments_leave_no_trace(clones, assets, tmp_path):
    (whole, _), log = clones
    folder = tiny_repository(tmp_path / "r", assets)
    rng = random.Random(2026)
    killed = []
    for stage, times in KILLS.items():
        name, _, entry = stage.partition("@")
        named = f" {entry.split('-')[0]}" if entry else "[^:]*"
        own = re.search(rf"^{name}{named}: .* (\d+) s$", log, re.MULTILINE)
        assert own, stage
        for time in range(times):
            # What was finished before is not done again: each time there is less to be killed in.
            delay = rng.uniform(1.0, STARTING + float(own[1]) * 0.5 ** (time + 1))
            if killed_repro(folder, stage, delay, target=stage):
                killed.append((stage, delay))
    assert len(killed) >= 20
    last = run(folder, "dvc", "repro").stdout
    assert hashes(folder) == hashes(whole)
    assert ran(last)
    assert not list(folder.glob("data/**/*.partial"))
