"""Finished pieces of long work, kept outside of the stages' outputs so that a killed run goes on from them.

DVC deletes a stage's outputs before it runs, so what a killed stage had finished lies elsewhere: in `.rlrf4rec/`
under the repository (`DVC_ROOT`, shared by queued and temporary runs), ignored by Git.

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from rlrf4rec import closure, machine
from rlrf4rec.files import fingerprint, partial, sha256

if TYPE_CHECKING:
    from torch import Tensor

EVERY = 20.0  # seconds of work that a killed run may lose, apart from the batch that it was in; `store.seconds`
GB = 10**9
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
        pieces = [pl.read_parquet(path) for path in _whole(_shelf(self.kind, self.key), ".parquet")]
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

    pieces = _whole(_shelf(kind, key), ".safetensors")
    return load(pieces[-1]) if pieces else None


def save_tensors(kind: str, key: str, tensors: "dict[str, Tensor]", metadata: dict[str, str], rank: int = 0) -> None:
    """Put tensors on a shelf in place of those of lower rank."""
    from rlrf4rec.tables.vectors import save_tensors as save

    shelf = _shelf(kind, key)
    written = _put(shelf, ".safetensors", rank, lambda path: save(path, tensors, metadata))
    for path in shelf.glob("*.safetensors"):
        if path.name < written.name and not path.name.startswith("."):
            path.unlink(missing_ok=True)


def _put(shelf: Path, suffix: str, rank: int, write: Callable[[Path], Any]) -> Path:
    shelf.mkdir(parents=True, exist_ok=True)
    with partial(shelf / suffix[1:]) as temporary:
        write(temporary)
        return temporary.replace(shelf / f"{rank:08d}-{sha256(temporary)}{suffix}")


def _whole(shelf: Path, suffix: str) -> list[Path]:
    """Pieces whose content is what their name says, by rising rank; the others are thrown away."""
    whole = []
    for path in sorted(shelf.glob(f"[0-9]*{suffix}")):
        try:
            if sha256(path) == path.stem.split("-")[1]:
                whole.append(path)
            else:
                print(f"{path}: damaged; thrown away, its work is done again", file=sys.stderr, flush=True)
                path.unlink(missing_ok=True)
        except FileNotFoundError:  # cleaned up by another run
            continue
    if whole:
        os.utime(shelf)  # when it was last used
    return whole


@dataclass(frozen=True)
class Shelf:
    """What lies on a shelf: kind of work, bytes, number of pieces, when it was last used (seconds since 1970)."""

    path: Path
    kind: str
    size: int
    pieces: int
    used: float


def shelves() -> list[Shelf]:
    """All shelves, the one used last first."""
    found = []
    for path in (place() / "store").glob("*/*"):
        try:
            sizes = [file.stat().st_size for file in path.iterdir()]
            found.append(Shelf(path, path.parent.name, sum(sizes), len(sizes), path.stat().st_mtime))
        except FileNotFoundError:  # cleaned up by another run
            continue
    return sorted(found, key=lambda shelf: (-shelf.used, shelf.path))


def clean(max_gb: float) -> tuple[int, int]:
    """Remove the shelves that were used longest ago until at most `max_gb` are left; returns their number and bytes."""
    kept = removed = freed = 0
    for shelf in shelves():
        kept += shelf.size
        if kept > max_gb * GB:
            kept -= shelf.size
            shutil.rmtree(shelf.path, ignore_errors=True)
            removed, freed = removed + 1, freed + shelf.size
    return removed, freed


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Wait until no other process is in the same block; the system frees the lock of a process that is killed."""
    path = folder() / "locks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{name}: another run is at it, waiting for its end", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


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
