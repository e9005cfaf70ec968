"""`rlrf4rec power`: its arguments."""

import argparse
from pathlib import Path
from typing import Any

DESCRIPTION = """The smallest effect that a study of these sizes would find four times of five, at 5 % and in all of the
comparisons at once, by the variance components that `make arms` has written; and whether it is small enough. For a
preregistration, before its users are read."""
DOCUMENT = Path("docs/preregistration.md")


def add(commands: Any) -> None:
    """Add `power` to the subcommands of a parser."""
    parser = commands.add_parser("power", help="how large a study has to be", description=DESCRIPTION)
    parser.add_argument("--users", type=int, nargs="+", default=[250, 500, 1000, 1500], help="evaluated users")
    parser.add_argument("--policies", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--seeds", type=int, help="seeds of the re-rankers; default: train_ranker.seeds")
    parser.add_argument("--protocol", default="popularity")
    parser.add_argument(
        "--difference",
        nargs="+",
        metavar="'A - B'",
        help="what has to be found; default: all that has to hold together",
    )
    parser.add_argument("--metric", default="ndcg@5")
    parser.add_argument("--gain", type=float, help="what is to be found; default: half of what was seen")
    parser.add_argument("--write", action="store_true", help=f"into {DOCUMENT} as well")


def run(args: argparse.Namespace) -> int:
    """Print the plans; RLRFError where the study was not run, or can't tell."""
    from rlrf4rec import paths
    from rlrf4rec.errors import InputError
    from rlrf4rec.evaluation.arms import QUESTIONS
    from rlrf4rec.files import read_json
    from rlrf4rec.params import load
    from rlrf4rec.planning import power

    if not paths.ARMS.exists():
        raise InputError(f"{paths.ARMS}: missing, the study of arms was not run; run `make arms`")
    own, others = QUESTIONS["shown"]
    report, pairs = read_json(paths.ARMS), args.difference or [f"{own} - {other}" for other in others]
    of = [power.seen(report, args.protocol, pair, args.metric, paths.ARMS) for pair in pairs]
    seeds = load().train_ranker.seeds if args.seeds is None else args.seeds
    text = power.told(of, args.gain, power.plans(of, args.users, args.policies, seeds))
    print(text)
    if args.write:
        power.write(DOCUMENT, text)
    return 0
