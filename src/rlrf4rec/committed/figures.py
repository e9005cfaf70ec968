"""Figures of a result in Markdown, and whether numbers of metrics files give them when rounded as the text has them.

A figure with an interval (`+0.0163 NDCG@5 [0.0070, 0.0260]`) is looked for as a whole: one object of a file has to hold
all three as `difference` (of metrics/reproduced.json: `value`), `low` and `high`, or under keys `x`, `x_low`, `x_high`.
A signed one alone is a difference, or a number of a file that has none. Others may be any number but those in lists:
metrics files hold the values of each seed in lists, and among so many nearly every number of two or three digits
occurs. A figure of few digits is still found by chance now and then; one with an interval hardly ever.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NUMBER = r"[+\-\u2212]?(?:\d*\.\d+|\d+(?:\.\d+)?(?= ?%))"
START, END = r"(?<![\w./=-])", r"(?![\w.]*\w)"
INTERVAL = re.compile(
    rf"(?:{START}({NUMBER})(?:\s+(?:NDCG|MAP)@\d+)?\s+)?\[({NUMBER}),\s+({NUMBER})\](?!\()", re.IGNORECASE
)
FIGURE = re.compile(rf"{START}({NUMBER})( ?%)?{END}")
CODE = re.compile(r"```.*?```|`[^`]*`|\]\([^)]*\)", re.DOTALL)
# Versions, and the level of every interval.
VERSION = re.compile(r"(?:Python|[Vv]ersion|arXiv|[<>=]=?) ?\d+(?:\.\d+)+|95 ?%(?=\s+(?:confidence )?intervals?)")

DIFFERENCES = "difference", "value"  # keys of a difference beside its `low` and `high`


@dataclass(frozen=True)
class Figure:
    """Digits as quoted: a lone figure, or a difference (empty where none stands before it) with its interval."""

    text: str
    low: str = ""
    high: str = ""

    def __str__(self) -> str:
        return f"{self.text} [{self.low}, {self.high}]".strip() if self.low else self.text


@dataclass
class Numbers:
    """Numbers of metrics files: all that stand in no list; differences with (low, high) where they have them."""

    values: set[float] = field(default_factory=set)
    intervals: list[tuple[float, float, float]] = field(default_factory=list)
    differences: set[float] = field(default_factory=set)

    def add(self, content: Any) -> None:
        """Take up a file's content: nested mappings of numbers."""
        own = Numbers()
        own._collect(content)
        self.values |= own.values
        self.intervals += own.intervals
        self.differences |= own.differences or own.values

    def _collect(self, content: Any) -> None:
        if isinstance(content, Mapping):
            for value in DIFFERENCES:
                if all(isinstance(content.get(key), int | float) for key in (value, "low", "high")):
                    self.intervals.append((content[value], content["low"], content["high"]))
                    self.differences.add(float(content[value]))
            for key in (key for key in content if _three(content, key)):
                self.intervals.append((content[key], content[f"{key}_low"], content[f"{key}_high"]))
            for inner in content.values():
                self._collect(inner)
        elif isinstance(content, int | float) and not isinstance(content, bool):
            self.values.add(float(content))

    def has(self, figure: Figure) -> bool:
        """Whether a number, or an object with its interval, is this figure at the digits quoted."""
        if figure.low:
            quoted = (figure.text, figure.low, figure.high)
            return any(
                all(not text or same(text, value) for text, value in zip(quoted, row, strict=True))
                for row in self.intervals
            )
        among = self.differences if figure.text[0] in "+-" else self.values
        return any(same(figure.text, value) for value in among)


def _three(content: Mapping[str, Any], key: str) -> bool:
    return all(isinstance(content.get(f"{key}{end}"), int | float) for end in ("", "_low", "_high"))


def same(quoted: str, value: float) -> bool:
    """Whether a number is this text when rounded to its digits; a text without a sign may be the size of the number.

    >>> same("+0.0163", 0.01625), same("52.2%", 0.521739), same("0.021", -0.0213), same("+0.021", -0.0213)
    (True, True, True, False)
    """
    digits, scale = quoted.rstrip("%"), 100.0 if quoted.endswith("%") else 1.0
    half = 0.5 * 10.0 ** -len(digits.partition(".")[2]) + 1e-9
    near = abs(value * scale - float(digits)) <= half
    return near or (digits[0] not in "+-" and abs(-value * scale - float(digits)) <= half)


def figures(text: str) -> list[Figure]:
    """Decimals and percentages of Markdown text, outside of code, links and versions; those with an interval as one."""
    text = VERSION.sub(" ", CODE.sub(" ", text)).replace("\u2212", "-")
    whole = [Figure(value or "", low, high) for value, low, high in INTERVAL.findall(text)]
    rest = INTERVAL.sub(" ", text)
    return whole + [Figure(digits + percent.strip()) for digits, percent in FIGURE.findall(rest)]
