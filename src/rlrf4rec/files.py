"""Writing files whole or not at all, and naming content by its hash."""

import csv
import hashlib
import itertools
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlrf4rec.errors import InputError, explain

_numbers = itertools.count()


@contextmanager
def partial(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; a file that is still there at the end is removed.

    Its name holds machine and process: `sweep` can tell what a killed process has left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{_machine()}.{os.getpid()}.{next(_numbers)}.partial")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it takes the place of `path`, on failure it goes."""
    try:
        with partial(path) as temporary:
            yield temporary
            temporary.replace(path)
    except Exception as error:
        if fault := explain(error, path):
            raise fault from error
        raise


def sweep(folder: Path) -> int:
    """Remove what killed processes of this machine have left half-written below `folder`; returns how many files."""
    removed = 0
    for path in folder.rglob(".*.partial"):
        machine, process = path.name.split(".")[-4:-2]
        if machine == _machine() and not _alive(int(process)):
            path.unlink(missing_ok=True)
            removed += 1
    return removed


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
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}); delete it and run dvc repro") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


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
    """SHA-256 of a file, or of the names and hashes of all files of a folder, as hexadecimal text."""
    digest = hashlib.sha256()
    if path.is_dir():
        for inner in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{inner.relative_to(path).as_posix()} {sha256(inner)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
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


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
