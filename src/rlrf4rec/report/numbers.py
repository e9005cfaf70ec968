"""How numbers, intervals and verdicts are worded."""

from collections.abc import Mapping
from typing import Any

from rlrf4rec.report.blocks import Note, Tone
from rlrf4rec.tables.results import shows_gain

DASH = "\N{EN DASH}"  # for what is absent
MINUS = "\N{MINUS SIGN}"


def plain(value: Any, digits: int = 4) -> str:
    """Whole numbers as they are, others with `digits` decimals, lists one by one, a dash for what is absent.

    >>> plain(0.54321), plain(235), plain(None), plain(-0.5, 1)
    ('0.5432', '235', '–', '−0.5')
    """
    if value is None or value != value:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f").replace("-", MINUS)
    if isinstance(value, list):
        return " ".join(plain(v, digits) for v in value)
    if isinstance(value, float):
        return f"{value:.{digits}f}".replace("-", MINUS)
    return str(value)


def compact(value: Any) -> str:
    """Four significant digits, for numbers whose size is not known beforehand."""
    return f"{value:.4g}".replace("-", MINUS) if isinstance(value, float) and value == value else plain(value)


def signed(value: float | None, digits: int = 4) -> str:
    """With its sign; zero has none.

    >>> signed(0.00021), signed(-0.25, 2), signed(0.0), signed(None)
    ('+0.0002', '−0.25', '0.0000', '–')
    """
    if value is None or value != value:
        return DASH
    text = f"{value:+.{digits}f}"
    return text.replace("-", MINUS) if float(text) else text[1:]


def interval(d: Mapping[str, Any]) -> str:
    """`[low, high]` of a difference."""
    if d.get("low") is None or d.get("high") is None:
        return DASH
    return f"[{signed(d['low'])}, {signed(d['high'])}]"


def chance(p: float | None) -> str:
    """A p value.

    >>> chance(0.4321), chance(0.0004), chance(None)
    ('0.432', '<0.001', '–')
    """
    if p is None or p != p:
        return DASH
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def row(d: Mapping[str, Any]) -> tuple[str, ...]:
    """Cells of a difference, in the order of COLUMNS."""
    return (
        signed(d.get("difference")),
        interval(d),
        chance(d.get("p")),
        chance(d.get("p_holm")),
        plain(d.get("mde")),
        plain(d.get("users")),
        plain(d.get("seeds")),
    )


def seconds(spent: float, kept: bool, digits: int = 0) -> str:
    """CPU-seconds; at least so many where kept pieces of work, which cost nothing, were a part of it.

    >>> seconds(48.31, False, 1), seconds(48.31, True)
    ('48.3', '≥ 48')
    """
    return f"{'≥ ' if kept else ''}{spent:.{digits}f}"


COLUMNS = ("difference", "95 % interval", "p", "p (Holm)", "detectable", "users", "seeds")


def by_list(d: Mapping[str, Any]) -> str:
    """A difference as the mean over lists, with its interval; a dash where it is known by user alone."""
    found = d.get("over_lists", {})
    return f"{signed(found['difference'])} {interval(found)}" if found else DASH


def by_policy(d: Mapping[str, Any]) -> str:
    """The interval of a difference by the means of its policies alone; a dash where that is not known."""
    return interval(d["over_policies"]) if "over_policies" in d else DASH


def verdict(what: str, metric: str, d: Mapping[str, Any]) -> Note:
    """Plain sentences about a difference, from its numbers alone: whose gain it is, and what it is by list."""
    said, tone = _said(d, f"({signed(d['difference'])} {metric}, 95 % interval {interval(d)})")
    beside = f" As a mean over lists, not users: {by_list(d)}." if "over_lists" in d else ""
    return Note(f"{what}: {said}.{beside}", tone)


def _said(d: Mapping[str, Any], numbers: str) -> tuple[str, Tone]:
    several = d.get("policies", 1) > 1
    gain = f"gain over {d['policies']} policies" if several else "gain of this one policy"
    if shows_gain(d):
        return f"{gain} shown {numbers}", "gain"
    if d["high"] < 0:
        return f"no gain; a loss {gain.removeprefix('gain ')} is shown {numbers}", "loss"
    if d["low"] > 0:
        test = "Holm's correction" if "p_holm" in d else "the permutation test"
        p = chance(d.get("p_holm", d.get("p")))
        why = f"the interval lies above zero, but the comparison does not survive {test} (p = {p})"
        return f"no {gain} shown {numbers}: {why}", "null"
    sentence = f"no {gain} shown {numbers}; a gain up to {signed(d['high'])} fits these data"
    if not several:
        sentence += ", and another policy may lie outside"
    if d.get("mde") is not None:
        sentence += f"; this test would have found an effect of {plain(d['mde'])} four times out of five"
    return sentence, "null"
