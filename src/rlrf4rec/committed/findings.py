"""Entries of a log of findings, and the files at commits that their figures come from.

An entry is what follows a heading `## `. Its last paragraph names its sources:

    Figures: commit 95b0438, `metrics/summary.json`, `metrics/evaluate.json`; `metrics/watch.json`.

A file without a commit before it in its part (between semicolons) is the one in the workspace: what a new entry names
until the commit that it is part of is there. Every figure of the entry has to stand in one of these files, but for
those in paragraphs and items that say `not reproducible`, with the reason; `Figures: not reproducible, ...` says it of
the whole entry. Those are counted and listed, never passed over.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from rlrf4rec.committed.figures import Numbers, figures
from rlrf4rec.revisions.words import listed

SOURCES = re.compile(r"^Figures: (.+?)(?=\n\s*\n|\Z)", re.MULTILINE | re.DOTALL)
COMMIT = re.compile(r"\bcommit ([0-9a-f]{7,40})\b")
FILE = re.compile(r"`([\w./-]+\.json)`")
MARK = re.compile(r"not\s+reproducible", re.IGNORECASE)
MEND = "name the file, quote its number, or say `not reproducible` and why"
PARAGRAPH = re.compile(r"\n\s*\n|\n(?=[-*] |\d+\. )")

Read = Callable[[str | None, str], bytes | None]  # commit, None for the workspace, and path; None where nothing is


@dataclass
class Entry:
    """What was found of an entry: how many figures stand in its files, how many are marked, and faults.

    `unread`: what could not be looked at, because a shallow clone lacks the commit.
    """

    title: str
    found: int = 0
    marked: int = 0
    faults: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


class NoCommitError(Exception):
    """The clone has no such commit."""


def entries(text: str, read: Read) -> list[Entry]:
    """Each entry of the text that has figures; `read` raises NoCommitError where a commit is not in the clone."""
    parts = re.split(r"^## ", text, flags=re.MULTILINE)
    found = [_entry(part, read) for part in parts[1:]]
    return [entry for entry in found if entry.found or entry.marked or entry.faults or entry.unread]


def _entry(text: str, read: Read) -> Entry:
    title, _, body = text.partition("\n")
    entry, named = Entry(title.strip()), SOURCES.search(body)
    body = SOURCES.sub("", body)
    whole = bool(named and MARK.search(named[1]))
    known = _numbers(named[1], entry, read) if named and not whole else Numbers()
    if entry.unread:
        return entry
    for paragraph in PARAGRAPH.split(body):
        quoted = figures(paragraph)
        if whole or MARK.search(paragraph):
            entry.marked += len(quoted)
            continue
        missing = [figure for figure in quoted if not known.has(figure)]
        entry.found += len(quoted) - len(missing)
        if missing and not named:
            entry.faults.append(
                f"{listed(missing)}: no line `Figures: ...` names the files that they come from; {MEND}"
            )
        elif missing:
            entry.faults.append(f"{listed(missing)}: in none of the files that the entry names; {MEND}")
    return entry


def _numbers(named: str, entry: Entry, read: Read) -> Numbers:
    """Numbers of all files that the line names."""
    known = Numbers()
    for part in named.split(";"):
        commit = match[1] if (match := COMMIT.search(part)) else None
        for path in FILE.findall(part):
            where = f"{path} of commit {commit}" if commit else path
            try:
                content = read(commit, path)
            except NoCommitError:
                entry.unread.append(where)
                continue
            try:
                known.add(json.loads(content or b""))
            except ValueError:
                entry.faults.append(f"names {where}, which is {'no JSON' if content else 'not there'}")
    return known
