"""The kinds of picture on the page, as pure functions from numbers to SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from rlrf4rec.report.svg import (
    LEFT,
    LETTER,
    RIGHT,
    Axis,
    curve,
    line,
    mark,
    number,
    picture,
    rectangle,
    span,
    text,
    ticks,
)

STYLES = ("circle", "square", "triangle", "cross")  # shape of the n-th series; its colour is the class s<n>
LANE = 11  # px between the seeds of two backbones
PLOT = 190  # px, height of curves and bars
INDENT = 14.0  # per cent, room for the numbers of the y axis


@dataclass(frozen=True)
class Effect:
    """A row of a forest plot: estimate and interval, and the single values behind it by series."""

    label: str
    difference: float | None
    low: float | None
    high: float | None
    single: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class Series:
    """A curve: x and y of equal length, and where there is one, the rough curve that it smooths."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    rough: tuple[float, ...] = ()


def forest(slug: str, title: str, description: str, effects: Sequence[Effect], series: Sequence[str]) -> Markup:
    """Intervals about zero, one row per effect; below each interval a lane of single values per series."""
    known = [v for e in effects for v in (e.difference, e.low, e.high) if v is not None]
    axis = Axis(*span([*known, *(v for e in effects for lane in e.single for v in lane)], [0.0]))
    pooled = any(e.difference is not None for e in effects)
    lanes = max((len(e.single) for e in effects), default=0)
    begin, row = _legend_height(len(series) + pooled), 38 + LANE * lanes
    end = begin + row * len(effects)
    parts = _legend([("diamond", "pooled", "difference and its 95 % interval")] if pooled else [], series)
    parts += [line(axis.at(t), begin, axis.at(t), end, "grid") for t in ticks(axis.low, axis.high)]
    parts.append(line(axis.at(0), begin, axis.at(0), end, "zero"))
    for i, effect in enumerate(effects):
        top = begin + row * i
        parts.append(text(0, top + LETTER, effect.label, "label"))
        if effect.low is not None and effect.high is not None:
            parts.append(line(axis.at(effect.low), top + 25, axis.at(effect.high), top + 25, "pooled bold"))
        if effect.difference is not None:
            parts.append(mark("diamond", axis.at(effect.difference), top + 25, "pooled"))
        for n, lane in enumerate(effect.single):
            y = top + 25 + LANE * (n + (effect.difference is not None))
            parts += [mark(_shape(n), axis.at(value), y, _style(n)) for value in lane]
    parts += _bottom(axis, end)
    return picture(slug, title, description, end + 24, parts)


def curves(slug: str, title: str, description: str, series: Sequence[Series], zero: bool, x_label: str) -> Markup:
    """Curves over a common x axis; `zero` draws the line y = 0 and keeps it in view."""
    around = [0.0] if zero else []
    rough = [v for s in series for v in s.rough]
    y_axis = Axis(*span([*rough, *(v for s in series for v in s.y)], around), begin=PLOT, end=0)
    x_axis = Axis(*_width([v for s in series for v in s.x]), begin=INDENT)
    begin = _legend_height(len(series)) + 12
    parts = [*_legend([], [s.name for s in series]), *_levels(y_axis, begin)]
    if zero:
        parts.append(line(0, begin + y_axis.at(0), 100, begin + y_axis.at(0), "zero"))
    for n, s in enumerate(series):
        if s.rough:
            points = [(x_axis.at(x), y_axis.at(y)) for x, y in zip(s.x, s.rough, strict=True)]
            parts.append(curve(points, begin, PLOT, f"{_style(n)} curve rough"))
    for n, s in enumerate(series):
        points = [(x_axis.at(x), y_axis.at(y)) for x, y in zip(s.x, s.y, strict=True)]
        parts.append(curve(points, begin, PLOT, f"{_style(n)} curve"))
        every = max(1, len(points) // 6)
        offset = n * every // max(1, len(series))  # so that marks of near curves don't hide each other
        parts += [mark(_shape(n), x, begin + y, _style(n)) for x, y in points[offset::every]]
    parts += _bottom(x_axis, begin + PLOT, x_label)
    return picture(slug, title, description, begin + PLOT + 42, parts)


def trials(slug: str, title: str, description: str, values: Sequence[float]) -> Markup:
    """A search: the value of every trial as a dot, the best so far (the largest) as a line."""
    y_axis = Axis(*span(values), begin=PLOT, end=0)
    x_axis = Axis(-0.5, len(values) - 0.5, begin=INDENT)
    begin = _legend_height(2) + 12
    parts = _legend([("circle", "s0", "trial"), ("dash", "s1 curve", "best so far")], [])
    parts += _levels(y_axis, begin)
    steps: list[tuple[float, float]] = []
    for i in range(len(values)):
        y = y_axis.at(max(values[: i + 1]))
        steps += [(x_axis.at(i - 0.5), y), (x_axis.at(i + 0.5), y)]
    parts.append(curve(steps, begin, PLOT, "s1 curve"))
    parts += [mark("circle", x_axis.at(i), begin + y_axis.at(v), "s0") for i, v in enumerate(values)]
    places = [t for t in ticks(0, len(values) - 1) if t == int(t)] if len(values) > 1 else [0.0]
    parts += _bottom(x_axis, begin + PLOT, "trial", places)
    return picture(slug, title, description, begin + PLOT + 42, parts)


def bars(
    slug: str, title: str, description: str, centres: Sequence[float], counts: Sequence[int], x_label: str
) -> Markup:
    """A histogram with bins of equal width around `centres`."""
    width = (centres[-1] - centres[0]) / max(1, len(centres) - 1) or 1.0
    x_axis = Axis(centres[0] - width / 2, centres[-1] + width / 2, begin=INDENT)
    y_axis = Axis(0, max([*counts, 1]) * 1.12, begin=PLOT, end=0)
    begin = 14
    parts = _levels(y_axis, begin)
    for centre, count in zip(centres, counts, strict=True):
        left, right = x_axis.at(centre - width * 0.46), x_axis.at(centre + width * 0.46)
        parts.append(rectangle(left, begin + y_axis.at(count), right - left, PLOT - y_axis.at(count), "s0 bar"))
    parts += _bottom(x_axis, begin + PLOT, x_label)
    return picture(slug, title, description, begin + PLOT + 42, parts)


def _shape(n: int) -> str:
    return STYLES[n % len(STYLES)]


def _style(n: int) -> str:
    return f"s{n % len(STYLES)}"


def _width(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _legend_height(entries: int) -> int:
    return 20 * entries + 6 if entries else 0


def _legend(first: Sequence[tuple[str, str, str]], series: Sequence[str]) -> list[Markup]:
    """One line per entry, so that it fits a narrow screen; marks in a column of 6 % of the width."""
    entries = [*first, *((_shape(n), _style(n), name) for n, name in enumerate(series))]
    parts = []
    for i, (shape, style, name) in enumerate(entries):
        y = 10 + 20 * i
        parts.append(line(0.5, y, 4.5, y, style) if shape == "dash" else mark(shape, 2.5, y, style))
        parts.append(text(6, y + 5, name))
    return parts


def _levels(axis: Axis, begin: float) -> list[Markup]:
    """Horizontal grid lines with their numbers above them."""
    parts = []
    for value in ticks(axis.low, axis.high):
        y = begin + axis.at(value)
        parts += [line(0, y, 100, y, "grid"), text(0, y - 4, number(value), "tick halo")]
    return parts


def _bottom(axis: Axis, y: float, label: str = "", places: Sequence[float] | None = None) -> list[Markup]:
    """The x axis: line, numbers, name."""
    parts = [line(0, y, 100, y, "axis")]
    for value in ticks(axis.low, axis.high) if places is None else places:
        parts += [
            line(axis.at(value), y, axis.at(value), y + 4, "axis"),
            text(min(max(axis.at(value), LEFT), RIGHT), y + 18, number(value), "tick", "middle"),
        ]
    return [*parts, text(50, y + 36, label, "tick", "middle")] if label else parts
