"""`rlrf4rec ready`: could `make final` look now, or `make final-arms`? Asked before the final users get any text."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlrf4rec.errors import ParamsError

if TYPE_CHECKING:
    from rlrf4rec.params import Params

DESCRIPTION = """Whether `make final` could look: code, params and the record of the run are those of HEAD, and all
outputs of the run but its report are up to date with them. Ends with an error where not, before anything is sampled.
Of the study of arms it says besides which of its questions can't be answered with yes, whatever the labels say."""


def add(commands: Any) -> None:
    """Add `ready` to the subcommands of a parser."""
    asked = commands.add_parser("ready", help="whether a final look could be made now", description=DESCRIPTION)
    asked.add_argument("--arms", action="store_true", help="the same of `make final-arms` and the study of arms")


def run(args: argparse.Namespace) -> int:
    """Say which look it would be; RLRFError when there can be none now."""
    from rlrf4rec import paths
    from rlrf4rec.looking import commit, known, look, looks
    from rlrf4rec.params import load

    if not Path("dvc.yaml").is_file():
        raise ParamsError("no dvc.yaml in this folder; run it where the pipeline's dvc.yaml lies")
    params = load()
    if params.interactions.final_folds is None:
        raise ParamsError("no user is final: set interactions.final_folds, and `dvc repro`")
    if args.arms:
        look.same_protocol(params.split, params.arms)
    of = commit.OF_ARMS if args.arms else commit.OF_RUN
    head = commit.clean(of)
    commit.up_to_date(of)
    number = looks.next_number(known.everywhere(paths.LOOKS))
    print(f"ready: commit {head:.7} can be looked at; if that shows something new it is look {number}")
    if args.arms:
        _tell_what_lacks(params)
    return 0


def _tell_what_lacks(params: "Params") -> None:
    """Say which questions can't be answered with yes whatever the labels say: no look is worth making for these."""
    from rlrf4rec.evaluation import arms, policies

    p = params.arms
    kinds = list(p.final_kinds())
    trained = policies.trained(policies.files_of(p, p.protocols[0], kinds), params.backbones, kinds)
    for question in policies.questions(kinds):
        lacks = arms.lacks_before(question, len(p.policies), trained.kinds, trained.not_matched)
        print(f"{question}: no, whatever is seen: {'; '.join(lacks)}" if lacks else f"{question}: can be answered")
