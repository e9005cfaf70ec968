"""Ctrl-C and SIGTERM while a stage works for real: it ends within seconds, with one line, and keeps what it has."""

import signal
import subprocess
import time

import psutil
import pytest

from .conftest import environment, run, set_params

pytestmark = pytest.mark.timeout(1800)
SECONDS = 5
# More work than any machine has done when the signal comes.
LONG = {
    "sample": {"n": 16, "max_tokens": 28, "batch_users": 1},
    "dpo": {"epochs": 100},
    "train_ranker": {"epochs": 2000},
}


def pieces(folder, kind):
    """What lies in the store of a kind of work."""
    return set((folder / ".rlrf4rec" / "store" / kind).glob("*/[0-9]*"))


@pytest.mark.parametrize(
    ("command", "number", "code"),
    [
        (("sample", "base", "models/pretrained/no_adapter.json"), signal.SIGTERM, 143),
        (("train_dpo", "round1", "base"), signal.SIGTERM, 143),
        (("train_ranker", "prm", "base"), signal.SIGINT, 130),
    ],
    ids=["sample", "train_dpo", "train_ranker"],
)
def test_a_signal_ends_a_working_stage_within_seconds_and_what_is_finished_is_kept(clones, command, number, code):
    """With two threads: workers are ended too. A re-ranker is one piece of work, so it is waited for its workers."""
    folder, kind = clones[0][1], command[0]
    set_params(folder, LONG)
    before = pieces(folder, kind)
    with subprocess.Popen(
        ["rlrf4rec", *command],
        cwd=folder,
        env=environment(threads=2),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for _ in range(1200):
            assert process.poll() is None, process.communicate()[1][-2000:]
            if kind == "train_ranker" and len(psutil.Process(process.pid).children()) > 1:
                time.sleep(2.0)
                break
            if kind != "train_ranker" and pieces(folder, kind) - before:
                break
            time.sleep(0.1)
        begin = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        spent = time.monotonic() - begin
    run(folder, "git", "checkout", "-q", ".")
    assert process.returncode == code
    assert spent < SECONDS
    assert out == ""
    told = [line for line in err.splitlines() if "about" not in line]  # what the stage would take, and progress
    assert told == [f"rlrf4rec {kind}: stopped; finished work is kept, `dvc repro` goes on from it"]
    assert kind == "train_ranker" or pieces(folder, kind) - before
