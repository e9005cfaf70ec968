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
import os, signal, sys, time
from rlrf4rec import cli
signal.signal(signal.SIGHUP, signal.SIG_DFL if sys.argv[-1] != "below-nohup" else signal.SIG_IGN)
sys.argv = [word for word in sys.argv if word != "below-nohup"]
end = sys.argv.pop(1)
def run(args):
    import polars
    print("at work", flush=True)
    if end == "untold":
        def out_of_memory(*given):
            raise MemoryError
        cli._failed = out_of_memory
    if end == "bug":
        cli._failed = lambda *given: 1 / 0
    if end == "alone":  # somebody has ended the process that waits: it is what holds the pipe's other end
        import psutil
        for other in psutil.process_iter(["cmdline"]):
            if other.pid != os.getpid() and other.info["cmdline"] == psutil.Process().cmdline():
                other.kill()
                other.wait(10)
    if end in ("raise", "untold", "bug"):
        raise MemoryError
    if end == "fork" and os.fork() == 0:
        time.sleep(600)
    if end in ("kill", "fork"):
        os.kill(os.getpid(), 9)
    if end == "abort":
        os.abort()
    return {"exit": sys.exit, "return": int, "alone": int}[end](0)
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


def test_a_command_ends_well_though_the_process_that_waits_was_ended(tmp_path):
    assert run("alone", tmp_path) == (0, "what an allocator says\n")


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- >&-"])
def test_a_command_without_its_usual_files_ends_as_it_would(closed, tmp_path):
    """A number that is free is given to the pipe."""
    script = tmp_path / "script.py"
    quiet = SCRIPT.replace('print("at work", flush=True)', 'open("done", "w").close()').replace("os.write(2,", "bytes(")
    script.write_text(quiet)
    line = f"{sys.executable} {script} return split {closed}"
    assert subprocess.run(["sh", "-c", line], cwd=tmp_path, stderr=subprocess.DEVNULL).returncode == 0
    assert (tmp_path / "done").exists()


def test_a_fault_of_the_program_is_not_told_as_want_of_memory(tmp_path):
    code, said = run("bug", tmp_path)
    assert (code, said.splitlines()[-1]) == (1, "ZeroDivisionError: division by zero")
    assert KILLED not in said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_to_all_processes_of_a_terminal_is_told_once_by_the_command(number, code, tmp_path):
    script = SCRIPT.replace("os.kill(os.getpid(), 9)", "time.sleep(600)")
    command = [sys.executable, "-c", script, "kill", "split"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout.readline() == "at work\n"
        os.killpg(process.pid, number)
        _, said = process.communicate(timeout=120)
    assert said.splitlines()[0] == "rlrf4rec split: stopped; finished work is kept, `dvc repro` goes on from it"
    assert (process.returncode, KILLED in said) == (code, False)


def test_below_nohup_a_terminal_that_is_closed_ends_nothing(tmp_path):
    script = SCRIPT.replace("os.kill(os.getpid(), 9)", "os.kill(os.getpid(), signal.SIGHUP); return 0")
    command = [sys.executable, "-c", script, "kill", "split", "below-nohup"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "at work\n", "what an allocator says\n")


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
