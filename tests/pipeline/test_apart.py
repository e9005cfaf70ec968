"""Runs apart from the workspace, temporary or queued, go on from what is finished in its store, and add to it."""

import re
import shutil
import time

import pytest

from .conftest import run, set_params

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]


@pytest.fixture
def copy(clones, tmp_path):
    """A copy of the first clone with its store."""
    folder = tmp_path / "r"
    shutil.copytree(clones[0][0], folder, symlinks=True)
    return folder


def temporary(folder, *words):
    """What `dvc exp run --temp` prints."""
    return run(folder, "dvc", "exp", "run", "--temp", *words).stdout


def queued(folder, *words):
    """What the only run of the queue has printed, once it has ended."""
    run(folder, "dvc", "exp", "run", "--queue", "--name", "apart", *words)
    run(folder, "dvc", "queue", "start")
    for _ in range(300):
        if re.search(r"\b(Success|Failed)\b", run(folder, "dvc", "queue", "status").stdout):
            break
        time.sleep(1)
    return run(folder, "dvc", "queue", "logs", "apart").stdout


@pytest.mark.parametrize("way", [temporary, queued])
def test_a_run_apart_samples_what_the_workspace_has_not(copy, way):
    """Of each user's three texts two are there; afterwards the workspace has the third as well."""
    users = _counts(run(copy, "rlrf4rec", "sample", "base", "base", "all").stdout)[1] // 2
    assert _counts(way(copy, "--single-item", "--set-param", "sample.n=3", "sample@base")) == (users, 2 * users)
    set_params(copy, {"sample": {"n": 3}})
    assert _counts(run(copy, "rlrf4rec", "sample", "base", "base", "all").stdout) == (0, 3 * users)


def _counts(printed):
    """Texts that were sampled and kept, as the stage's closing line says."""
    return tuple(map(int, re.search(r", (\d+) sampled now, (\d+) kept from before", printed).groups()))
