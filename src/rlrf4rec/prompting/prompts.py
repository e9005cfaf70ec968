"""Prompts for the LLM and template texts from the same history."""

from collections import Counter
from itertools import compress
from typing import Any

import polars as pl

from rlrf4rec.liking import at_or_above_mean
from rlrf4rec.prompting.domain import Domain

Rating = dict[str, Any]  # a row of the history with its item: position, rating, title, year, genres, texts if any


def telling(history: list[Rating], liked: int, disliked: int) -> tuple[list[Rating], list[Rating]]:
    """At most `liked` of the highest ratings at or above the user's mean and `disliked` of the lowest below it.

    Among equal ratings the later liked and the earlier disliked ones; each group in time order.
    """
    above, below = by_liking(history)
    best = sorted(above, key=lambda r: (-float(r["rating"]), -int(r["position"])))[:liked]
    worst = sorted(below, key=lambda r: (float(r["rating"]), int(r["position"])))[:disliked]
    return _in_time(best), _in_time(worst)


def _in_time(rows: list[Rating]) -> list[Rating]:
    return sorted(rows, key=lambda r: int(r["position"]))


def masked(history: list[Rating], domain: Domain) -> list[Rating]:
    """The same ratings with titles that say nothing: `Movie 1` for the user's earliest, and so on.

    What the LLM knows of an item by its title can't help it then; year, genres and texts stay.
    """
    return [{**row, "title": f"{domain.item} {int(row['position']) + 1}"} for row in history]


def named(rows: list[Rating], domain: Domain) -> str:
    """Ratings as a prompt has them, parted by semicolons."""
    return "; ".join(domain.rated(str(r["title"]), r["year"], str(r["genres"]), r.get("texts")) for r in rows)


def template_text(history: list[Rating], genre_share: dict[str, float], domain: Domain) -> str:
    """The profile that needs no LLM: liked and disliked genres and the era of the history, as a sentence.

    A rating is liked at or above the user's mean. Liked genres are those with the largest share among the
    liked less the share in all train histories (`genre_share`); disliked genres, those of the others with
    the largest share among the disliked less that among the liked.
    """
    return profile(*by_liking(history), genre_share, domain)


def profile(liked: list[Rating], disliked: list[Rating], genre_share: dict[str, float], domain: Domain) -> str:
    """The same of ratings that are told apart already, at least one of them liked."""
    of_liked, of_disliked = _shares(liked), _shares(disliked)
    likes = top_genres(liked, genre_share, 3)
    against = {g: share - of_liked.get(g, 0.0) for g, share in of_disliked.items() if g not in likes}
    dislikes = _top({g: lift for g, lift in against.items() if lift > 0}, 2)
    text = f"likes {_words(likes) or 'all kinds of'} {domain.items}{_era(liked)}"
    return f"{text}; not {_words(dislikes)}" if dislikes else text


def by_liking(history: list[Rating]) -> tuple[list[Rating], list[Rating]]:
    """Ratings at or above the user's mean, and those below it."""
    above = at_or_above_mean(r["rating"] for r in history)
    return list(compress(history, above)), [r for r, liked in zip(history, above, strict=True) if not liked]


def top_genres(liked: list[Rating], genre_share: dict[str, float], count: int) -> list[str]:
    """The `count` genres with the largest share among the liked less that in `genre_share`, the largest first."""
    return _top({g: share - genre_share.get(g, 0.0) for g, share in _shares(liked).items()}, count)


def _shares(rows: list[Rating]) -> dict[str, float]:
    counts = Counter(g for r in rows for g in str(r["genres"]).split("|") if g)
    return {genre: count / len(rows) for genre, count in counts.items()}


def _top(lift: dict[str, float], count: int) -> list[str]:
    return [g for g, _ in sorted(lift.items(), key=lambda x: (-x[1], x[0]))[:count]]


def _words(genres: list[str]) -> str:
    return ", ".join(g.lower() for g in genres)


def _era(rows: list[Rating]) -> str:
    years = sorted(int(r["year"]) for r in rows if r["year"])
    if not years:
        return ""
    low, high = (years[int(q * (len(years) - 1))] for q in (0.25, 0.75))
    return f" of {low}" if low == high else f" of {low} to {high}"


def genre_shares(history: pl.DataFrame) -> dict[str, float]:
    """Share of a history's rows that carry each genre; `history` has a column genres joined by "|"."""
    return _shares(history.select("genres").to_dicts())
