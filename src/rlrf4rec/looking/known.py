"""All looks that can be known of here: of every branch, tag and experiment of this clone, and of its journal.

The journal lies beside Git's own files. So a row that never came into a commit, that `git checkout` has thrown away, or
that another worktree of the clone holds, counts too. What another clone has not pushed can't be known.
"""

from contextlib import AbstractContextManager
from pathlib import Path

from rlrf4rec import store
from rlrf4rec.errors import InputError
from rlrf4rec.looking import looks
from rlrf4rec.looking.looks import Look
from rlrf4rec.revisions import git

JOURNAL, LOCK = "rlrf4rec-looks.csv", "rlrf4rec-looks.lock"


def everywhere(path: Path) -> list[Look]:
    """Each look once, the earliest number first; InputError where rows of `path` that HEAD has are edited or gone."""
    if git.shallow():
        raise InputError("looks are counted over all commits, and this clone is shallow; `git fetch --unshallow --all`")
    here = looks.read(path)
    committed = _of("HEAD", path)
    if here[: len(committed)] != committed:
        raise InputError(
            f"{path}: rows that HEAD has are edited or gone, and looks only become more; `git checkout {path}`, "
            "then add what was new below it"
        )
    found = [look for commit in git.versions(path.as_posix()) for look in _of(commit, path)]
    rows = {look.seen: look for look in (*looks.read(_journal()), *here, *found)}
    return sorted(rows.values(), key=lambda look: (look.look, look.date, look.seen))


def _of(commit: str, path: Path) -> list[Look]:
    """Rows of a commit; none where it has no such file."""
    content = git.read(git.Revision(commit, commit), [path.as_posix()])[path.as_posix()]
    return looks.parse(content, f"{path} of {commit:.7}") if content is not None else []


def _journal() -> Path:
    return git.common_folder() / JOURNAL


def alone() -> AbstractContextManager[None]:
    """Nobody else in this clone asks for looks and adds one inside of the block."""
    return store.alone(LOCK, git.common_folder())


def write_down(path: Path, look: Look) -> None:
    """Add it to the journal and to the file; both are on the disk when this returns."""
    for place in (_journal(), path):
        looks.add(place, looks.read(place), look)
