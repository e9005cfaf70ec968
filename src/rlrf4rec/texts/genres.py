"""Which genres a text says its user likes or does not like, and whether that fits the user."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from rlrf4rec.prompting.domain import Domain
from rlrf4rec.texts.statistics import words

NOT = re.compile(r"\b(?:not|no|never|without|doesn't|don't|isn't|does not|dislikes?|hates?|avoids?)\b")
BRACKETS = re.compile(r"\([^)]*\)?")


def forms(genre: str, domain: Domain) -> frozenset[str]:
    """Words that name a genre, in lower case.

    >>> sorted(forms("Comedy", Domain("films", genre_words={"comedy": ("comedic",)})))
    ['comedic', 'comedies', 'comedy']
    """
    name = genre.lower()
    plural = () if name in domain.no_plural else (f"{name[:-1]}ies" if name.endswith("y") else f"{name}s",)
    return frozenset((name, *plural, *domain.genre_words.get(name, ())))


def named(text: str, genres: Iterable[str], domain: Domain) -> tuple[frozenset[str], frozenset[str]]:
    """Genres that a text names as liked and as not liked.

    Clauses end at `;` and `.`; from a negation to the end of its clause all is not liked. What stands in brackets is
    left out: there a text tells of an item. A genre that is named in both ways counts as liked and as not liked.
    """
    table = {genre: forms(genre, domain) for genre in genres}
    liked: set[str] = set()
    disliked: set[str] = set()
    for clause in re.split(r"[;.]", BRACKETS.sub(" ", text.lower().replace("\u2019", "'"))):
        match = NOT.search(clause)
        cut = match.start() if match else len(clause)
        liked |= _named(clause[:cut], table)
        disliked |= _named(clause[cut:], table)
    return frozenset(liked), frozenset(disliked)


def _named(text: str, table: dict[str, frozenset[str]]) -> set[str]:
    line = f" {' '.join(words(text))} "
    return {genre for genre, names in table.items() if any(f" {name} " in line for name in names)}


def hits(found: frozenset[str], top: Sequence[str]) -> float | None:
    """Share of the named genres that are among `top`, 0 .. 1; None when none is named."""
    return len(found & set(top)) / len(found) if found else None


def hits_of_others(found: frozenset[str], top: Sequence[str], counts: Counter[str], users: int) -> float | None:
    """What `hits` would be on average with the top genres of another user: its chance level.

    top: the user's own; counts: for each genre the number of users that have it on top; users: their number, >= 2.
    """
    if not found:
        return None
    return sum((counts[genre] - (genre in top)) / (users - 1) for genre in sorted(found)) / len(found)
