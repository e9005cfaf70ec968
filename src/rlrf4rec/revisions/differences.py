"""Paired differences between two revisions, one for each metric and knowledge that both have."""

from typing import Any

import numpy as np

from rlrf4rec.errors import InputError, ParamsError
from rlrf4rec.evaluation import compare
from rlrf4rec.metrics.statistics import Array
from rlrf4rec.revisions.changes import other_judges
from rlrf4rec.revisions.state import PER_USER, Cell, State

FROZEN = "frozen"  # backbone of the reward rows: judged by frozen re-rankers, none trained again
RESAMPLES, SEED = 10_000, 20
Row = dict[str, Any]
Key = tuple[str, str]


def differences(a: State, b: State) -> tuple[list[Row], list[str]]:
    """Rows of shared (metric, knowledge), and sentences about what is left out.

    A row holds both means, `difference` b - a averaged over the backbones that both have, 95 % interval `low`,
    `high`, `p`, `p_holm` over all rows, `mde`, `users`, `seeds`, `by_seed` and `backbones`.
    """
    left_out = []
    keys = [_keys(s) for s in (a, b)]
    for own, other, side in ((keys[0], keys[1], "A"), (keys[1], keys[0], "B")):
        if only := [f"{knowledge} ({metric})" for metric, knowledge in own if (metric, knowledge) not in other]:
            left_out.append(f"only in {side}: {', '.join(only)}")
    judges = other_judges(a, b)
    if judges and any(cell[1] == FROZEN for cell in a.cells):
        left_out.append(
            "rewards: the frozen re-rankers (models/train_reward) differ, and another judge is another scale"
        )
    family = {}
    for key in keys[0]:
        if key not in keys[1]:
            continue
        backbones = [k[1] for k in a.cells if (k[0], k[2]) == key and k in b.cells and not (judges and k[1] == FROZEN)]
        if backbones:
            family[key] = _row(a, b, key, backbones)
    holm = compare.with_holm({"\n".join(key): row for key, row in family.items()})
    return list(holm.values()), left_out


def worse(rows: list[Row], metric: str, left_out: list[str]) -> list[Row]:
    """Rows of `metric` whose interval lies wholly below zero; ParamsError when no row is of that metric."""
    own = [row for row in rows if row["metric"] == metric]
    if not own:
        known = ", ".join(sorted({row["metric"] for row in rows})) or "there are none"
        raise ParamsError("; ".join([f"metric {metric!r}: not among the compared ones: {known}", *left_out]))
    return [row for row in own if row["high"] < 0]


def chosen(rows: list[Row], metrics: list[str], knowledge: list[str]) -> list[Row]:
    """Rows of the named metrics and knowledge (all where none is named); ParamsError for a name that no row has."""
    for column, names in (("metric", metrics), ("knowledge", knowledge)):
        known = sorted({row[column] for row in rows})
        for name in names:
            if name not in known:
                raise ParamsError(
                    f"{column} {name!r}: not among the compared ones: {', '.join(known) or 'there are none'}"
                )
    return [
        r
        for r in rows
        if r["metric"] in (metrics or [r["metric"]]) and r["knowledge"] in (knowledge or [r["knowledge"]])
    ]


def _keys(state: State) -> list[Key]:
    return list(dict.fromkeys((metric, knowledge) for metric, _, knowledge in state.cells))


def _row(a: State, b: State, key: Key, backbones: list[str]) -> Row:
    metric, knowledge = key
    old = [a.cells[metric, backbone, knowledge] for backbone in backbones]
    new = [b.cells[metric, backbone, knowledge] for backbone in backbones]
    if len({cell.users for cell in (*old, *new)}) > 1:
        raise InputError(
            f"{PER_USER}: {metric} with {knowledge}: other users in A, B or another backbone; "
            "run `dvc repro evaluate` in both revisions"
        )
    values = difference(old, new)
    by_seed = values.mean(axis=0).tolist() if values.ndim == 2 else []
    return {
        "metric": metric,
        "knowledge": knowledge,
        "a": float(np.mean([cell.values.mean() for cell in old])),
        "b": float(np.mean([cell.values.mean() for cell in new])),
        **compare.difference(values, RESAMPLES, SEED),
        "by_seed": by_seed,
        "backbones": backbones,
    }


def difference(old: list[Cell], new: list[Cell]) -> Array:
    """new - old, averaged over backbones.

    [users, seeds] when all have the same number of seeds, more than one: they are paired by index, as both runs
    derive them by name from the same seed. Else every re-ranker is averaged over its seeds first: [users].
    """
    counts = {cell.values.shape[1] for cell in (*old, *new)}
    if len(counts) == 1 and counts != {1}:
        paired: Array = np.mean([n.values - o.values for o, n in zip(old, new, strict=True)], axis=0)
        return paired
    alone: Array = np.mean([n.values.mean(1) - o.values.mean(1) for o, n in zip(old, new, strict=True)], axis=0)
    return alone
