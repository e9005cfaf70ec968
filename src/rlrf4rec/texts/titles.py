"""Which items a text names: a conservative detector of title mentions.

Found: capitalised words before a year in brackets, `Heat (1995`; capitalised names in double quotes; titles of the
catalogue with at least two words, word for word and with their capitals. Missed: titles in lower case, one-word
titles without year or quotes, and titles outside the catalogue without year or quotes. A real one that the
catalogue lacks counts as unknown.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from rlrf4rec.prompting.domain import natural_title
from rlrf4rec.texts.statistics import WORD, words

BEFORE_YEAR = re.compile(r"\((?=\d{4}\b)")
QUOTED = re.compile(r"[\"“]([^\"“”]{2,60})[\"”]")
_SMALL = "a an and at by de for from in la le of on or the to vs with &"  # words inside titles
SMALL = frozenset(_SMALL.split())
LONGEST = 12  # words of a title


@dataclass(frozen=True)
class Names:
    """Titles of a catalogue: `known` as keys, `verbatim` as words with capitals, those of two words and more."""

    known: frozenset[str]
    verbatim: frozenset[tuple[str, ...]]


def key(title: str) -> str:
    """A title as lower-case words, without punctuation and without an article at its start.

    >>> key("The Twelve Monkeys, ...")
    'twelve monkeys'
    """
    found = words(title)
    return " ".join(found[1:] if len(found) > 1 and found[0] in ("the", "a", "an") else found)


def names(titles: Iterable[str]) -> Names:
    """Names of a catalogue: each title in its natural order, without brackets, and each name in brackets."""
    every = {name for title in titles for name in _variants(title)}
    verbatim = {tuple(WORD.findall(name)) for name in every if name[:1].isupper()}
    return Names(frozenset(key(name) for name in every), frozenset(v for v in verbatim if 2 <= len(v) <= LONGEST))


def _variants(title: str) -> list[str]:
    outside = re.sub(r"\s*\([^)]*\)", "", title).strip()
    inside = [natural_title(part.strip()) for part in re.findall(r"\(([^)]*)\)", title)]
    return [name for name in (natural_title(title), natural_title(outside), *inside) if words(name)]


def mentions(text: str, catalogue: Names) -> list[str]:
    """Keys of the items that a text names, each once; a known one by the name that the catalogue knows."""
    found = [_before(text[: match.start()]) for match in BEFORE_YEAR.finditer(text)]
    found += [match for match in QUOTED.findall(text) if match[0].isupper()]
    keys = [_known_part(key(name), catalogue) for name in found if words(name)]
    plain = WORD.findall(text)
    for size in range(2, LONGEST + 1):
        for i in range(len(plain) - size + 1):
            if tuple(plain[i : i + size]) in catalogue.verbatim:
                keys.append(key(" ".join(plain[i : i + size])))
    unknown = [k for k in keys if k not in catalogue.known]
    known = [k for k in keys if k in catalogue.known]
    return list(dict.fromkeys(known + unknown))


def _before(text: str) -> str:
    """The run of capitalised words (with small ones between) at the end of `text`, empty when there is none."""
    run: list[str] = []
    for word in reversed(text.split()[-LONGEST:]):
        if run and word[-1] in ";,.)!?":
            break
        if not (word[0].isupper() or word[0].isdigit() or word in SMALL):
            break
        run.insert(0, word)
    while run and run[0] in SMALL:
        run.pop(0)
    return " ".join(run) if any(c.isupper() for c in "".join(run)) else ""


def _known_part(name: str, catalogue: Names) -> str:
    """The longest ending of two words or more that the catalogue knows, else the name.

    `hitchcock's rear window` names `rear window`; a single last word is too often one by chance.
    """
    parts = name.split()
    endings = [" ".join(parts[i:]) for i in range(max(1, len(parts) - 1))]
    return next((e for e in endings if e in catalogue.known), name)


def holds(text: str, name: str) -> bool:
    """Whether the words of `text` hold the key `name`."""
    return f" {name} " in f" {key(text)} "
