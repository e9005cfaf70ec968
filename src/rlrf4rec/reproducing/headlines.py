"""The headline numbers of a run: those of the report's first section and of metrics/summary.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlrf4rec.tables.results import shows_gain

Json = Mapping[str, Any]
METRIC = "ndcg@5"
LEVELS = {"ndcg5_template": "template", "ndcg5_base": "base"}  # of the summary, and whose they are
TUNED = "ndcg5_tuned"
JUDGES = "judges"  # whose reward gain is a claim


@dataclass(frozen=True)
class Headline:
    """A committed number with the half of the width of its 95 % interval.

    low, high: its interval, None for a level, which has none of its own. claimed: whether a gain is claimed by it
    (`shows_gain`); None for what belongs to no family of claims.
    """

    value: float
    tolerance: float
    low: float | None = None
    high: float | None = None
    claimed: bool | None = None


def headlines(evaluate: Json, summary: Json) -> dict[str, Headline]:
    """All of them by name: the claims, the gains by judges and labellers, personal parts, levels.

    A level (`ndcg5_base`) takes half the width of the interval of its difference to the constant: how far a re-ranker
    with this knowledge lies from one without, over users and seeds. Levels without such a difference are left out.
    """
    found = {name: _headline(row, claim=True) for name, row in evaluate.get("family", {}).items()}
    for block, who in (("reward_gain", JUDGES), ("reward_gain_labellers", "labellers")):
        for policy, folds in evaluate.get(block, {}).items():
            # A run from before these users were called so has them as `test`.
            gains, name = folds.get("development") or folds["test"], f"reward gain of {policy}"
            if name not in found or who != JUDGES:
                found[f"{name} by {who}"] = _headline(gains["ndcg"])
            if "ndcg_personal_part" in gains:
                found[f"personal part of the {name} by {who}"] = _headline(gains["ndcg_personal_part"])
    for knowledge, by_backbone in evaluate.get("personal", {}).items():
        if METRIC in by_backbone.get("all", {}):
            found[f"personal part of re-rankers with {knowledge}"] = _headline(by_backbone["all"][METRIC])
    return found | _levels(evaluate, summary)


def _levels(evaluate: Json, summary: Json) -> dict[str, Headline]:
    last = list(evaluate.get("reward_gain", {}))[-1:]
    found = {}
    for key, knowledge in {**LEVELS, **dict.fromkeys([TUNED] if last else [], *last)}.items():
        beside = evaluate.get("differences", {}).get(f"{knowledge} - constant", {}).get("all", {}).get(METRIC)
        if key in summary and beside:
            found[f"{METRIC} with {knowledge}"] = Headline(float(summary[key]), _half(beside))
    return found


def _headline(row: Json, claim: bool = False) -> Headline:
    claimed = shows_gain(row) if claim else None
    return Headline(float(row["difference"]), _half(row), float(row["low"]), float(row["high"]), claimed)


def _half(row: Json) -> float:
    return (float(row["high"]) - float(row["low"])) / 2
