"""`rlrf4rec compare`: its arguments, and its exit codes.

0: done. 1: `--fail-if-worse` found something worse. 2: the user has something to mend. 3: not comparable.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlrf4rec.errors import ParamsError

if TYPE_CHECKING:
    from rlrf4rec.revisions.comparison import Asked
    from rlrf4rec.revisions.state import State

WORSE, REFUSED = 1, 3
DESCRIPTION = """Compare two revisions of the repository, from Git alone: what changed, and paired differences of the
metrics per development user. A revision is a branch, tag, commit, `dvc exp` name, kept run (`rlrf4rec keep`) or
`workspace`. Exit codes: 0 done, 1 something is worse (--fail-if-worse), 2 an error to mend, 3 not comparable."""


def add(commands: Any) -> None:
    """Add `compare` to the subcommands of a parser."""
    parser = commands.add_parser("compare", help="compare the runs of two revisions", description=DESCRIPTION)
    parser.add_argument("rev_a", metavar="REV_A", nargs="?", default="HEAD", help="the one compared with (HEAD)")
    parser.add_argument("rev_b", metavar="REV_B", nargs="?", help="the other one (workspace)")
    parser.add_argument(
        "--all-experiments", action="store_true", help="every `dvc exp` of HEAD against REV_A, a row for each"
    )
    parser.add_argument("--metric", action="append", default=[], help="show only this metric; may be given again")
    parser.add_argument("--knowledge", action="append", default=[], help="show only this knowledge; may be given again")
    parser.add_argument(
        "--fail-if-worse",
        action="append",
        default=[],
        metavar="METRIC",
        help="exit with 1 when a knowledge's interval lies wholly below 0, for example ndcg@5",
    )
    parser.add_argument("--full", action="store_true", help="all metrics, from the tables in DVC's cache")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--md", action="store_true", help="print Markdown, for a pull request")


def run(args: argparse.Namespace) -> int:
    """Print the comparison that was asked for and return the exit code; RLRFError when something is to be mended."""
    from rlrf4rec.revisions import git, kept, state
    from rlrf4rec.revisions.comparison import Asked

    if not Path("dvc.yaml").is_file():
        raise ParamsError("no dvc.yaml in this folder; run the comparison where the pipeline's dvc.yaml lies")
    a = kept.resolve(args.rev_a)
    asked = Asked(args.metric, args.knowledge, args.fail_if_worse)
    if not args.all_experiments:
        old, new = state.load(a), state.load(kept.resolve(args.rev_b or git.WORKSPACE))
        if args.full:
            from rlrf4rec.revisions.full import with_all_metrics

            old, new = with_all_metrics(old), with_all_metrics(new)
        return _one(old, new, asked, args)
    if args.full:
        raise ParamsError("--full compares two revisions; leave --all-experiments or --full out")
    if args.rev_b:
        raise ParamsError(f"--all-experiments compares them with {args.rev_a}; leave {args.rev_b} out")
    return _all(state.load(a), asked, args)


def _one(a: "State", b: "State", asked: "Asked", args: argparse.Namespace) -> int:
    from rlrf4rec.revisions import markdown, words
    from rlrf4rec.revisions.comparison import compare
    from rlrf4rec.revisions.text import Report

    found = compare(a, b, asked)
    if args.json:
        _print_json(words.as_dict(found))
    elif args.md:
        sys.stdout.write(markdown.one(found))
    else:
        Report().one(found)
    return REFUSED if found.reasons else WORSE if found.worse else 0


def _all(a: "State", asked: "Asked", args: argparse.Namespace) -> int:
    from rlrf4rec.revisions import markdown, words
    from rlrf4rec.revisions.comparison import of_experiments, try_all
    from rlrf4rec.revisions.text import Report

    tried, notes = try_all(a, of_experiments(a, asked))
    if args.json:
        _print_json(words.all_as_dict(tried, notes, a.revision))
    elif args.md:
        sys.stdout.write(markdown.all_of(tried, notes, a.revision))
    else:
        Report().all(tried, notes, a.revision)
    compared = [one.comparison for one in tried if one.comparison and not one.comparison.reasons]
    return WORSE if any(found.worse for found in compared) else 0 if compared else REFUSED


def _print_json(content: dict[str, Any]) -> None:
    import json

    print(json.dumps(content, indent=2, default=str))
