"""A commit in a temporary clone, with a cache and a store of its own, run from nothing."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rlrf4rec import interrupts, store
from rlrf4rec.errors import ResourceError, RunError

DVC = sys.executable, "-m", "dvc"
# No result may come from elsewhere: neither from a stage's former run nor from a cache that several repositories share.
REPRO = (*DVC, "repro", "--force", "--no-run-cache")
CONFIG = "[cache]\n    dir = cache\n[core]\n    check_update = false\n"
GRACE = 20.0  # seconds that a stopped run gets to end by itself


@contextmanager
def finished(commit: str) -> Iterator[Path]:
    """The folder of a clone at `commit` in which `dvc repro` has ended well; it is gone at the end.

    RunError when the run fails: then the clone is kept, and the message says where it is. A finished run is hours of
    work: it is kept as well, and its place printed, when what is done with it fails.
    """
    folder = Path(tempfile.mkdtemp(prefix="rlrf4rec-reproduce-"))
    keep = False
    try:
        _make(folder, commit)
        print(f"reproduce: `dvc repro` of {commit:.10} in {folder}, from nothing", flush=True)
        code = _repro(folder)
        if code:
            keep = True
            raise RunError(
                f"`dvc repro` of {commit:.10} ended with code {code}: see above; its clone is kept in {folder}"
            )
        keep = True
        yield folder
        keep = False
    except KeyboardInterrupt:
        keep = False
        interrupts.ignore()
        raise
    except RunError:
        raise
    except Exception:
        if keep:
            print(
                f"reproduce: the run has finished and is kept in {folder}; `rlrf4rec reproduce --take` there tells its "
                "result",
                file=sys.stderr,
                flush=True,
            )
        raise
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
            if folder.exists():
                print(f"reproduce: not all of the clone could be removed: {folder}", file=sys.stderr, flush=True)


def _make(folder: Path, commit: str) -> None:
    """Clone the repository of the working folder; files that were downloaded are taken over, by their hash."""
    _git(Path(), "clone", "--quiet", "--shared", "--no-checkout", ".", str(folder))
    _git(folder, "checkout", "--quiet", "--detach", commit)
    (folder / ".dvc").mkdir(exist_ok=True)
    (folder / ".dvc" / "config.local").write_text(CONFIG, encoding="utf-8")
    downloads = store.place() / store.DOWNLOADS
    if downloads.is_dir():
        shutil.copytree(downloads, folder / ".rlrf4rec" / store.DOWNLOADS)


def _git(folder: Path, *words: str) -> None:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise ResourceError(f"git {words[0]}: {done.stderr.strip()}")


def _repro(folder: Path) -> int:
    """Run all stages with the clone's own code; what they print goes to the terminal. Returns DVC's exit code."""
    own = {name: value for name, value in os.environ.items() if name != "DVC_ROOT"}
    own["PYTHONPATH"] = str(folder / "src")  # the code of the commit, not that which is installed
    own["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{own.get('PATH', '')}"
    with subprocess.Popen([*REPRO], cwd=folder, env=own, start_new_session=True) as process:
        interrupts.wake_on_signals()
        try:
            return process.wait()
        except BaseException:
            _end(process)
            raise


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a run with all its processes: they are asked to, and are killed when they take too long."""
    interrupts.ignore()
    for number, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, 1.0)):
        last = time.monotonic() + seconds
        while time.monotonic() < last:
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                return
            process.poll()  # until it is asked for, an ended process is still there
            time.sleep(0.1)
