"""A comparison as Markdown for a pull request."""

import re
from collections.abc import Sequence

from rlrf4rec.revisions import words
from rlrf4rec.revisions.changes import Changes
from rlrf4rec.revisions.comparison import Comparison, Tried
from rlrf4rec.revisions.git import Revision

SPECIAL = re.compile(r"([\\`*_\[\]<|~$&#])")


def escaped(text: str) -> str:
    r"""Text that Markdown shows as it is, also inside a table.

    >>> escaped("a|b_c")
    'a\\|b\\_c'
    """
    return SPECIAL.sub(r"\\\1", words.plain(text))


def one(found: Comparison) -> str:
    """A comparison of two revisions."""
    parts = [f"### {escaped(found.b.label)} against {escaped(found.a.label)}", escaped(words.nothing_changed(found))]
    parts += [f"**Not comparable:** {escaped(reason)}" for reason in found.reasons]
    parts += [f"**{escaped(words.worse_line(row))}**" for row in found.worse]
    parts += [f"> {escaped(note)}" for note in found.notes]
    for metric in dict.fromkeys(row["metric"] for row in found.rows):
        own = [row for row in found.rows if row["metric"] == metric]
        parts.append(f"**{escaped(words.title(own, found.family))}**")
        parts.append(_table(["knowledge", *words.HEADS], [[row["knowledge"], *words.cells(row)] for row in own]))
        parts.append(escaped(words.verdict(own)))
    parts.append(escaped(words.LEGEND) if found.rows else "")
    parts.append(_changes(found.changes))
    if found.summary:
        summary = _table(["metric", "A", "B", "B - A"], [words.summary_cells(row) for row in found.summary])
        parts.append(_details("metrics/summary.json", summary))
    return _joined(parts)


def all_of(tried: Sequence[Tried], notes: Sequence[str], of: Revision) -> str:
    """A table with a row for each experiment."""
    compared = [(one.name, row) for one in tried if one.comparison for row in one.comparison.rows]
    parts = [f"### Experiments against A = {escaped(of.label)}"]
    if compared:
        lines = [[name, row["metric"], row["knowledge"], *words.cells(row)] for name, row in compared]
        parts.append(_table(["experiment", "metric", "knowledge", *words.HEADS], lines))
    changed = [[one.name, words.in_short(one.comparison)] for one in tried if one.comparison]
    parts.append(_table(["experiment", "changed"], changed))
    for one in tried:
        name = escaped(one.name)
        reasons = one.comparison.reasons if one.comparison else [one.fault]
        parts += [f"**{name} is not compared:** {escaped(reason)}" for reason in reasons]
        if one.comparison:
            parts += [f"**{name}: {escaped(words.worse_line(row))}**" for row in one.comparison.worse]
            parts += [f"> {name}: {escaped(note)}" for note in one.comparison.notes]
    parts += [f"> {escaped(note)}" for note in notes]
    parts.append(escaped(f"{words.holm(len(compared))}. {words.LEGEND}") if compared else "")
    return _joined(parts)


def _changes(changed: Changes) -> str:
    parts = []
    if changed.params:
        parts.append(_table(["param", "A -> B"], [[row["key"], words.short(row)] for row in changed.params]))
    if changed.code:
        code = [[stage, ", ".join(words.source(f) for f in files)] for stage, files in changed.code.items()]
        parts.append(_table(["stage", "code that differs"], code))
    if changed.libraries:
        parts.append(_table(["library", "A -> B"], [[row["key"], words.short(row)] for row in changed.libraries]))
    if changed.arithmetic:
        parts.append(_table(["arithmetic", "A -> B"], [[row["key"], words.short(row)] for row in changed.arithmetic]))
    if changed.data:
        parts.append(_table(["data or model", "A -> B"], [[row["key"], words.hashes(row)] for row in changed.data]))
    return _details("What changed", "\n\n".join(parts)) if parts else ""


def _details(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    numbers = [head in words.HEADS for head in heads]
    rule = ["---:" if right else "---" for right in numbers]
    body = [[escaped(cell) for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in [list(heads), rule, *body])


def _joined(parts: Sequence[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"
