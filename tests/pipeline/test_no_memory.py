"""Memory runs out in the work of every kind of stage, by a limit that is set when its libraries are there."""

import shutil
import subprocess
import sys

import pytest

from rlrf4rec.errors import ResourceError
from rlrf4rec.files import sha256

from .conftest import environment, run

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]
# A stage of each kind by its command in dvc.yaml.
STAGES = {
    "interactions": (),
    "split": (),
    "encode": ("base",),
    "train_reward": ("round1", "base"),
    "train_ranker": ("base", "encode/base", "encode/none", "encode/items"),
    "train_dpo": ("round1", "base"),
    "evaluate": (),
    "report": (),
}
# The command line, which gets no more than so many MB of addresses beyond those that its libraries have taken.
LIMITED = """
import resource, sys
from pathlib import Path
from rlrf4rec import cli
more, run = int(sys.argv.pop(1)), cli._run
def limited(args):
    import lightning, optuna, peft, polars, pyarrow.parquet, torch, transformers
    limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + (more << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return run(args)
cli._run = limited
sys.exit(cli.main())
"""


@pytest.fixture(scope="module")
def copy(clones, tmp_path_factory):
    """A copy of the second clone, without finished work that a stage could take over."""
    folder = tmp_path_factory.mktemp("memory") / "r"
    shutil.copytree(clones[0][1], folder, symlinks=True, ignore=shutil.ignore_patterns("cache", "store"))
    run(folder, "chmod", "-R", "u+w", "data", "models")
    return folder


def written(folder):
    """Hash of each file of a run, but for what a stage notes of itself."""
    files = [path for part in ("data", "models", "metrics") for path in (folder / part).rglob("*") if path.is_file()]
    return {path: sha256(path) for path in files if path.parent.name != "cost"}


@pytest.mark.parametrize("more", [4, 100])
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_without_memory_says_so_and_leaves_nothing_half_written(copy, stage, more):
    """With a hundred MB some stages of so small a run end well; then their outputs are what they were."""
    before = written(copy)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(more), stage, *STAGES[stage]],
        cwd=copy,
        env=environment(threads=2),
        capture_output=True,
        text=True,
    )
    shutil.rmtree(copy / ".rlrf4rec" / "store", ignore_errors=True)
    said = [line for line in done.stderr.splitlines() if not line.startswith("<jemalloc>")]  # of a thread, to the end
    assert "Traceback" not in done.stdout + done.stderr
    assert written(copy) == before
    assert more > 4 or done.returncode != 0
    assert done.returncode == 0 or said[-1] == f"what to do: {ResourceError.todo}", said
