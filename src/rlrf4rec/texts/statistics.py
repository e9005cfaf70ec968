"""What texts look like: length, variety, copying, collapse. Pure functions.

A word is a run of letters and digits, joined by apostrophes and hyphens (`sci-fi` is one word), in lower case.
"""

import re
from collections.abc import Sequence

from torch import Tensor

Grams = frozenset[tuple[str, ...]]
WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
YEAR = re.compile(r"\b(?:18|19|20)\d\d\b")
DECADE = re.compile(r"\b(?:18|19|20)\d0s\b")
RATING = re.compile(r"\d/5\b")
# Function words, and those of the texts' own form: they say nothing of a user. A domain has more (`Domain.own_words`).
_STOP = (
    "a an and are as at be been both but by do does doesn't don't for from had has have he her his in into is it its "
    "more most no nor not of on only or other she so some than that the their them then there these they this to too "
    "very was were what when which who with like likes love loves"
)
STOP_WORDS = frozenset(_STOP.split())


def words(text: str) -> list[str]:
    """The words of a text.

    >>> words("Likes Sci-Fi of the 1990s; not 'Heat'")
    ['likes', 'sci-fi', 'of', 'the', '1990s', 'not', 'heat']
    """
    return WORD.findall(text.lower())


def content_words(text: str, own: frozenset[str]) -> frozenset[str]:
    """Different words of a text that are no function words, none of the texts' form, and none of the domain's `own`."""
    return frozenset(words(text)) - STOP_WORDS - own


def grams(text: str, n: int) -> list[tuple[str, ...]]:
    """Word n-grams of a text, in order, repeated ones repeated."""
    found = words(text)
    return [tuple(found[i : i + n]) for i in range(len(found) - n + 1)]


def distinct(texts: Sequence[str], n: int) -> float:
    """Different word n-grams of all texts divided by all of them (Li et al. 2016, distinct-n), 0 .. 1.

    It falls as a corpus grows: compare equal numbers of texts. 0 when no text has n words.
    """
    found = [gram for text in texts for gram in grams(text, n)]
    return len(set(found)) / len(found) if found else 0.0


def distinct_share(texts: Sequence[str]) -> float:
    """Different texts divided by all texts, 0 .. 1."""
    return len(set(texts)) / len(texts)


def copied_grams(text: str, source: Grams, n: int = 3) -> float | None:
    """Share of the text's word n-grams that `source` holds, 0 .. 1; None when the text has fewer than n words."""
    found = grams(text, n)
    return sum(gram in source for gram in found) / len(found) if found else None


def copied_words(text: str, source: frozenset[str], own: frozenset[str]) -> float | None:
    """Share of the text's different content words that `source` holds, 0 .. 1; None when it has none."""
    found = content_words(text, own)
    return len(found & source) / len(found) if found else None


def years(text: str) -> int:
    """Number of calendar years in a text, 1800 to 2099; `1990s` is a decade and not counted."""
    return len(YEAR.findall(text))


def decades(text: str) -> int:
    """Number of decades (`1990s`) in a text."""
    return len(DECADE.findall(text))


def has_rating(text: str) -> bool:
    """Whether a text holds a rating out of five: it goes on with the prompt's list and tells no taste."""
    return RATING.search(text) is not None


def similarity(vectors: Tensor) -> tuple[float, float]:
    """Mean cosine of two texts of different users, and of two texts of the same user, each -1 .. 1.

    vectors: [users, samples, width] with at least two users and two samples. Texts of a policy that has collapsed
    are alike whomever they are about: the first comes close to the second.
    """
    unit = vectors.double() / vectors.double().norm(dim=-1, keepdim=True)
    users, samples, _ = unit.shape
    of_user = unit.sum(1)
    own = float((of_user**2).sum())
    every = float((of_user.sum(0) ** 2).sum())
    between = (every - own) / (users * (users - 1) * samples**2)
    within = (own - users * samples) / (users * samples * (samples - 1))
    return between, within
