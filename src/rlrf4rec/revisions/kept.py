"""Kept runs: `metrics/kept/NAME` holds what Git knew of a run, under the paths that it had there."""

from pathlib import Path

from rlrf4rec.errors import InputError, ParamsError
from rlrf4rec.files import read_json
from rlrf4rec.paths import METRICS
from rlrf4rec.revisions import git, state
from rlrf4rec.revisions.changes import unfit
from rlrf4rec.revisions.git import Revision

COST = "metrics/cost"  # not in a lock: it differs from run to run
FOLDER = METRICS / "kept"
ORIGIN = "origin.json"  # {revision, commit}: the name it was kept by, and the commit that holds its code too, or null


def names() -> list[str]:
    """All kept runs."""
    return sorted(path.name for path in FOLDER.glob("*") if path.is_dir() and not path.name.startswith("."))


def revision(name: str) -> Revision:
    """The kept run of a name, as a revision whose files lie in its folder."""
    return Revision(name, None, (FOLDER / name).as_posix())


def resolve(name: str) -> Revision:
    """What `git.resolve` finds, or a kept run, by its name or by `metrics/kept/NAME`; ParamsError if none or two.

    Where the name is also that of the commit or experiment that was kept, it is that one: it holds the code as well.
    """
    there = names()
    if Path(name).parent == FOLDER and Path(name).name in there:
        return revision(Path(name).name)
    if name not in there:
        return git.resolve(name, there)
    found = git.find(name)
    if found is None:
        return revision(name)
    if found.commit == _commit(name):
        return found
    raise ParamsError(
        f"revision {name!r} has more than one meaning: {found.label} and a kept run that is not of it. Give the "
        f"commit, or {(FOLDER / name).as_posix()}"
    )


def faults(name: str) -> list[str]:
    """Sentences on files of a kept run that its lock knows with another content, or not at all."""
    found, place = state.load(revision(name)), FOLDER / name
    _commit(name)
    own = {state.PARAMS, state.LOCK, state.DAG, state.LIBRARIES, ORIGIN}
    own |= {path for stage in found.stages.values() for path in stage.outs}
    files = sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())
    foreign = [path for path in files if path not in own and not path.startswith(f"{COST}/")]
    return [*unfit(found), *(f"{place / path}: no file of this kept run: remove it" for path in foreign)]


def _commit(name: str) -> str | None:
    place = FOLDER / name / ORIGIN
    origin = read_json(place)
    if "commit" not in origin:
        raise InputError(f"{place}: expected the key commit; keep the run again with --replace")
    found = origin["commit"]
    return None if found is None else str(found)
