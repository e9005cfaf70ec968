"""Is a search worth its cost? The built-in hyperparameters against the best that a search found."""

from collections.abc import Mapping
from typing import Any

from rlrf4rec.report import numbers
from rlrf4rec.report.blocks import Note, PageBlock, TableBlock

Json = Mapping[str, Any]
SEARCHES = {
    "tune_reward": ("reward model, by the personal part of validation users in nats", "validation_personal_part"),
    "tune_dpo": ("DPO, by the reward gain of held-out train users", "heldout_reward_gain"),
}  # stage: what it searches by which measure, and that measure's name
GAINED = "gained, by the measure it chose by"
ABOUT = (
    "What a search gained is the best of its trials by the very measure that it chose by, so it is more than new users "
    "would show. The reward model's built-in values stand with their best epoch, by the same measure in hindsight."
)
NAMES = ("learning_rate", "weight_decay", "width", "epochs", "beta")


def table(found: Mapping[str, Json], seconds: Mapping[str, float] | None = None) -> list[PageBlock]:
    """A row a search that had trials; `found`: metrics by stage, `seconds`: CPU-seconds by stage, None: not shown.

    The built-in values are the first trial, so both have been judged by the same measure.
    """
    rows = tuple(
        (*_row(stage, found[stage]), *([] if seconds is None else [_spent(seconds.get(stage))]))
        for stage in SEARCHES
        if found.get(stage, {}).get("trials")
    )
    cost = () if seconds is None else ("CPU-seconds of the search",)
    columns = ("search", "built-in values", "best values", "built-in reach", "best reach", GAINED, "trials", *cost)
    caption = "Built-in hyperparameters against searched ones"
    return [Note(ABOUT), TableBlock(caption, columns, rows, words=3)] if rows else []


def _row(stage: str, found: Json) -> tuple[str, ...]:
    what, measure = SEARCHES[stage]
    default, best = found.get("default") or {}, found.get(measure)
    first = default.get(measure)
    gained = None if first is None or best is None else best - first
    reached = (numbers.plain(first), numbers.plain(best), numbers.signed(gained))
    return what, _values(default), _values(found), *reached, str(found["trials"])


def _values(found: Json) -> str:
    shown = [f"{name.replace('_', ' ')} {numbers.compact(found[name])}" for name in NAMES if name in found]
    return ", ".join(shown) or numbers.DASH


def _spent(seconds: float | None) -> str:
    return numbers.DASH if seconds is None else f"{seconds:.0f}"
