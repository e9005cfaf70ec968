"""`rlrf4rec keep`: what Git knows of a finished run goes to `metrics/kept/NAME`."""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlrf4rec.errors import InputError, ParamsError

if TYPE_CHECKING:
    from rlrf4rec.revisions.git import Revision
    from rlrf4rec.revisions.state import State

NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
CODE = "src"
COMMIT = re.compile(r"[0-9a-f]{4,40}")  # may be a short commit one day
DESCRIPTION = """Keep a finished run: its params, dvc.yaml, dvc.lock, versions of libraries, metrics, per-user table and
cost go to metrics/kept/NAME, which is yours to commit; `rlrf4rec compare` takes NAME like a revision."""


def add(commands: Any) -> None:
    """Add `keep` to the subcommands of a parser."""
    parser = commands.add_parser("keep", help="keep a finished run or recipe", description=DESCRIPTION)
    parser.add_argument("name", metavar="NAME", help="letters, digits, `.`, `_` and `-`")
    about = "the run: a branch, tag, commit, `dvc exp` name or `workspace` (the `dvc exp` NAME, or else the workspace)"
    parser.add_argument("rev", metavar="REV", nargs="?", help=about)
    parser.add_argument("--replace", action="store_true", help="in place of a kept run of this name")


def run(args: argparse.Namespace) -> int:
    """Keep the run and say which it was; RLRFError when it can't be kept."""
    from rlrf4rec.params import recipes
    from rlrf4rec.revisions import git, kept, state
    from rlrf4rec.revisions.changes import unfit
    from rlrf4rec.revisions.words import listed

    if not Path(state.DAG).is_file():
        raise ParamsError("no dvc.yaml in this folder; keep a run where the pipeline's dvc.yaml lies")
    own = _experiment(args.name)
    place = kept.FOLDER / args.name
    if place.exists() and not args.replace:
        raise ParamsError(f"{place} is there: take another name, or --replace")
    if not own and not args.rev and args.name in recipes.names():
        raise ParamsError(
            f"no finished experiment {args.name!r}: `rlrf4rec exp {args.name}` runs the recipe. Where its run lies in "
            f"the workspace, `rlrf4rec keep {args.name} {git.WORKSPACE}` keeps it"
        )
    revision = git.resolve(args.rev) if args.rev else own or git.resolve(git.WORKSPACE)
    if own and own.commit != revision.commit:
        raise ParamsError(
            f"name {args.name!r} is that of an experiment ({own.commit:.7}), which is another run than "
            f"{revision.label}: take another name, or leave REV out to keep the experiment"
        )
    found = state.load(revision)
    if faults := unfit(found):
        raise InputError(f"{revision.label} is not kept: {'; '.join(faults)}")
    count, other = _write(place, found)
    if other:
        print(f"note: no commit has this run: {listed(other)} {'is' if len(other) == 1 else 'are'} not as in HEAD")
    print(f"keep: {revision.label} is in {place}, {count} files; `git add {place}` and a commit share it")
    return 0


def _experiment(name: str) -> "Revision | None":
    """The experiment of a name; ParamsError where a kept run can't have this name."""
    from rlrf4rec.revisions import git

    if not NAME.fullmatch(name):
        raise ParamsError(f"name {name!r}: that of a kept run is of letters, digits, and after the first `.`, `_`, `-`")
    if name == git.WORKSPACE or COMMIT.fullmatch(name) or git.commit(name):
        raise ParamsError(f"name {name!r} is that of a Git revision, or may be one day: take another one")
    found = {each.commit for each in git.experiments() if each.name == name}
    if len(found) > 1:
        raise ParamsError(f"name {name!r} is that of {len(found)} experiments: take another one, and a commit as REV")
    return git.Revision(name, found.pop()) if found else None


def _write(place: Path, found: "State") -> tuple[int, list[str]]:
    """Write all files or none; returns how many, and what of the run is in no commit."""
    from rlrf4rec.files import atomic_folder, write_json
    from rlrf4rec.revisions import git, kept, state

    revision = found.revision
    metrics = [path for stage in found.stages.values() for path in stage.outs if path.startswith("metrics/")]
    names = [state.PARAMS, state.LOCK, state.DAG, state.LIBRARIES, *metrics, *git.files(revision, kept.COST)]
    there = {path: text for path, text in git.read(revision, names).items() if text is not None}
    commit, other = _commit(revision, there)
    with atomic_folder(place) as folder:
        for path, text in there.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(text)
        write_json(folder / kept.ORIGIN, {"revision": revision.name, "commit": commit})
    return len(there) + 1, other


def _commit(revision: "Revision", there: Mapping[str, bytes]) -> tuple[str | None, list[str]]:
    """The commit with all files of the run, or None and those that are not in HEAD as they are here.

    there: what is kept of the run. Its code is no part of that, but has to be in the commit too.
    """
    from rlrf4rec.revisions import git

    if revision.commit:
        return revision.commit, []
    head = git.resolve("HEAD")
    code = {*git.changed(head, revision, CODE), *git.untracked([CODE])}
    committed = git.read(head, list(there))
    other = sorted(code | {path for path, text in there.items() if committed[path] != text})
    return (None if other else head.commit), other
