"""Reading revisions with Git's own commands: branches, tags, commits, `dvc exp` names, and the workspace."""

import difflib
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlrf4rec.errors import InputError, ParamsError, ResourceError

WORKSPACE = "workspace"
EXPERIMENT = re.compile(r"refs/exps/([0-9a-f]{2})/([0-9a-f]{38})/(.+)")  # what DVC keeps beside it has other forms
FAILED, QUEUED = "refs/exps/celery/failed", "refs/exps/celery/stash"


@dataclass(frozen=True)
class Revision:
    """A commit by the name that the user gave; `commit` is None for the workspace, and for a kept run in `folder`."""

    name: str
    commit: str | None
    folder: str = ""

    @property
    def label(self) -> str:
        """Name and short commit, the name once."""
        if self.folder:
            return f"{self.name} (kept)"
        if self.commit is None or self.commit.startswith(self.name):
            return self.name[:40]
        return f"{self.name} ({self.commit[:7]})"


@dataclass(frozen=True)
class Experiment:
    """A `dvc exp` and the commit that it started from."""

    name: str
    commit: str
    baseline: str
    ref: str


def resolve(name: str, others: Sequence[str] = ()) -> Revision:
    """The commit of a Git revision or of a `dvc exp` name (`NAME~1` and `NAME^` too); ParamsError if none or two.

    others: what else the user could have meant.
    """
    if found := find(name):
        return found
    raise ParamsError(_unknown(name, others))


def find(name: str) -> Revision | None:
    """As `resolve`, but None where there is none."""
    if name == WORKSPACE:
        return Revision(name, None)
    stem, suffix = _parts(name)
    found = {f"experiment {e.ref}": commit(e.commit + suffix) for e in experiments() if e.name == stem}
    found = {what: c for what, c in found.items() if c}
    if own := commit(name):
        found["Git revision"] = own
    if len(set(found.values())) > 1:
        several = "; ".join(f"{what} ({c:.7})" for what, c in found.items())
        raise ParamsError(f"revision {name!r} has more than one meaning: {several}. Give the commit, or the whole ref")
    return Revision(name, next(iter(found.values()))) if found else None


def _parts(name: str) -> tuple[str, str]:
    """What comes before `~1` or `^`, and that.

    >>> _parts("smoke~2"), _parts("HEAD^^"), _parts("main")
    (('smoke', '~2'), ('HEAD', '^^'), ('main', ''))
    """
    stem, suffix = re.fullmatch(r"([^~^]*)(.*)", name, re.DOTALL).groups()  # type: ignore[union-attr]
    return stem, suffix


def commit(name: str) -> str | None:
    """Full hash of the commit that Git knows as `name`, or None."""
    if not name or name.startswith("-"):
        return None
    return _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", check=False).strip() or None


def experiments() -> list[Experiment]:
    """All finished experiments, also those of `dvc exp run --queue`; by baseline and name."""
    found = []
    for line in _git("for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").splitlines():
        sha, ref = line.split(" ", 1)
        if match := EXPERIMENT.fullmatch(ref):
            found.append(Experiment(match[3], sha, match[1] + match[2], ref))
    return found


def entries(ref: str) -> int:
    """How many experiments DVC holds in a stash (waiting or failed); 0 when there is no such stash."""
    return len(_git("reflog", "show", "--format=%H", ref, check=False).split())


def read(revision: Revision, paths: Sequence[str]) -> dict[str, bytes | None]:
    """Content of files (relative to the working folder) as of `revision`; None where there is no such file."""
    if revision.commit is None:
        found = {p: Path(revision.folder, p) for p in paths}
        return {p: place.read_bytes() if place.is_file() else None for p, place in found.items()}
    asked = "".join(f"{revision.commit}:./{p}\n" for p in paths).encode()
    answer = _run(["cat-file", "--batch"], asked).stdout
    content: dict[str, bytes | None] = {}
    at = 0
    for path in paths:
        end = answer.index(b"\n", at)
        head = answer[at:end].rsplit(b" ", 2)
        at = end + 1
        content[path] = None
        if head[-1] != b"missing":
            size = int(head[2])
            content[path] = answer[at : at + size] if head[1] == b"blob" else None
            at += size + 1
    return content


def files(revision: Revision, folder: str) -> list[str]:
    """Files below a folder as of `revision`; of the workspace those that lie there."""
    if revision.commit is None:
        top = Path(revision.folder)
        return sorted(path.relative_to(top).as_posix() for path in (top / folder).rglob("*") if path.is_file())
    return _git("ls-tree", "-r", "-z", "--name-only", revision.commit, f"{folder}/").split("\0")[:-1]


def changed(a: Revision, b: Revision, folder: str) -> list[str]:
    """Files below a folder that differ between two revisions; none where one is a kept run, which holds no code."""
    asked = [revision.commit for revision in (a, b) if revision.commit]
    if a.commit == b.commit or a.folder or b.folder:
        return []
    return _git("diff", "--name-only", "--no-renames", "--relative", "-z", *asked, "--", folder).split("\0")[:-1]


def last_change(revision: Revision, path: str) -> str:
    """The last commit up to `revision` that changed a file, short; `no commit` where none did."""
    return _git("log", "-1", "--format=%h", revision.commit or "HEAD", "--", path, check=False).strip() or "no commit"


def time_of_last_change(revision: Revision, path: str) -> float:
    """When a file was last committed up to a revision, in seconds since 1970; 0 where it never was."""
    return float(_git("log", "-1", "--format=%ct", revision.commit or "HEAD", "--", path, check=False).strip() or 0)


def versions(path: str) -> list[str]:
    """Commits of all branches, tags, remotes' branches and experiments that changed a file, the newest first."""
    return _git("log", "--all", "--full-history", "--format=%H", "--", path, check=False).split()


def common_folder() -> Path:
    """The folder of Git's own files, the same for all worktrees of a clone; InputError where there is no repository."""
    return Path(_git("rev-parse", "--path-format=absolute", "--git-common-dir").strip())


def untracked(folders: Sequence[str]) -> list[str]:
    """Files below these that Git neither knows nor ignores."""
    return _git("ls-files", "-z", "--others", "--exclude-standard", "--", *folders).split("\0")[:-1]


def shallow() -> bool:
    """Whether this clone lacks the commits before some point."""
    return _git("rev-parse", "--is-shallow-repository", check=False).strip() == "true"


def tags(of: str = "HEAD") -> list[str]:
    """Tags of a commit."""
    return _git("tag", "--points-at", of, check=False).split()


def _unknown(name: str, others: Sequence[str]) -> str:
    stem, _ = _parts(name)
    refs = _git("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags", "refs/remotes").splitlines()
    names = [*refs, *(e.name for e in experiments()), *others, WORKSPACE, "HEAD"]
    near = [k for k in names if k.rsplit("/", 1)[-1] == stem] or difflib.get_close_matches(stem, names, n=1)
    advice = f"did you mean {near[0]!r}? " if near else ""
    fetch = "git fetch --unshallow" if shallow() else "git fetch"
    return (
        f"revision {name!r}: no commit, branch, tag or experiment of this name; {advice}"
        f"`{fetch}` brings branches and tags, `dvc exp pull REMOTE NAME` experiments"
    )


def _git(*args: str, check: bool = True) -> str:
    done = _run(list(args))
    if check and done.returncode:
        raise InputError(f"git {args[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode(errors="replace")


def _run(args: list[str], given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", *args], input=given, capture_output=True, check=False)
    except FileNotFoundError:
        raise ResourceError("git is not installed; the comparison reads both revisions with it") from None
