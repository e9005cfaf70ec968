"""Texts in their phrases: what is said to be liked, or not, piece by piece."""

import re

import polars as pl

CLAUSES = re.compile(r"[;.:()]+")
PIECES = re.compile(r",| and | or |(?= (?:films?|movies?)\b)")
NOT = re.compile(r"^(?:not|dislikes?|disliked|but not)\b")


def phrases(text: str) -> list[str]:
    """Phrases of a text, each with what it says of them: `likes` or `not`.

    >>> phrases("likes action, sci-fi films of 1989 to 1993; not comedy, war")
    ['likes action', 'likes sci-fi', 'likes films of 1989 to 1993', 'not comedy', 'not war']
    """
    found = []
    for clause in CLAUSES.split(text.lower()):
        own = clause.strip()
        said = "not" if NOT.match(own) else "likes"
        pieces = (re.sub(r"^(?:not|dislikes?|disliked|but not|likes?|liked|loved)\b", "", p.strip()) for p in PIECES.split(own))
        found += [f"{said} {piece.strip()}" for piece in pieces if len(piece.strip()) > 1]
    return found or [text]


def exploded(texts: pl.DataFrame, count: int) -> pl.DataFrame:
    """Rows with so many phrases of each text in its place, from the first on, and again where a text has fewer."""
    rows = [
        (key, sample * count + place, own[place % len(own)])
        for key, sample, text in texts.iter_rows()
        for own in (phrases(text),)
        for place in range(count)
    ]
    return pl.DataFrame(rows, schema=texts.schema, orient="row")
