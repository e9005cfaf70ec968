"""A comparison for the terminal: aligned columns, no wider than it, colours only there."""

import os
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlrf4rec.revisions import words
from rlrf4rec.revisions.changes import Changes
from rlrf4rec.revisions.comparison import Comparison, Row, Tried
from rlrf4rec.revisions.git import Revision

PLAIN_WIDTH = 120  # in files and pipes, unless COLUMNS says otherwise
WIDE = 100  # from here on two spaces between columns


class Report:
    """Prints to standard output."""

    def __init__(self) -> None:
        fixed = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PLAIN_WIDTH
        self.console = Console(file=sys.stdout, width=fixed, markup=False, emoji=False, highlight=False)

    def one(self, found: Comparison) -> None:
        """A comparison of two revisions."""
        self._say(f"A  {found.a.label}", f"B  {found.b.label}", words.nothing_changed(found))
        self._notes(found.notes)
        self._changes(found.changes)
        if found.reasons:
            self._say("")
            for reason in found.reasons:
                self._say(f"Not comparable: {reason}", style="bold red")
            return
        self._section("metrics/summary.json")
        self._table(["", "A", "B", "B - A"], [words.summary_cells(row) for row in found.summary])
        for metric in dict.fromkeys(row["metric"] for row in found.rows):
            own = [row for row in found.rows if row["metric"] == metric]
            self._section(words.title(own, found.family))
            self._table(["knowledge", *words.HEADS], [[row["knowledge"], *words.cells(row)] for row in own], own)
            self._say(words.verdict(own))
        if found.rows:
            self._say(" ", words.LEGEND, style="dim")
        for row in found.worse:
            self._say(words.worse_line(row), style="bold red")

    def all(self, tried: Sequence[Tried], notes: Sequence[str], of: Revision) -> None:
        """A table with a row for each experiment."""
        compared = [(one.name, row) for one in tried if one.comparison for row in one.comparison.rows]
        of_all = {f"{row['metric']} with {row['knowledge']}" for _, row in compared}
        alone = f", {of_all.pop()}" if len(of_all) == 1 else ""
        self._section(f"Experiments of HEAD against A = {of.label}{alone}; {words.holm(len(compared))}")
        heads = ["experiment", *([] if alone else ["of"]), *words.HEADS[2:]]
        lines = [
            [name, *([] if alone else [f"{row['metric']} {row['knowledge']}"]), *words.cells(row)[2:]]
            for name, row in compared
        ]
        missing = {one.name for one in tried} - {name for name, _ in compared}
        lines += [[name, *([] if alone else [""]), "", "not compared"] for name in sorted(missing)]
        self._table(heads, lines, [row for _, row in compared])
        self._section("What each changed")
        self._table(["", ""], [[one.name, words.in_short(one.comparison)] for one in tried if one.comparison])
        self._say("")
        for one in tried:
            for reason in one.comparison.reasons if one.comparison else [one.fault]:
                self._say(f"{one.name} is not compared: {reason}", style="bold red")
            self._notes([f"{one.name}: {note}" for note in one.comparison.notes] if one.comparison else [])
        self._notes(notes)
        if compared:
            self._say(words.LEGEND, style="dim")
        for one in tried:
            for row in one.comparison.worse if one.comparison else []:
                self._say(f"{one.name}: {words.worse_line(row)}", style="bold red")

    def _changes(self, changed: Changes) -> None:
        if changed.params:
            self._section("Params")
            self._table(["", ""], [[words.plain(row["key"]), words.short(row)] for row in changed.params])
        if changed.code:
            self._section("Code, by stage")
            code = changed.code.items()
            self._table(["", ""], [[stage, ", ".join(words.source(f) for f in files)] for stage, files in code])
        if changed.libraries:
            self._section("Libraries")
            self._table(["", ""], [[words.plain(row["key"]), words.short(row)] for row in changed.libraries])
        if changed.arithmetic:
            self._section("Arithmetic")
            self._table(["", ""], [[words.plain(row["key"]), words.short(row)] for row in changed.arithmetic])
        if changed.data:
            self._section("Data and models")
            self._table(["", ""], [[words.plain(row["key"]), words.hashes(row)] for row in changed.data])

    def _section(self, title: str) -> None:
        self._say(" ", title, style="bold")

    def _notes(self, notes: Sequence[str]) -> None:
        for note in notes:
            self._say(f"Note: {note}", style="yellow")

    def _say(self, *lines: str, style: str = "") -> None:
        for line in lines:
            if line:
                self.console.print(Text(words.plain(line).rstrip(), style=style))

    def _table(self, heads: Sequence[str], lines: Sequence[Sequence[str]], rows: Sequence[Row] = ()) -> None:
        """Names on the left, numbers on the right of their columns; a row whose interval leaves 0 out is coloured."""
        gap = 2 if self.console.width >= WIDE else 1
        table = Table(box=None, show_header=any(heads), padding=(0, gap, 0, 0), pad_edge=False, header_style="dim")
        for i, head in enumerate(heads):
            numbers = head in ("A", *words.HEADS)
            table.add_column(
                Text(head),
                justify="right" if numbers else "left",
                no_wrap=numbers or (i == 0 and not any(heads)),
                overflow="fold",
            )
        for i, line in enumerate(lines):
            style = "" if i >= len(rows) else "green" if rows[i]["low"] > 0 else "red" if rows[i]["high"] < 0 else ""
            table.add_row(*(Text(words.plain(cell)) for cell in line), style=style)
        if lines:
            self.console.print(table)
