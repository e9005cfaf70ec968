"""One comparison of two revisions, and a set of experiments against one revision."""

from dataclasses import dataclass, field, replace
from typing import Any

from rlrf4rec.errors import InputError, RLRFError
from rlrf4rec.evaluation.compare import with_holm
from rlrf4rec.revisions import git, state, studies
from rlrf4rec.revisions.changes import Changes, changes, other_metric_code, reasons, unfit
from rlrf4rec.revisions.differences import chosen, differences, worse
from rlrf4rec.revisions.git import Revision
from rlrf4rec.revisions.state import State

HEADLINE = "ndcg@5"
Row = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What the command line asks for: filters of the rows, and metrics that must not get worse."""

    metrics: list[str] = field(default_factory=list)
    knowledge: list[str] = field(default_factory=list)
    fail_if_worse: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Comparison:
    """B against A. With `reasons` the two are not comparable and `summary`, `rows` and `worse` are empty.

    summary: rows {metric, a, b, change} of summary.json, a key missing where a side has none, and words have no change;
    rows: see `differences`.
    """

    a: Revision
    b: Revision
    changes: Changes
    notes: list[str]
    reasons: list[str]
    summary: list[Row]
    rows: list[Row]
    family: int  # comparisons that p_holm is adjusted for
    worse: list[Row]


@dataclass(frozen=True)
class Tried:
    """An experiment: its comparison with A, or why it can't be read."""

    name: str
    comparison: Comparison | None
    fault: str


def compare(a: State, b: State, asked: Asked) -> Comparison:
    """Everything that is reported of B against A; ParamsError for a filter or metric that no shared row has."""
    refused = reasons(a, b)
    rows, left_out = ([], []) if refused else differences(a, b)
    bad = [] if refused else [row for metric in asked.fail_if_worse for row in worse(rows, metric, left_out)]
    return Comparison(
        a=a.revision,
        b=b.revision,
        changes=changes(a, b),
        notes=[*unfit(a), *unfit(b), *other_metric_code(a, b), *_studies(a), *_studies(b), *left_out],
        reasons=refused,
        summary=[] if refused else _summary(a.summary, b.summary),
        rows=[] if refused else chosen(rows, asked.metrics, asked.knowledge),
        family=len(rows),
        worse=bad,
    )


def _studies(state: State) -> list[str]:
    written = {path: md5 for stage in state.stages.values() for path, md5 in stage.outs.items()}
    return studies.older(state.revision, written)


def of_experiments(a: State, asked: Asked) -> Asked:
    """What the table of experiments shows where nothing is asked for: the headline metric of the last policy."""
    last = [key.split(".")[2] for key in a.params if key.startswith("loop.rounds.")][-1:]
    return replace(asked, metrics=asked.metrics or [HEADLINE], knowledge=asked.knowledge or last)


def try_all(a: State, asked: Asked) -> tuple[list[Tried], list[str]]:
    """Every experiment that started from HEAD against `a`, by name, and sentences about those left out.

    InputError when HEAD has no experiment. `p_holm` of the rows is adjusted again: over all rows of all experiments.
    """
    head = git.resolve("HEAD").commit
    known = git.experiments()
    own = sorted((e for e in known if e.baseline == head), key=lambda e: e.name)
    notes = unfit(a) + [f"{what} ({n})" for ref, what in WAITING.items() if (n := git.entries(ref))]
    others = [f"{e.name} (of {e.baseline:.7})" for e in known if e.baseline != head]
    if others:
        notes.append(f"experiments of other commits, to be compared by name: {', '.join(others)}")
    if not own:
        raise InputError(
            "; ".join([f"no experiment of HEAD ({head:.7}); `dvc exp run -n NAME -S ...` makes one", *notes])
        )
    tried = [_try(a, Revision(e.name, e.commit), asked) for e in own]
    return _holm_over_all(tried), notes


WAITING = {
    git.QUEUED: "experiments wait in the queue or are running; `dvc queue start` runs them",
    git.FAILED: "experiments failed; `dvc queue logs TASK` says why",
}


def _try(a: State, revision: Revision, asked: Asked) -> Tried:
    try:
        found = compare(a, state.load(revision), asked)
        own = [note for note in found.notes if note not in unfit(a)]
        return Tried(revision.name, replace(found, notes=own), "")
    except RLRFError as error:
        return Tried(revision.name, None, str(error))


def _holm_over_all(tried: list[Tried]) -> list[Tried]:
    rows = {f"{i} {j}": row for i, t in enumerate(tried) if t.comparison for j, row in enumerate(t.comparison.rows)}
    for key, row in with_holm(rows).items():
        rows[key].update(p_holm=row["p_holm"])
    return tried


def _summary(a: dict[str, float | str], b: dict[str, float | str]) -> list[Row]:
    rows = []
    for metric in [*a, *(m for m in b if m not in a)]:
        row: Row = {"metric": metric} | {side: of[metric] for side, of in (("a", a), ("b", b)) if metric in of}
        old, new = row.get("a"), row.get("b")
        if isinstance(old, float) and isinstance(new, float):
            row["change"] = new - old
        rows.append(row)
    return rows
