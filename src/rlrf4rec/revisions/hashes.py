"""Hashes of files and folders of a revision, as DVC takes them."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from rlrf4rec.revisions import git
from rlrf4rec.revisions.git import Revision

FOLDER = ".dir"  # how the hash of a folder ends
IGNORED = "__pycache__"  # as .dvcignore has it


def now(revision: Revision, known: Iterable[tuple[str, str]]) -> dict[str, str | None]:
    """Hashes in the revision of the (path, hash) of a lock file, by path; None where there is nothing.

    A lock's hash tells a folder from a file.
    """
    pairs = dict(known)
    folders = {path: git.files(revision, path) for path, md5 in pairs.items() if md5.endswith(FOLDER)}
    single = [path for path in pairs if path not in folders]
    content = git.read(revision, [*single, *(name for names in folders.values() for name in names)])
    found = {path: md5_of(content[path]) for path in single}
    for path, names in folders.items():
        inside = {Path(name).relative_to(path).as_posix(): content[name] for name in names if IGNORED not in name}
        found[path] = folder({name: text for name, text in inside.items() if text is not None}) if inside else None
    return found


def md5_of(content: bytes | None) -> str | None:
    """Hash of a file."""
    return None if content is None else hashlib.md5(content, usedforsecurity=False).hexdigest()


def folder(inside: dict[str, bytes]) -> str:
    """Hash of a folder with these files, by their path in it."""
    rows = [{"md5": md5_of(inside[name]), "relpath": name} for name in sorted(inside)]
    return f"{md5_of(json.dumps(rows, sort_keys=True).encode())}{FOLDER}"
