"""Finished pieces of long work, kept outside of the stages' outputs so that a killed run goes on from them.

DVC deletes a stage's outputs before it runs, so what a killed stage had finished lies elsewhere: in `.rlrf4rec/`
under the repository (`DVC_ROOT`, shared by queued and temporary runs), ignored by Git.

Searches keep their journals there and downloads what has come so far; `clean` bounds all of it.

A shelf holds what belongs to one piece of work; its key names everything that decides the content (model, adapter,
settings, code). A piece on it is a file named by its rank and the SHA-256 of its content: two runs can fill a shelf
at once, and a piece that was damaged is seen, thrown away and made again.
"""

import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import polars as pl

from rlrf4rec import closure, machine
from rlrf4rec.errors import InputError
from rlrf4rec.files import fingerprint, partial, sha256, sync

if TYPE_CHECKING:
    from torch import Tensor

EVERY = 20.0  # seconds of work that a killed run may lose, apart from the batch that it was in; `store.seconds`
GB = 10**9
STUDIES, DOWNLOADS = "studies", "downloads"  # folders beside the store
Read = TypeVar("Read")
_taken = [0]
LIBRARIES = (
    "torch",
    "transformers",
    "tokenizers",
    "peft",
    "lightning",
    "trl",
    "optuna",
    "numpy",
)  # they decide on results


def place() -> Path:
    """Where the state folder of this repository is; there may be none yet."""
    return Path(os.environ.get("DVC_ROOT") or ".") / ".rlrf4rec"


def folder() -> Path:
    """The state folder of this repository; made when missing."""
    path = place()
    path.mkdir(parents=True, exist_ok=True)
    return path


def taken() -> int:
    """How many finished pieces, trials among them, this process, without its workers, has found since it began."""
    return _taken[0]


def take(pieces: int) -> None:
    """Count finished pieces that were found elsewhere than on a shelf."""
    _taken[0] += pieces


def _shelf(kind: str, key: str) -> Path:
    return folder() / "store" / kind / key[:32]


class Rows:
    """A shelf of table rows, which several runs may fill; `by` are the columns that name a row."""

    def __init__(self, kind: str, key: str, by: list[str]) -> None:
        self.kind, self.key, self.by = kind, key, by
        self._waiting: list[pl.DataFrame] = []
        self._last = time.monotonic()

    def load(self) -> pl.DataFrame | None:
        """All rows on the shelf, each once, in no particular order; None when there are none."""
        pieces = list(_pieces(_shelf(self.kind, self.key), ".parquet", pl.read_parquet))
        return pl.concat(pieces).unique(self.by, keep="first", maintain_order=True) if pieces else None

    def add(self, rows: pl.DataFrame) -> None:
        """Put rows on the shelf; they are written at once if the last writing was `EVERY` seconds ago, else later."""
        self._waiting.append(rows)
        if time.monotonic() - self._last >= EVERY:
            self.flush()

    def flush(self) -> None:
        """Write the rows that wait."""
        if self._waiting:
            rows = pl.concat(self._waiting)
            _put(_shelf(self.kind, self.key), ".parquet", 0, rows.write_parquet)
        self._waiting, self._last = [], time.monotonic()


def load_tensors(kind: str, key: str) -> "tuple[dict[str, Tensor], dict[str, str]] | None":
    """Tensors and metadata of the highest rank on a shelf, or None."""
    from rlrf4rec.tables.vectors import load_tensors as load

    return next(_pieces(_shelf(kind, key), ".safetensors", load), None)


def save_tensors(kind: str, key: str, tensors: "dict[str, Tensor]", metadata: dict[str, str], rank: int = 0) -> None:
    """Put tensors on a shelf in place of those of lower rank."""
    from rlrf4rec.tables.vectors import save_tensors as save

    shelf = _shelf(kind, key)
    written = _put(shelf, ".safetensors", rank, lambda path: save(path, tensors, metadata))
    for path in shelf.glob("*.safetensors"):
        if path.name < written.name and not path.name.startswith("."):
            path.unlink(missing_ok=True)


def remove(kind: str, key: str) -> None:
    """Clear a shelf whose work has become part of something larger."""
    shutil.rmtree(_shelf(kind, key), ignore_errors=True)


def _put(shelf: Path, suffix: str, rank: int, write: Callable[[Path], Any]) -> Path:
    """Write a piece, on the disk before it has its name; once more where another run has cleaned the shelf away."""
    for last in (False, True):
        shelf.mkdir(parents=True, exist_ok=True)
        try:
            with partial(shelf / suffix[1:]) as temporary:
                write(temporary)
                sync(temporary)
                written = temporary.replace(shelf / f"{rank:08d}-{sha256(temporary)}{suffix}")
                sync(shelf)
                return written
        except (FileNotFoundError, InputError):
            if last:
                raise
    raise AssertionError("not reached")


def _pieces(shelf: Path, suffix: str, read: Callable[[Path], Read]) -> Iterator[Read]:
    """What is in the pieces whose content is what their name says, the highest rank first.

    The others are thrown away; those that another run cleans away in the meantime are not there.
    """
    with suppress(FileNotFoundError):
        os.utime(shelf)  # when it was last used
    for path in sorted(shelf.glob(f"[0-9]*{suffix}"), reverse=True):
        try:
            if sha256(path) == path.stem.split("-")[1]:
                piece = read(path)
                _taken[0] += 1
                yield piece
                continue
            print(f"{path}: damaged; thrown away, its work is done again", file=sys.stderr, flush=True)
            path.unlink(missing_ok=True)
        except (FileNotFoundError, InputError):
            if path.exists():
                raise


@dataclass(frozen=True)
class Shelf:
    """What is kept together: kind of work, bytes, number of pieces, when it was last used (seconds since 1970).

    `lock`: of the run that is at it, see `alone`; None where pieces may go at any time.
    """

    path: Path
    kind: str
    size: int
    pieces: int
    used: float
    lock: str | None = None


def shelves() -> list[Shelf]:
    """All shelves of the store, the journals of searches and the downloads, the one used last first."""
    found = []
    for path in [*place().glob("store/*/*"), *place().glob(f"{STUDIES}/*.log"), *place().glob(f"{DOWNLOADS}/*")]:
        kind, lock = path.parent.name, path.stem if path.parent.name in (STUDIES, DOWNLOADS) else None
        try:
            sizes = [file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path])]
            found.append(Shelf(path, kind, sum(sizes), len(sizes), path.stat().st_mtime, lock))
        except FileNotFoundError:  # cleaned up by another run
            continue
    return sorted(found, key=lambda shelf: (-shelf.used, shelf.path))


def clean(max_gb: float, named: Collection[str] | None = None) -> tuple[int, int]:
    """Remove the shelves that were used longest ago until at most `max_gb` are left; returns their number and bytes.

    `named`: the SHA-256 that params name; downloads of any other go as well. None: they are as good as the rest. A
    journal or a download that another run is at stays.
    """
    kept = removed = freed = 0
    for shelf in shelves():
        unnamed = named is not None and shelf.path.parent.name == DOWNLOADS and shelf.path.name not in named
        kept += shelf.size
        if (unnamed or kept > max_gb * GB) and _removed(shelf):
            kept -= shelf.size
            removed, freed = removed + 1, freed + shelf.size
    return removed, freed


def _removed(shelf: Shelf) -> bool:
    """Remove a shelf; False where a run is at it."""
    if shelf.lock is None:
        shutil.rmtree(shelf.path, ignore_errors=True)
        return True
    with _lock(shelf.lock) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        shelf.path.unlink(missing_ok=True)
        return True


@contextmanager
def alone(name: str, place: Path | None = None) -> Iterator[None]:
    """Wait until no other process is in the same block; the system frees the lock of a process that is killed.

    place: the folder of the lock's file; None: that of locks in the state folder.
    """
    with _lock(name, place) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{name}: another run is at it, waiting for its end", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _lock(name: str, place: Path | None = None) -> IO[str]:
    path = (place or folder() / "locks") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w")


def digest(*values: Any) -> str:
    """SHA-256 of tensors, dataclasses, mappings and sequences of them, and JSON-able values."""
    found = hashlib.sha256()
    for value in values:
        _feed(found, value)
    return found.hexdigest()


def _feed(found: "hashlib._Hash", value: Any) -> None:
    if hasattr(value, "untyped_storage"):
        found.update(f"tensor {value.dtype} {tuple(value.shape)} ".encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    elif is_dataclass(value):
        _feed(found, {field.name: getattr(value, field.name) for field in fields(value)})
    elif isinstance(value, dict):
        found.update(f"dict {len(value)} ".encode())
        for name, inner in value.items():
            _feed(found, name)
            _feed(found, inner)
    elif isinstance(value, list | tuple):
        found.update(f"list {len(value)} ".encode())
        for inner in value:
            _feed(found, inner)
    else:
        found.update(f"{fingerprint(value)} ".encode())


def code(module: str, threads: int | None = None) -> str:
    """Identity of the code that a module (`sampling.sampler`) runs, of the libraries' versions, and of what computes.

    `threads`: those of the workers that do it, if not this process does. What other code, another machine or another
    version has made must not pass for the work of this.
    """
    device = machine.device(machine.AUTO)
    computes = [machine.arithmetic("", device, threads), *(f"{name} {version(name)}" for name in LIBRARIES)]
    read = [[path.relative_to(closure.PACKAGE).as_posix(), sha256(path)] for path in closure.files(module)]
    return fingerprint([computes, *read])
