"""SIGKILL in every long stage, then on: nothing that is finished is done again, and it ends the same to the byte."""

import random
import shutil
import signal
import subprocess

import pytest
from ruamel.yaml import YAML

from rlrf4rec.files import read_json

from .conftest import environment, hashes, killed_repro, ran, run, set_params, tiny_repository
from .counted import KILL, counting
from .test_no_memory import written

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
# A stage of each kind by its command in dvc.yaml.
STAGES = {
    "sample": ("base", "base", "all"),
    "encode": ("base",),
    "tune_reward": ("base",),
    "train_reward": ("round1", "base"),
    "score": ("round1", "base"),
    "tune_dpo": ("round1",),
    "train_dpo": ("round1", "base"),
    "train_ranker": ("base", "encode/base", "encode/none", "encode/items"),
    "evaluate": (),
}
# So that each stage has some pieces of work.
MORE = {
    "sample": {"batch_users": 8},
    "encode": {"batch": 16},
    "tune_reward": {"n_trials": 4},
    "tune_dpo": {"n_trials": 3},
    "dpo": {"epochs": 2},
}
SEARCHES = {"tune_reward", "tune_dpo"}  # their pieces are trials, which lie in a journal


def words(folder, stage):
    """The command of a stage of a finished run, without the program."""
    return YAML(typ="safe").load((folder / "dvc.lock").read_text())["stages"][stage]["cmd"].split()[1:]


def cpu_seconds(folder, stage):
    """What a stage of a finished run cost, its imports among it."""
    return read_json(folder / "metrics" / "cost" / f"{'-'.join(words(folder, stage)[:2])}.json")["cpu_s"]


def moments(cost, times, rng):
    """CPU-seconds of a stage at which it is killed, one after the other.

    What was finished before is not done again: each time there is less to be killed in, and half of that at most is let
    go by.
    """
    start = min(IMPORTS, cost / 2)
    return [rng.uniform(1.0, start + (cost - start) * 0.5 ** (time + 1)) for time in range(times)]


def done_again(processes):
    """Pieces that a process has begun before its last one, so finished, and that a later one has begun too."""
    later = [{piece for pieces in processes[number + 1 :] for piece in pieces} for number in range(len(processes))]
    return [piece for pieces, others in zip(processes, later, strict=True) for piece in pieces[:-1] if piece in others]


def test_kills_at_random_moments_leave_no_trace_and_lose_the_piece_that_they_hit(clones, assets, tmp_path, monkeypatch):
    (whole, _), _ = clones
    folder = tiny_repository(tmp_path / "r", assets)
    counted = counting(tmp_path, monkeypatch)
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
    begun = {stage: counted.of("@".join(words(whole, stage)[:2])) for stage in KILLS}
    print({stage: [len(pieces) for pieces in processes] for stage, processes in begun.items()}, flush=True)
    assert all(begun.values()), begun
    assert {stage: again for stage, processes in begun.items() if (again := done_again(processes))} == {}


@pytest.fixture(scope="module")
def copy(clones, tmp_path_factory):
    """A copy of the second clone, with more work in it."""
    folder = tmp_path_factory.mktemp("kills") / "r"
    shutil.copytree(clones[0][1], folder, symlinks=True, ignore=shutil.ignore_patterns("cache"))
    run(folder, "chmod", "-R", "u+w", "data", "models")
    set_params(folder, MORE)
    return folder


def shelved(folder):
    """How many pieces lie on shelves."""
    return len(list((folder / ".rlrf4rec" / "store").glob("*/*/[0-9]*")))


def forget(folder):
    """Throw away all finished work."""
    for name in ("store", "studies"):
        shutil.rmtree(folder / ".rlrf4rec" / name, ignore_errors=True)


def killed_at(folder, command, piece):
    """Run a command that is killed, with all its processes, as it begins a piece of this number."""
    own = {**environment(), KILL: str(piece)}
    done = subprocess.run(["rlrf4rec", *command], cwd=folder, env=own, capture_output=True, start_new_session=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_stage_begins_with_the_piece_that_it_was_killed_in(copy, stage, tmp_path, monkeypatch):
    """Twice, each time after a piece at least was finished: all that was is taken over, and the cost file says so."""
    counted, command = counting(tmp_path, monkeypatch), (stage, *STAGES[stage])
    name = "@".join(command[:2])
    forget(copy)
    run(copy, "rlrf4rec", *command)
    (whole,), outputs = counted.of(name), written(copy)
    assert len(set(whole)) == len(whole)
    counted.clear()
    forget(copy)

    first, second = sorted(random.Random(stage).sample(range(2, len(whole) + 1), 2))
    killed_at(copy, command, first)
    killed_at(copy, command, second - first + 1)
    kept = shelved(copy)
    if stage in SEARCHES:  # the journal alone is enough, whatever its trials have left on shelves
        shutil.rmtree(copy / ".rlrf4rec" / "store", ignore_errors=True)
        kept = second - 1
    run(copy, "rlrf4rec", *command)
    assert counted.of(name) == [whole[:first], whole[first - 1 : second], whole[second - 1 :]]
    cost = read_json(copy / "metrics" / "cost" / f"{'-'.join(command[:2])}.json")
    assert cost["kept"] == kept > 0
    assert written(copy) == outputs
