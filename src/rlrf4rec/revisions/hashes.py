"""Hashes of files and folders of a revision, as DVC takes them."""

from collections.abc import Iterable
from pathlib import Path

from rlrf4rec.files import COMPILED, dvc_hash
from rlrf4rec.revisions import git
from rlrf4rec.revisions.git import Revision

FOLDER = ".dir"  # how the hash of a folder ends


def now(revision: Revision, known: Iterable[tuple[str, str]]) -> dict[str, str | None]:
    """Hashes in the revision of the (path, hash) of a lock file, by path; None where there is nothing.

    A lock's hash tells a folder from a file.
    """
    names = {path: git.files(revision, path) if md5.endswith(FOLDER) else [path] for path, md5 in known}
    content = git.read(revision, [name for found in names.values() for name in found])
    return {path: dvc_hash(_inside(path, found, content)) for path, found in names.items()}


def _inside(path: str, names: list[str], content: dict[str, bytes | None]) -> dict[str, bytes]:
    """What lies at `path`, as `files.contents` gives it."""
    inside = {}
    for name in names:
        text = content[name]
        if text is not None and COMPILED not in name:
            inside["" if name == path else Path(name).relative_to(path).as_posix()] = text
    return inside
