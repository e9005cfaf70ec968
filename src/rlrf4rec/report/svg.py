"""Static SVG that fits any width: horizontal places are per cent, heights and letters are pixels.

Lines across the plot are drawn in an inner picture that is stretched without stretching its strokes. Every text
passes through Markup.format, which escapes it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from rlrf4rec.report.numbers import MINUS

LEFT, RIGHT = 5.0, 95.0  # per cent of the width
LETTER = 14  # px
SHAPES = {
    "diamond": "M0,-7L7,0L0,7L-7,0Z",
    "circle": "M-4.5,0a4.5,4.5 0 1,0 9,0a4.5,4.5 0 1,0 -9,0Z",
    "square": "M-4,-4H4V4H-4Z",
    "triangle": "M0,-5L5,4H-5Z",
    "cross": "M-4,-4L4,4M4,-4L-4,4",
}


@dataclass(frozen=True)
class Axis:
    """Maps [low, high] to [begin, end]."""

    low: float
    high: float
    begin: float = LEFT
    end: float = RIGHT

    def at(self, value: float) -> float:
        """Place of a value, two decimals."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.begin + share * (self.end - self.begin), 2)


def span(values: Sequence[float], around: Sequence[float] = (), margin: float = 0.06) -> tuple[float, float]:
    """Range of all values with a margin on both sides; never of width 0."""
    every = [*values, *around]
    low, high = min(every), max(every)
    room = (high - low) * margin or abs(high) * margin or 1.0
    return low - room, high + room


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About `count` round numbers in [low, high]: multiples of 1, 2 or 5 times a power of ten.

    >>> ticks(-0.011, 0.042)
    [-0.01, 0.0, 0.01, 0.02, 0.03, 0.04]
    >>> ticks(0, 47)
    [0.0, 10.0, 20.0, 30.0, 40.0]
    """
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((power * m for m in (1, 2, 5, 10)), key=lambda s: abs(math.log(s / rough)))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) + 0.0 for i in range(first, last + 1)]


def number(value: float) -> str:
    """A tick's label."""
    return f"{value:.10g}".replace("-", MINUS)


def text(x: float, y: float, content: str, css: str = "", anchor: str = "start") -> Markup:
    """Text at x per cent and y pixels."""
    return Markup('<text x="{}%" y="{}" class="{}" text-anchor="{}">{}</text>').format(
        round(x, 2), round(y, 2), css, anchor, content
    )


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> Markup:
    """A straight line; x in per cent."""
    return Markup('<line x1="{}%" y1="{}" x2="{}%" y2="{}" class="{}"/>').format(
        round(x1, 2), round(y1, 2), round(x2, 2), round(y2, 2), css
    )


def rectangle(x: float, y: float, width: float, height: float, css: str) -> Markup:
    """A filled box; x and width in per cent."""
    return Markup('<rect x="{}%" y="{}" width="{}%" height="{}" class="{}"/>').format(
        round(x, 2), round(y, 2), round(width, 2), round(height, 2), css
    )


def mark(shape: str, x: float, y: float, css: str) -> Markup:
    """A shape of constant size at x per cent and y pixels."""
    return Markup('<svg x="{}%" y="{}" width="1" height="1" overflow="visible"><path d="{}" class="{}"/></svg>').format(
        round(x, 2), round(y, 2), SHAPES[shape], css
    )


def curve(points: Sequence[tuple[float, float]], top: float, height: float, css: str) -> Markup:
    """A broken line; points as (per cent of the width, pixels below `top`)."""
    path = " ".join(f"{x * 10:.1f},{y / height * 1000:.1f}" for x, y in points)
    return Markup(
        '<svg x="0" y="{}" width="100%" height="{}" viewBox="0 0 1000 1000" preserveAspectRatio="none">'
        '<polyline points="{}" class="{}" vector-effect="non-scaling-stroke"/></svg>'
    ).format(round(top, 2), round(height, 2), path, css)


def picture(slug: str, title: str, description: str, height: float, parts: Sequence[Markup]) -> Markup:
    """The whole picture with its text for those who don't see it; `slug` is unique on the page."""
    return Markup(
        '<svg class="plot" role="img" width="100%" height="{}" aria-labelledby="{}-title {}-text">'
        '<title id="{}-title">{}</title><desc id="{}-text">{}</desc>{}</svg>'
    ).format(round(height), slug, slug, slug, title, slug, description, Markup("").join(parts))
