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


def begun(process, folder, kind, pieces):
    """Wait until the stage works: until a piece of its work is in the store, or its workers have begun."""
    for _ in range(1200):
        assert process.poll() is None, process.communicate()[1][-2000:]
        if kind and len(list((folder / ".rlrf4rec" / "store" / kind).glob("*/*"))) > pieces:
            return
        if not kind and len(psutil.Process(process.pid).children()) > 1:
            time.sleep(8.0)  # they import
            return
        time.sleep(0.1)
    pytest.fail("the stage has not begun")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (("sample", "base", "models/pretrained/no_adapter.json"), "sample"),
        (("train_dpo", "round1", "base"), "train_dpo"),
        (("train_ranker", "prm", "base"), None),
    ],
    ids=["sample", "train_dpo", "train_ranker"],
)
def test_a_signal_ends_a_working_stage_within_seconds_and_what_is_finished_is_kept(clones, number, code, command, kind):
    folder = clones[0][1]
    set_params(folder, LONG)
    pieces = len(list((folder / ".rlrf4rec" / "store" / (kind or "")).glob("*/*")))
    with subprocess.Popen(
        ["rlrf4rec", *command], cwd=folder, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        begun(process, folder, kind, pieces)
        begin = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        spent = time.monotonic() - begin
    run(folder, "git", "checkout", "-q", ".")
    assert process.returncode == code
    assert spent < SECONDS
    assert out == ""
    told = [line for line in err.splitlines() if "about" not in line]  # what the stage would take, and progress
    assert told == [f"rlrf4rec {command[0]}: stopped; finished work is kept, `dvc repro` goes on from it"]
    if kind:
        assert len(list((folder / ".rlrf4rec" / "store" / kind).glob("*/*"))) >= pieces + 1
