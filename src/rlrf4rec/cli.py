"""Command line: `rlrf4rec STAGE [ENTRY ...]` as dvc.yaml calls it, and `rlrf4rec rounds T`.

A stage's `run` names the params blocks that it gets; the rest of its arguments come from the command
line. So a stage can read no block but those that its signature shows.
"""

import argparse
import importlib
import inspect
import logging
import os
import sys
import time
import warnings
from pathlib import Path

from rlrf4rec.errors import RLRFError
from rlrf4rec.revisions import command as comparison

STAGES = (
    "fetch_dataset",
    "fetch_models",
    "interactions",
    "split",
    "knowledge",
    "prompt",
    "sample",
    "encode",
    "combine",
    "tune_reward",
    "train_reward",
    "score",
    "pair",
    "tune_dpo",
    "train_dpo",
    "train_ranker",
    "evaluate",
    "watch",
    "report",
)
STUDY = (
    "protocol",
    "source",
    "train_policy",
    "told",
    "control",
    "evaluate_controls",
    "reliability",
    "probe",
    "learning_curve",
)


def main() -> int:
    """Run one command; 0 when it is done, 2 when the user has something to mend."""
    parser = argparse.ArgumentParser(prog="rlrf4rec", description="RLRF4Rec; `dvc repro` runs all of its stages.")
    commands = parser.add_subparsers(dest="command", required=True)
    for stage in STAGES + STUDY:
        command = commands.add_parser(stage, help=f"run the stage {stage} (normally through dvc repro)")
        command.add_argument("entry", nargs="*", help="round, policy, backbone ... as in dvc.yaml")
    rounds = commands.add_parser("rounds", help="write the loop of T feedback rounds into params.yaml")
    rounds.add_argument("t", type=int)
    comparison.add(commands)
    args = parser.parse_args()
    try:
        if args.command == "compare":
            return comparison.run(args)
        if args.command == "rounds":
            from rlrf4rec.rounds import write_rounds

            print(write_rounds(Path("params.yaml"), args.t))
        else:
            run_stage(args.command, args.entry)
    except RLRFError as error:
        print(f"rlrf4rec {args.command}: error: {error}", file=sys.stderr)
        return 2
    return 0


def run_stage(stage: str, entry: list[str]) -> None:
    """Load and check all params, run the stage with its blocks, print its closing line."""
    from rlrf4rec.params import load

    _quiet()
    begin = time.monotonic()
    params = load()
    run = importlib.import_module(f"rlrf4rec.stages.{stage}").run
    blocks = [name for name in inspect.signature(run).parameters if name in type(params).model_fields]
    if len(entry) != len(inspect.signature(run).parameters) - len(blocks):
        raise RLRFError(
            f"{stage} takes {len(inspect.signature(run).parameters) - len(blocks)} argument(s), as in dvc.yaml"
        )
    closing = run(*(getattr(params, name) for name in blocks), *entry)
    print(f"{' '.join([stage, *entry[:1]])}: {closing}, {time.monotonic() - begin:.0f} s", flush=True)


def _quiet() -> None:
    """Keep libraries' advertisements and advice out of the terminal; errors stay."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # libraries' bars would fill a log with rubbish
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(f"{name}.utilities.rank_zero").setLevel(logging.ERROR)
    for message in (".*LeafSpec.*", ".*many workers.*", ".*number of training batches.*", ".*gradient_checkpointing.*"):
        warnings.filterwarnings("ignore", message=message)


if __name__ == "__main__":
    sys.exit(main())
