"""`rlrf4rec ready`: could `make final` look now? Asked before anything is sampled for the final users."""

import argparse
from pathlib import Path
from typing import Any

from rlrf4rec.errors import ParamsError

DESCRIPTION = """Whether `make final` could look: code, params and the record of the run are those of HEAD, and all
outputs of the run but its report are up to date with them. Ends with an error where not, before anything is sampled."""


def add(commands: Any) -> None:
    """Add `ready` to the subcommands of a parser."""
    commands.add_parser("ready", help="whether a final look could be made now", description=DESCRIPTION)


def run(_: argparse.Namespace) -> int:
    """Say which look it would be; RLRFError when there can be none now."""
    from rlrf4rec import paths
    from rlrf4rec.looking import commit, known, looks
    from rlrf4rec.params import load

    if not Path("dvc.yaml").is_file():
        raise ParamsError("no dvc.yaml in this folder; run it where the pipeline's dvc.yaml lies")
    if load().interactions.final_folds is None:
        raise ParamsError("no user is final: set interactions.final_folds, and `dvc repro`")
    head = commit.clean()
    commit.up_to_date()
    number = looks.next_number(known.everywhere(paths.LOOKS))
    print(f"ready: commit {head:.7} can be looked at; if that shows something new it is look {number}")
    return 0
