"""Last words of a command that is ended from outside, as for want of memory, or by a library that can't raise."""

import os
import signal
import subprocess
import sys
import time

import pytest

from rlrf4rec import logs
from rlrf4rec.errors import ResourceError
from rlrf4rec.watcher import KILLED

# The command line with work that ends as is asked; `polars` is imported as by a stage.
SCRIPT = """
import os, sys, time
from rlrf4rec import cli
end = sys.argv.pop(1)
def run(args):
    import polars
    print("at work", flush=True)
    if end == "untold":
        cli._failed = lambda *given: 1 / 0
    if end in ("raise", "untold"):
        raise MemoryError
    if end == "fork" and os.fork() == 0:
        time.sleep(600)
    if end in ("kill", "fork"):
        os.kill(os.getpid(), 9)
    if end == "abort":
        os.abort()
    return {"exit": sys.exit, "return": int}[end](0)
cli._run = run
code = cli.main()
os.write(2, b"what an allocator says\\n")
sys.exit(code)
"""
SAID = f"rlrf4rec split: error: {KILLED}\nwhat to do: {ResourceError.todo}\n"


def run(end, tmp_path):
    done = subprocess.run([sys.executable, "-c", SCRIPT, end, "split"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "at work\n"
    return done.returncode, done.stderr


@pytest.mark.parametrize(("end", "code"), [("kill", -signal.SIGKILL), ("abort", -signal.SIGABRT), ("untold", 1)])
def test_a_process_that_is_ended_has_last_words(end, code, tmp_path):
    assert run(end, tmp_path) == (code, SAID)


@pytest.mark.parametrize("end", ["exit", "return"])
def test_one_that_ends_by_itself_has_none(end, tmp_path):
    assert run(end, tmp_path)[0] == 0
    assert run(end, tmp_path)[1] == {"exit": "", "return": "what an allocator says\n"}[end]


def test_what_the_command_says_itself_is_said_once_and_last(tmp_path):
    code, said = run("raise", tmp_path)
    assert code == ResourceError.code
    assert said.splitlines()[1:] == [f"what to do: {ResourceError.todo}"]


def test_a_failure_is_told_though_there_is_no_memory_for_its_traceback(stage, monkeypatch, capsys):
    def run_out(error):
        raise SystemError("error return without exception set")

    def body():
        raise MemoryError

    monkeypatch.setattr(logs, "trace", run_out)
    assert stage(body) == ResourceError.code
    assert capsys.readouterr().err.splitlines()[-1] == f"what to do: {ResourceError.todo}"


def test_a_worker_that_lives_on_does_not_keep_them_back(tmp_path):
    with (
        (tmp_path / "said").open("w") as said,
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, "fork", "split"],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        ) as process,
    ):
        process.wait()
        for _ in range(600):
            if (tmp_path / "said").read_text():
                break
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)
    assert (tmp_path / "said").read_text() == SAID
