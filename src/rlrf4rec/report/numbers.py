"""How numbers, intervals and verdicts are worded."""

from collections.abc import Mapping
from typing import Any

from rlrf4rec.report.blocks import Note
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


COLUMNS = ("difference", "95 % interval", "p", "p (Holm)", "detectable", "users", "seeds")


def verdict(what: str, metric: str, d: Mapping[str, Any]) -> Note:
    """One plain sentence about a difference, from its numbers alone."""
    numbers = f"{signed(d['difference'])} {metric}, 95 % interval {interval(d)}"
    if shows_gain(d):
        return Note(f"{what}: gain shown ({numbers}).", "gain")
    if d["high"] < 0:
        return Note(f"{what}: no gain; a loss is shown ({numbers}).", "loss")
    if d["low"] > 0:
        test = "Holm's correction" if "p_holm" in d else "the permutation test"
        p = chance(d.get("p_holm", d.get("p")))
        return Note(
            f"{what}: no gain shown ({numbers}): the interval lies above zero, but the comparison does not survive "
            f"{test} (p = {p}).",
            "null",
        )
    sentence = f"{what}: no gain shown ({numbers}); a gain above {signed(d['high'])} was excluded"
    if d.get("mde") is not None:
        sentence += f"; this test would have found an effect of {plain(d['mde'])} four times out of five"
    return Note(sentence + ".", "null")
