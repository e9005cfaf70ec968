"""`rlrf4rec reproduce`: its arguments and exit codes. 0: every number is equal or within tolerance. 1: one is not."""

import argparse
from pathlib import Path
from typing import Any

from rlrf4rec.errors import ParamsError

NOT_REPRODUCED = 1
STOPPED = "nothing is written, and its clone is removed"
DESCRIPTION = """Whether the headline numbers of a commit come out again: a clone of it is run from nothing, and each
number is held against the committed one: equal; within tolerance (half the width of the committed 95 % interval); not
reproduced. Writes metrics/reproduced.json. Exit codes: 0 all are equal or within tolerance, 1 one is not reproduced, 7
the run failed."""


def add(commands: Any) -> None:
    """Add `reproduce` to the subcommands of a parser."""
    about = "run a commit again: do its numbers come out?"
    parser = commands.add_parser("reproduce", help=about, description=DESCRIPTION)
    parser.add_argument("revision", metavar="REV", nargs="?", default="HEAD", help="branch, tag or commit (HEAD)")
    parser.add_argument(
        "--take", action="store_true", help="hold the finished run of this workspace against it, and run nothing"
    )


def run(args: argparse.Namespace) -> int:
    """Run or take a run, write the file, print the table; returns the exit code."""
    from rlrf4rec.reproducing import classes, clone, runs, taken, told
    from rlrf4rec.revisions import git

    if not Path("dvc.yaml").is_file():
        raise ParamsError("no dvc.yaml in this folder; run it where the pipeline's dvc.yaml lies")
    revision = git.resolve(args.revision)
    if revision.commit is None:
        raise ParamsError("the workspace is no commit: its numbers are held against those of REV with --take")
    committed = runs.of_commit(revision)
    if args.take:
        taken.check(revision)
        content, held = told.recorded(revision, "taken", committed, Path())
    else:
        with clone.finished(revision.commit) as folder:
            content, held = told.recorded(revision, "run", committed, folder)
    told.show(revision, content, held)
    return NOT_REPRODUCED if classes.counts(held)[classes.NOT] else 0
