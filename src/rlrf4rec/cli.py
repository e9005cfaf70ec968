"""Command line: `rlrf4rec STAGE [ENTRY ...]` as dvc.yaml calls it, and `rlrf4rec rounds T`.

A stage's `run` names the params blocks that it gets; the rest of its arguments come from the command
line. So a stage can read no block but those that its signature shows.
"""

import argparse
import importlib
import inspect
import signal
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from rlrf4rec import cost, interrupts, logs, machine, versions, watcher
from rlrf4rec.committed import command as checking
from rlrf4rec.errors import ParamsError, ResourceError, RLRFError, explain
from rlrf4rec.files import sweep
from rlrf4rec.looking import ready
from rlrf4rec.planning import command as planning
from rlrf4rec.reproducing import command as reproducing
from rlrf4rec.revisions import command as comparison
from rlrf4rec.revisions import keep as keeping
from rlrf4rec.stages import STAGES, STUDY

if TYPE_CHECKING:
    from rlrf4rec.params import Params

BEGUN = time.monotonic()
# Commands with modules of their own; their exit codes may say more than whether it worked.
COMMANDS = {"compare": comparison, "check": checking, "reproduce": reproducing, "keep": keeping, "ready": ready}
COMMANDS |= {"power": planning}
FAULT = 70  # exit code of a fault of the program, as in sysexits.h


def main() -> int:
    """Run one command; its exit code is 0, the command's own, or that of the error (see `rlrf4rec.errors`)."""
    args = _parser().parse_args()
    words = _lines(args.command, ResourceError(watcher.KILLED)) if args.command in STAGES + STUDY else ()
    with watcher.last_words(*words) as alone, interrupts.caught() as stop:
        try:
            code = _logged(args, stop)
        except KeyboardInterrupt:  # while the log was opened, or a failure told
            code = _stopped(args.command, stop)
    if alone and code:
        watcher.mute()  # so that the last line stays the last
    return code


def _logged(args: argparse.Namespace, stop: interrupts.Stop) -> int:
    """Run the command and tell its failure; what a stage prints goes to its log as well."""
    staged = args.command in STAGES + STUDY
    log = logs.Log(args.command, args.entry if staged else [])
    with logs.copied(log) if staged else closing(log):
        try:
            return _run(args)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) or stop.signal:
                return _stopped(args.command, stop)
            if isinstance(error, SystemExit):
                raise
            return _failed(args.command, error, log)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rlrf4rec", description="RLRF4Rec; `dvc repro` runs all of its stages.")
    commands = parser.add_subparsers(dest="command", required=True)
    for stage in STAGES + STUDY:
        command = commands.add_parser(stage, help=f"run the stage {stage} (normally through dvc repro)")
        command.add_argument("entry", nargs="*", help="round, policy, backbone ... as in dvc.yaml")
    rounds = commands.add_parser("rounds", help="write the loop of T feedback rounds into params.yaml")
    rounds.add_argument("t", type=int)
    kept = commands.add_parser(
        "store", help="show what killed runs go on from: finished pieces of work, searches, downloads"
    )
    kept.add_argument(
        "--gc", action="store_true", help="remove what was used longest ago, down to --max-gb, and unnamed downloads"
    )
    kept.add_argument("--max-gb", type=float, help="default: store.max_gb of params.yaml; 0 removes everything")
    shown = commands.add_parser("show-prompt", help="print exactly what the LLM gets about a user, and what was cut")
    shown.add_argument("user")
    recipe = commands.add_parser("exp", help="run a recipe of recipes/ as the experiment of its name")
    recipe.add_argument("recipe")
    recipe.add_argument("--write", action="store_true", help="only write its values into params.yaml, as for a branch")
    guess = commands.add_parser("estimate", help="time, memory and disk of the LLM's stages against what there is here")
    guess.add_argument("--recipe", help="with the changes of a recipe")
    comparison.add(commands)
    keeping.add(commands)
    checking.add(commands, STAGES)
    ready.add(commands)
    reproducing.add(commands)
    planning.add(commands)
    return parser


def _run(args: argparse.Namespace) -> int:
    if args.command in COMMANDS:
        return COMMANDS[args.command].run(args)
    if args.command == "rounds":
        from rlrf4rec.params.rounds import write_rounds

        print(write_rounds(Path("params.yaml"), args.t))
    elif args.command == "store":
        show_store(args)
    elif args.command == "show-prompt":
        show_prompt(args.user)
    elif args.command == "exp":
        from rlrf4rec.params import recipes

        if not args.write:
            return recipes.run(args.recipe)
        print(recipes.write(args.recipe))
    elif args.command == "estimate":
        show_estimate(args.recipe)
    else:
        run_stage(args.command, args.entry)
    return 0


def _stopped(command: str, stop: interrupts.Stop) -> int:
    """Say that a signal ended the command; returns the exit code that shells give to it."""
    interrupts.ignore()
    kept = reproducing.STOPPED if command == "reproduce" else "finished work is kept, `dvc repro` goes on from it"
    _last_words(f"rlrf4rec {command}: stopped; {kept}")
    return 128 + (stop.signal or signal.SIGINT)


def _failed(command: str, error: BaseException, log: logs.Log) -> int:
    """Say what is wrong and, in the last line, what to do; returns the exit code."""
    known = error if isinstance(error, RLRFError) else explain(error)
    if error is known:
        _last_words(*_lines(command, known))
        return RLRFError.code if command == "compare" else known.code  # the comparison keeps to its four codes
    try:
        where = log.traceback(error)
    except Exception:  # without memory there is none for a traceback
        where = None
    if known:
        _last_words(*_lines(command, known))
        return known.code
    message = " ".join(str(error).split())
    _last_words(
        *([] if where else [logs.trace(error)]),
        f"rlrf4rec {command}: error: {type(error).__name__}: {message}",
        f"what to do: this is a fault of the program; the traceback is {f'in {where}' if where else 'above'}",
    )
    return FAULT


def _lines(command: str, error: RLRFError) -> tuple[str, str]:
    return f"rlrf4rec {command}: error: {error}", f"what to do: {error.todo}"


def _last_words(*lines: str) -> None:
    """Print lines to stderr at once: between two writes an allocator that lacks memory would put its own words."""
    sys.stdout.flush()
    print("\n".join(logs.redact(line) for line in lines) + "\n", end="", file=sys.stderr, flush=True)


def run_stage(stage: str, entry: list[str]) -> None:
    """Load and check all params, run the stage with its blocks, print its closing line."""
    from rlrf4rec import leftovers, store
    from rlrf4rec.params import load

    versions.check()
    logs.quiet()
    begin = time.monotonic()
    params = load()
    store.EVERY = params.store.seconds
    for folder in ("data", "metrics", "models", "studies", store.place()):
        sweep(Path(folder))
    run = importlib.import_module(f"rlrf4rec.stages.{stage}").run
    blocks = [name for name in inspect.signature(run).parameters if name in type(params).model_fields]
    if len(entry) != len(inspect.signature(run).parameters) - len(blocks):
        raise ParamsError(
            f"{stage} takes {len(inspect.signature(run).parameters) - len(blocks)} argument(s), as in dvc.yaml"
        )
    keys = machine.asked(params, machine.used(params, blocks))
    if keys:
        params = machine.resolve(params)
        _warn_of_bfloat16(params, keys)
    if stage in ("sample", "tune_dpo", "train_dpo") and (estimated := estimate_before(stage, entry, params)):
        print(estimated, file=sys.stderr, flush=True)
    if "loop" in blocks and (found := leftovers.left(params.loop)):
        names = ", ".join(path.as_posix() for path in found)
        message = f"left over, of entries that params.yaml no longer has: {names}; delete them"
        print(message, file=sys.stderr, flush=True)
    given = {name: getattr(params, name) for name in blocks}
    kinds = [getattr(given[block], name) for block, name in (key.split(".") for key in keys)]
    with cost.measured(stage, entry, given, kinds, BEGUN):
        closing = run(*given.values(), *entry)
    if stage == "report":
        for path in leftovers.gone(params.loop, STAGES + STUDY, cost.FOLDER):
            path.unlink()
        cost.write_page(STAGES)
    print(f"{' '.join([stage, *entry[:1]])}: {closing}, {time.monotonic() - begin:.0f} s", flush=True)
    store.clean(params.store.max_gb)


def estimate_before(stage: str, entry: list[str], params: "Params") -> str:
    """What the stage will take; ResourceError when it can't fit."""
    from rlrf4rec import capacity

    return capacity.before(stage, entry, params)


def show_store(args: argparse.Namespace) -> None:
    """Print what lies in the state folder by kind of work, after cleaning it if that is asked."""
    from rlrf4rec import store
    from rlrf4rec.params import load, recipes

    if args.gc:
        params, given = load(), recipes.plain()
        known = [params, *(recipes.resolve(recipes.read(name), given)[1] for name in recipes.names())]
        named = {each.fetch_dataset.sha256 for each in known if each.fetch_dataset.sha256}
        removed, freed = store.clean(params.store.max_gb if args.max_gb is None else args.max_gb, named)
        print(f"removed {removed} pieces of work, {freed / store.GB:.3f} GB")
    shelves = store.shelves()
    for kind in sorted({shelf.kind for shelf in shelves}):
        own = [shelf for shelf in shelves if shelf.kind == kind]
        last = time.strftime("%Y-%m-%d %H:%M", time.localtime(own[0].used))
        size = sum(shelf.size for shelf in own) / store.GB
        print(f"{kind:14} {len(own):5} pieces of work, {size:8.3f} GB, last used {last}")
    print(f"{store.place()}: {sum(shelf.size for shelf in shelves) / store.GB:.3f} GB")


def show_prompt(user: str) -> None:
    """Print what the LLM gets about a user."""
    from rlrf4rec import show

    logs.quiet()
    show.show_prompt(user)


def show_estimate(name: str | None) -> None:
    """Print what the params, or those of a recipe, will take."""
    from rlrf4rec import capacity
    from rlrf4rec.params import load, recipes

    if name is None:
        capacity.show(machine.resolve(load()))
        return
    recipe = recipes.read(name)
    print(f"{name}: {recipe.about}", flush=True)
    capacity.show(machine.resolve(recipes.resolve(recipe, recipes.plain())[1]), recipe)


def _warn_of_bfloat16(params: "Params", keys: list[str]) -> None:
    """One line when the stage computes in bfloat16 where that is slow."""
    half = [key for key in keys if key in machine.asked(params, type(params).model_fields, "bfloat16")]
    if warning := machine.emulated(half, machine.device(params.llm.device)):
        print(warning, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
