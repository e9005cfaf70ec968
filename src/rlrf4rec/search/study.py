"""Optuna studies that resume: a journal in the state folder, named by what the study depends on."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from rlrf4rec import store
from rlrf4rec.errors import InputError
from rlrf4rec.files import atomic, fingerprint, read_json, sha256
from rlrf4rec.progress import Progress
from rlrf4rec.seeds import derive

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def identity(settings: Any, files: list[Path]) -> str:
    """Names a study by its settings and the content of the files it depends on."""
    return fingerprint([settings, [[p.as_posix(), sha256(p)] for p in files]])


def run(
    name: str,
    key: str,
    objective: Callable[[optuna.Trial], float],
    n_trials: int,
    seed: int,
    startup: int,
    warmup: int,
    default: dict[str, Any] | None = None,
) -> list[optuna.trial.FrozenTrial]:
    """Maximise until `n_trials` are complete or pruned, those of a killed run counted; returns these trials.

    A killed trial stays RUNNING in the journal and is done again. The sampler's seed depends on the number of
    finished trials: a sampler made anew on resumption would repeat the first suggestions. `default` is tried first.
    Pruning (by the median) starts after `startup` trials and, within a trial, after `warmup` reports.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = store.folder() / store.STUDIES
    folder.mkdir(exist_ok=True)
    journal = folder / f"{name}-{key[:16]}.log"
    pruner = optuna.pruners.MedianPruner(n_startup_trials=startup, n_warmup_steps=warmup)
    with store.alone(journal.stem):
        _mend(journal)
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(journal))),
            study_name=key,
            direction="maximize",
            pruner=pruner,
            load_if_exists=True,
        )
        finished = finished_trials(study)
        store.take(min(len(finished), n_trials))
        progress = Progress(max(0, n_trials - len(finished)), name)
        waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        if default and not finished and not waiting:  # a killed first trial was this one: it is tried again
            study.enqueue_trial(default)
        while len(finished) < n_trials:
            study.sampler = optuna.samplers.TPESampler(
                seed=derive(seed, name, len(finished)),
                n_startup_trials=startup,
                multivariate=False,
                constant_liar=False,
            )
            study.optimize(objective, n_trials=1)
            finished = finished_trials(study)
            last = finished[-1]
            value = last.value if last.value is not None else float("nan")
            progress.advance(1, f"{last.state.name.lower()} {value:.4f}")
        progress.close()
    return finished[:n_trials]


def _mend(journal: Path) -> None:
    """Remove what a killed process has left: Optuna's lock, and a last line that was half-written."""
    for lock in journal.parent.glob(f"{journal.name}.lock*"):
        lock.unlink(missing_ok=True)
    if journal.exists():
        content = journal.read_bytes()
        if not content.endswith(b"\n"):
            with atomic(journal) as temporary:
                temporary.write_bytes(content[: content.rfind(b"\n") + 1])


def finished_trials(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials that are complete or pruned, in order."""
    return study.get_trials(deepcopy=False, states=FINISHED)


def best(trials: list[optuna.trial.FrozenTrial]) -> optuna.trial.FrozenTrial | None:
    """The complete trial with the highest value, the earliest among equals; None without one."""
    complete = [t for t in trials if t.state is TrialState.COMPLETE and t.value is not None]
    return max(complete, key=lambda t: (t.value, -t.number)) if complete else None


def rows(trials: list[optuna.trial.FrozenTrial]) -> list[dict[str, Any]]:
    """Trials as rows for a CSV: number, state, value, best so far, params; no times, so the file is byte-stable."""
    table, highest = [], float("-inf")
    for number, trial in enumerate(trials):
        if trial.state is TrialState.COMPLETE and trial.value is not None:
            highest = max(highest, trial.value)
        shown = "" if highest == float("-inf") else highest
        value = trial.value if trial.value is not None else ""
        table.append({"trial": number, "state": trial.state.name, "value": value, "best_so_far": shown, **trial.params})
    return table


def default(trials: list[optuna.trial.FrozenTrial], measure: str) -> dict[str, Any] | None:
    """The values that were tried first, `default` of `run`, and what they reached as `measure`; None without them."""
    first = next((t for t in trials if "fixed_params" in t.system_attrs and t.value is not None), None)
    return {measure: first.value, **first.params, **first.user_attrs} if first else None


EDGE = 0.05  # of a range, on its logarithm


def at_edge(found: dict[str, Any], ranges: dict[str, list[float]]) -> list[str]:
    """Names of the values that lie within 5 % of an end of their range [low, high], by logarithm: it may be too narrow.

    A range of one point has no ends.
    """
    places = {
        name: math.log(found[name] / low) / math.log(high / low)
        for name, (low, high) in ranges.items()
        if name in found and high > low
    }
    return [name for name, place in places.items() if not EDGE <= place <= 1 - EDGE]


def edge_note(edges: list[str]) -> str:
    """What a closing line says of values at an edge."""
    return f"; at the edge of its range: {', '.join(edges)}" if edges else ""


def searched(path: Path, defaults: Mapping[str, Any], stage: str) -> dict[str, Any]:
    """What the search of a stage has found, the file `path`: a number for each default, or nothing when it was off.

    InputError otherwise: for a value that is lost the default would be taken, and nobody would see it.
    """
    found, again = read_json(path), f"run `dvc repro {stage}`"
    names = list(defaults) if found else []
    if lacking := [name for name in names if name not in found]:
        raise InputError(f"{path}: no {lacking[0]}; {again}")
    if odd := [name for name in names if not _fits(found[name], defaults[name])]:
        raise InputError(f"{path}: {odd[0]} {found[odd[0]]!r} is no such number; {again}")
    return found


def _fits(value: Any, default: float) -> bool:
    """Whether it is a number above zero, whole where the default is."""
    kinds = int if isinstance(default, int) else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool) and 0 < value < math.inf


def join(pinned: dict[str, Any], searched: dict[str, Any], defaults: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The one rule that joins params and search: a pinned value wins, then the search's best, then the default.

    Returns the values and a phrase that says which came from where.
    """
    values, sources = {}, []
    for name, default in defaults.items():
        if pinned.get(name) is not None:
            values[name], source = pinned[name], "params.yaml"
        elif searched.get(name) is not None:
            values[name], source = searched[name], "search"
        else:
            values[name], source = default, "default"
        sources.append(f"{name}={values[name]:.4g} ({source})")
    return values, ", ".join(sources)
