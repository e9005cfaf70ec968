"""`rlrf4rec check`: its arguments and exit codes. 0: the committed numbers are true. 1: something is not, see above."""

import argparse
from pathlib import Path
from typing import Any

from rlrf4rec.errors import ParamsError

FAULTS = 1
DESCRIPTION = """Whether the committed numbers are true: metrics files against the hashes in DVC's locks, figures in
README.md and docs against metrics files, the locks against code and params. Reads files and Git alone. A default run
behind its code is a warning, on a release (a tag v*) a fault. Exit codes: 0 all is true, 1 a fault."""


def add(commands: Any, stages: tuple[str, ...]) -> None:
    """Add `check` to the subcommands of a parser; `stages` of the default run, in its order."""
    parser = commands.add_parser("check", help="whether the committed numbers are true", description=DESCRIPTION)
    about = "first write what README.md and the report say of the committed run"
    parser.add_argument("--write", action="store_true", help=about)
    parser.set_defaults(stages=stages)


def run(args: argparse.Namespace) -> int:
    """Print what was found; returns the exit code."""
    from rlrf4rec.committed import check
    from rlrf4rec.revisions import locks

    if not Path(locks.DEFAULT).is_file():
        raise ParamsError("no dvc.yaml in this folder; run the check where the pipeline's dvc.yaml lies")
    if args.write:
        check.write(Path(), args.stages)
    found = check.everything()
    for about, sentence in found.said:
        print(f"{about:10}{sentence}")
    for warning in found.warnings:
        print(f"warning: {warning}")
    for fault in found.faults:
        print(f"FAULT: {fault}")
    faults = len(found.faults)
    print(f"check: {faults} fault{'' if faults == 1 else 's'}" if faults else "check: the committed numbers are true")
    return FAULTS if faults else 0
