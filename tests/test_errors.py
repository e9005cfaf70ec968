import errno
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet
import pytest
import torch
import transformers
from safetensors import SafetensorError

from rlrf4rec.cli import main
from rlrf4rec.datasets.found import reading
from rlrf4rec.errors import FetchError, InputError, ModelError, ParamsError, ResourceError, RLRFError, RunError, explain
from rlrf4rec.files import atomic
from rlrf4rec.llm.models import load_encoder
from rlrf4rec.tables import vectors
from rlrf4rec.tables.contract import ContractError
from rlrf4rec.tables.interactions import ITEMS

LOG = Path(".rlrf4rec/logs/interactions.log")
MEMORY = "out of memory: lower sample.batch_users, encode.batch, dpo.batch or interactions.users"


def failing(error):
    def body():
        raise error

    return body


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [
        (RLRFError, 2, "run the command again"),
        (ParamsError, 2, "params.yaml or on the command line"),
        (InputError, 4, "`dvc repro STAGE`, `dvc pull --allow-missing`"),
        (ModelError, 2, "another model in fetch_models"),
        (ContractError, 4, "dvc pull --allow-missing"),
        (FetchError, 5, "the network"),
        (ResourceError, 6, "run `dvc repro`"),
        (RunError, 7, "in the clone `PYTHONPATH=$PWD/src dvc repro` goes on"),
    ],
)
def test_each_kind_of_error_has_its_exit_code_and_ends_with_what_to_do(kind, code, words, stage, capsys):
    assert stage(failing(kind("file f: column c: wrong"))) == code
    first, last = capsys.readouterr().err.splitlines()
    assert first == "rlrf4rec interactions: error: file f: column c: wrong"
    assert last == f"what to do: {kind.todo}"
    assert words in last


def test_no_error_takes_a_code_that_compare_gives_another_meaning():
    kinds = [RLRFError, *RLRFError.__subclasses__()]
    assert not {kind.code for kind in kinds} & {0, 1, 3}
    assert len({kind.code for kind in kinds}) == len(kinds) - 1  # the base is told as an error in the params


def test_a_finished_stage_gives_0_and_its_closing_line(stage, capsys):
    assert stage(lambda: "wrote data/x") == 0
    out, err = capsys.readouterr()
    assert re.fullmatch(r"interactions: wrote data/x, \d+ s\n", out)
    assert err == ""


def test_a_fault_of_the_program_is_one_line_and_its_traceback_is_in_the_log(stage, capsys):
    assert stage(failing(KeyError("no\nsuch"))) == 70
    first, last = capsys.readouterr().err.splitlines()
    assert first == r"rlrf4rec interactions: error: KeyError: 'no\nsuch'"
    assert last == f"what to do: this is a fault of the program; the traceback is in {LOG}"
    log = LOG.read_text()
    assert "Traceback (most recent call last)" in log
    assert "in failing" not in log
    assert "in body" in log
    assert log.splitlines()[-2:] == [first, last]


def test_a_fault_is_traced_on_the_terminal_where_no_log_can_be_written(stage, capsys):
    Path(".rlrf4rec").write_text("a file where the folder should be")
    assert stage(failing(KeyError("x"))) == 70
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert err.endswith("what to do: this is a fault of the program; the traceback is above\n")


def test_a_fault_of_a_command_without_a_log_gets_one(stage, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["rlrf4rec", "compare"])
    monkeypatch.setattr("rlrf4rec.revisions.command.run", lambda args: {}["x"])
    assert main() == 70
    assert "the traceback is in .rlrf4rec/logs/compare.log" in capsys.readouterr().err
    assert "KeyError: 'x'" in Path(".rlrf4rec/logs/compare.log").read_text()


@pytest.mark.parametrize("error", [ParamsError("a"), InputError("b"), ResourceError("git is not installed")])
def test_compare_keeps_code_2_for_all_that_it_refuses(error, stage, monkeypatch, capsys):
    def refuse(args):
        raise error

    monkeypatch.setattr("sys.argv", ["rlrf4rec", "compare"])
    monkeypatch.setattr("rlrf4rec.revisions.command.run", refuse)
    assert main() == 2
    assert not Path(".rlrf4rec").exists()


def test_the_machine_fails_a_comparison_with_its_own_code(stage, monkeypatch, capsys):
    def run_out(args):
        raise MemoryError

    monkeypatch.setattr("sys.argv", ["rlrf4rec", "compare"])
    monkeypatch.setattr("rlrf4rec.revisions.command.run", run_out)
    assert main() == 6


def test_a_wrong_number_of_entries_is_an_error_of_the_command_line(stage, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["rlrf4rec", "interactions", "base"])
    assert stage(lambda: "") == 2
    assert "interactions takes 0 argument(s), as in dvc.yaml" in capsys.readouterr().err


def test_a_missing_and_a_broken_table_are_input_errors(stage, capsys):
    path = Path("items.parquet")
    assert stage(lambda: ITEMS.read(path)) == 4
    path.write_bytes(b"PAR1 no")
    assert stage(lambda: ITEMS.read(path)) == 4
    assert "items.parquet: not a readable Parquet file" in capsys.readouterr().err


def test_a_table_that_may_not_be_read_is_no_broken_table(monkeypatch):
    def forbidden(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(pyarrow.parquet, "ParquetFile", forbidden)
    with pytest.raises(ResourceError, match=r"no permission to read or write items\.parquet"):
        ITEMS.read(Path("items.parquet"))


def test_memory_that_runs_out_while_a_table_is_checked_is_no_fault_of_the_table(monkeypatch):
    """Polars ends in a panic where it can't start a thread."""

    def panic(self, frame, lazy):
        raise pl.exceptions.ComputeError('Os { code: 11, message: "Resource temporarily unavailable" }')

    monkeypatch.setattr(type(ITEMS.schema), "validate", panic)
    with pytest.raises(ResourceError, match="out of memory"):
        ITEMS.check(pl.DataFrame({"item": ["1"]}), Path("items.parquet"))
    with pytest.raises(ResourceError, match="out of memory"), reading(Path("x.csv"), "CSV"):
        panic(None, None, True)


def test_memory_that_runs_out_while_a_model_or_vectors_are_read_is_no_fault_of_the_files(monkeypatch, tmp_path):
    def mapped(*given, **options):
        raise SafetensorError("Error while deserializing header: Cannot allocate memory (os error 12)")

    monkeypatch.setattr(vectors, "safe_open", mapped)
    with pytest.raises(ResourceError, match="out of memory"):
        vectors.load_tensors(tmp_path / "vectors.safetensors")
    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", mapped)
    with pytest.raises(ResourceError, match="out of memory"):
        load_encoder(tmp_path)


def full_by_polars(path):
    path.symlink_to("/dev/full")
    pl.DataFrame({"a": [1]}).write_parquet(path)


def full_by_safetensors(path):
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def full_by_text(path):
    path.symlink_to("/dev/full")
    path.write_text("a")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("write", [full_by_polars, full_by_safetensors, full_by_text])
def test_a_full_disk_names_the_file_and_leaves_the_former_one(write, stage, capsys):
    def body():
        with atomic(Path("data/x")) as temporary:
            write(temporary)

    Path("data").mkdir()
    Path("data/x").write_text("former")
    assert stage(body) == 6
    first, last = capsys.readouterr().err.splitlines()
    assert first == "rlrf4rec interactions: error: no space left on the disk of data/x"
    assert last == f"what to do: {ResourceError.todo}"
    assert [p.name for p in Path("data").iterdir()] == ["x"]
    assert Path("data/x").read_text() == "former"


def test_out_of_memory_names_the_batches(stage, capsys):
    def numpy_array():
        return np.zeros(2**47)

    def tensor():
        return torch.empty(2**50)

    for body in (numpy_array, tensor, failing(MemoryError()), failing(OSError(errno.ENOMEM, "fork"))):
        assert stage(body) == 6
        assert capsys.readouterr().err.splitlines()[0] == f"rlrf4rec interactions: error: {MEMORY}"
        assert "Traceback" in LOG.read_text()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on the disk of this folder"),
        (OSError(errno.ENOSPC, "No space left on device", "a/b"), "no space left on the disk of a/b"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "a/b"), "no space left on the disk of a/b"),
        (OSError(errno.EROFS, "Read-only file system", "a/b"), "no permission to read or write a/b"),
        (PermissionError(errno.EPERM, "Operation not permitted", "a/b"), "no permission to read or write a/b"),
        (OSError(errno.EMFILE, "Too many open files"), "too many open files"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), MEMORY),
        (SafetensorError("Error while deserializing: Cannot allocate memory (os error 12)"), MEMORY),
        (RuntimeError("can't start new thread"), MEMORY),
        (ImportError("libx.so: failed to map segment from shared object"), MEMORY),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), MEMORY),
        (SystemError("error return without exception set"), MEMORY),
        (BrokenProcessPool("A process in the process pool was terminated"), "a worker process was killed"),
    ],
)
def test_what_the_machine_does_is_named(error, words):
    found = explain(error)
    assert isinstance(found, ResourceError)
    assert words in str(found)


def test_what_a_library_wraps_is_named_too():
    full = OSError(errno.ENOSPC, "No space left on device", "a/b")
    by_cause, by_context, hidden = ValueError("x"), ValueError("x"), ValueError("x")
    by_cause.__cause__ = full
    by_context.__context__ = RuntimeError("y")
    by_context.__context__.__context__ = full
    hidden.__context__, hidden.__suppress_context__ = full, True
    assert "disk of a/b" in str(explain(by_cause))
    assert "disk of a/b" in str(explain(by_context))
    assert explain(hidden) is None


@pytest.mark.parametrize(
    "error", [ValueError("x"), FileNotFoundError(errno.ENOENT, "No such file", "a"), RuntimeError("shapes differ")]
)
def test_anything_else_stays_what_it_is(error):
    assert explain(error) is None
    with pytest.raises(type(error)), atomic(Path("never")):
        raise error


def test_an_own_error_is_not_explained_by_what_it_was_made_of():
    own = InputError("file f: broken")
    own.__cause__ = MemoryError()
    assert explain(own) is None


def test_errors_of_worker_processes_arrive_as_they_were():
    again = pickle.loads(pickle.dumps(InputError("file f")))
    assert (type(again), str(again), again.code) == (InputError, "file f", 4)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_a_stage_without_a_traceback(number, code, stage, capsys):
    assert stage(lambda: os.kill(os.getpid(), number)) == code
    assert capsys.readouterr().err == (
        "rlrf4rec interactions: stopped; finished work is kept, `dvc repro` goes on from it\n"
    )
    os.kill(os.getpid(), number)  # one that comes later changes nothing


def test_a_library_that_turns_ctrl_c_into_an_exit_does_not_change_the_code(stage):
    def body():
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            sys.exit(1)

    assert stage(body) == 130


def test_an_exit_without_a_signal_stays_one(stage):
    with pytest.raises(SystemExit, match="9"):
        stage(lambda: sys.exit(9))


def test_handlers_of_signals_are_given_back(stage):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    stage(failing(InputError("x")))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


SCRIPT = """
import signal, sys, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # below nohup it would be ignored

def work(seconds):
    Path(f"worker{seconds}").touch()
    time.sleep(seconds)

def run(interactions):
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(work, [600, 601, 602, 603]))

if __name__ == "__main__":
    from rlrf4rec.cli import main
    from rlrf4rec.stages import interactions as module
    run.__annotations__ = module.run.__annotations__
    module.run = run
    sys.argv = ["rlrf4rec", "interactions"]
    sys.exit(main())
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_end_worker_processes_at_once_and_a_second_one_prints_no_traceback(number, code, stage, tmp_path):
    Path("script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for _ in range(600):
        if Path("worker600").exists() and Path("worker601").exists():
            break
        time.sleep(0.1)
    running.send_signal(number)
    time.sleep(0.05)
    running.send_signal(number)
    out, _ = running.communicate(timeout=300)  # half of what each of its workers would go on for
    assert out == "rlrf4rec interactions: stopped; finished work is kept, `dvc repro` goes on from it\n"
    assert running.returncode == code
