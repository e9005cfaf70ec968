"""Writing files whole or not at all, and naming content by its hash."""

import csv
import hashlib
import itertools
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from rlrf4rec.errors import InputError, explain

_numbers = itertools.count()
PARTIAL, FORMER = "partial", "former"  # what is being written; the folder that a new one is about to replace
LEFT = re.compile(rf"\.(?P<name>.+)\.(?P<machine>[^.]+)\.(?P<process>\d+)\.\d+\.(?P<kind>{PARTIAL}|{FORMER})")


def _beside(path: Path, kind: str) -> Path:
    """A name beside `path` that holds machine and process: `sweep` knows what a killed process has left behind."""
    return path.with_name(f".{path.name}.{_machine()}.{os.getpid()}.{next(_numbers)}.{kind}")


@contextmanager
def partial(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; a file or folder that is still there at the end is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path, PARTIAL)
    try:
        yield temporary
    finally:
        _remove(temporary)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it takes the place of `path`, on failure it goes.

    It is on the disk before it takes the name: a machine that stops leaves the old file or the new one.
    """
    try:
        with partial(path) as temporary:
            yield temporary
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
    except Exception as error:
        if fault := explain(error, path):
            raise fault from error
        raise


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give an empty temporary folder beside `path`; on success it takes the place of `path`, on failure it goes.

    No call of the system that is everywhere exchanges two folders. So the old one steps aside first, under a name by
    which `sweep` gives it back after a kill before the new one has come.
    """
    former = _beside(path, FORMER)
    with partial(path) as temporary:
        temporary.mkdir()
        yield temporary
        for inner in [*temporary.rglob("*"), temporary]:
            sync(inner)
        try:
            with suppress(FileNotFoundError):
                path.rename(former)
            temporary.rename(path)
        except BaseException:
            _give_back(former, path)
            raise
        sync(path.parent)
    _remove(former)


def _give_back(former: Path, path: Path) -> None:
    """The old folder under its name again, unless the new one has it."""
    if os.path.lexists(path):
        _remove(former)
    elif os.path.lexists(former):
        former.rename(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk; some file systems can't do it for a folder."""
    with suppress(OSError) if path.is_dir() else nullcontext():
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def sweep(folder: Path) -> int:
    """Remove what killed processes of this machine have left half-written below `folder`; returns how many of them.

    A folder that had stepped aside for one that never came is given back.
    """
    found = 0
    for path in sorted(folder.rglob(".*")):
        left = LEFT.fullmatch(path.name)
        if not left or left["machine"] != _machine() or _alive(int(left["process"])) or not os.path.lexists(path):
            continue
        if left["kind"] == FORMER:
            _give_back(path, path.with_name(left["name"]))
        else:
            _remove(path)
        found += 1
    return found


def _machine() -> str:
    return socket.gethostname().replace(".", "-")


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, keys in the given order, floats to ten significant digits so that files stay readable."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(_rounded(content), indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; InputError if the file is missing or is not one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: missing; run the stage that writes it with dvc repro") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); delete it and run dvc repro") from None
    if not isinstance(content, dict):
        found = type(content).__name__
        raise InputError(f"{path}: expected a JSON object, found {found}; delete it and run dvc repro")
    return content


class Keyed(dict[str, Any]):
    """A JSON object that says, where it is asked for a key that it lacks, which file lacks it and what makes it again.

    So are the objects in it.
    """

    def __init__(self, content: Mapping[str, Any], path: Path, again: str, place: str = "") -> None:
        self.path, self.again, self.place = path, again, place
        inner = {k: Keyed(v, path, again, f"{place}{k}.") if isinstance(v, dict) else v for k, v in content.items()}
        super().__init__(inner)

    def __missing__(self, key: str) -> Any:
        """Never gives a value."""
        raise InputError(f"{self.path}: no {self.place}{key}; {self.again}")

    def require(self, *keys: str) -> None:
        """InputError unless it has these keys."""
        for key in keys:
            self[key]


def check_json(*files: Path) -> None:
    """InputError if one of these files is there and holds no JSON object: some libraries would end in a fault."""
    for path in files:
        if path.exists():
            read_json(path)


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a small CSV for plots; all rows have the keys of the first one."""
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows([{k: _rounded(v) for k, v in row.items()} for row in rows])


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.10g}")
    if isinstance(value, Mapping):
        return {str(k): _rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    return value


def sha256(path: Path) -> str:
    """SHA-256 of a file, or of the names and hashes of all files of a folder, as hexadecimal text.

    InputError when there is no such file.
    """
    digest = hashlib.sha256()
    if path.is_dir():
        for inner in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{inner.relative_to(path).as_posix()} {sha256(inner)}\n".encode())
        return digest.hexdigest()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except FileNotFoundError:
        raise InputError(f"{path}: missing; run `dvc repro` (or `dvc pull --allow-missing`)") from None
    return digest.hexdigest()


def fingerprint(content: Any) -> str:
    """SHA-256 of a JSON-able value, the same in every process."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


COMPILED = "__pycache__"  # what Python leaves beside the source, and .dvcignore keeps out


def contents(path: Path) -> dict[str, bytes]:
    """Files of a folder by their path in it, or a file's content by the empty name; nothing where there is nothing."""
    if path.is_file():
        return {"": path.read_bytes()}
    files = [file for file in path.rglob("*") if file.is_file() and COMPILED not in file.parts]
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


def dvc_hash(files: Mapping[str, bytes]) -> str | None:
    """The hash that DVC gives to a file or folder with these `contents`; None for nothing."""
    if "" in files or not files:
        return _md5(files[""]) if files else None
    rows = [{"md5": _md5(files[name]), "relpath": name} for name in sorted(files)]
    return f"{_md5(json.dumps(rows, sort_keys=True).encode())}.dir"


# Of a lock, whose whole YAML takes seconds to parse.
LOCKED = re.compile(r"- path: (\S+)\n\s+hash: md5\n\s+md5: ([\w.]+)")


def locked(lock: str) -> dict[str, set[str]]:
    """The hashes that a lock file of DVC gives to each path, those of all its stages.

    >>> locked("- path: data/x\\n  hash: md5\\n  md5: 0a.dir\\n")
    {'data/x': {'0a.dir'}}
    """
    found: dict[str, set[str]] = {}
    for path, md5 in LOCKED.findall(lock):
        found.setdefault(path, set()).add(md5)
    return found


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
