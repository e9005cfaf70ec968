"""All measures of a policy's texts in one table."""

from collections import Counter
from collections.abc import Mapping, Sequence

import polars as pl
from torch import Tensor

from rlrf4rec.prompting.domain import Domain
from rlrf4rec.texts import genres, statistics, titles

ORDER = 3  # n of the copied n-grams
MEASURES = (
    "characters",
    "tokens",
    "cut_by_length",
    "years",
    "decades",
    "has_rating",
    "copied_from_ratings",
    "copied_words_from_ratings",
    "copied_from_examples",
    "copied_words_from_examples",
    "names_title",
    "names_known_title",
    "names_unknown_title",
    "names_title_of_prompt",
    "names_title_of_examples",
    "genres_liked",
    "genres_liked_hit",
    "genres_liked_hit_other_users",
    "genres_liked_personal",
    "genres_disliked",
    "genres_disliked_hit",
    "genres_disliked_hit_other_users",
    "genres_disliked_personal",
)


class Reader:
    """Measures texts against what their users were shown and like."""

    def __init__(
        self,
        domain: Domain,
        prompts: Mapping[str, tuple[str, str]],
        liked: Mapping[str, Sequence[str]],
        counts: Counter[str],
        genre_names: Sequence[str],
        catalogue: Sequence[str],
    ) -> None:
        """prompts: user -> (few-shot examples, own ratings); liked: user -> genres liked most; counts: users that have
        a genre among theirs; genre_names, catalogue: all genres and titles."""
        self.domain, self.prompts, self.liked, self.counts, self.genre_names = (
            domain,
            prompts,
            liked,
            counts,
            genre_names,
        )
        self.names = titles.names(catalogue)

    def measure(self, texts: pl.DataFrame) -> pl.DataFrame:
        """Means over each user's texts: user and MEASURES, null where none of them gives a value.

        texts: table of `tables.texts.SampledText`. `names_*` and `has_rating` are shares of texts, `copied_*` shares
        of a text's word trigrams or content words. `genres_liked` counts the genres named as liked; `_hit` is the share
        of them among the user's own top genres, `_hit_other_users` what it would be against another user's (chance),
        `_personal` the difference of the two: what the text knows of this user.
        For `genres_disliked` a hit is a genre that is denied although it is among the user's top genres.
        """
        rows, ignored = [], self.domain.own_words
        for (user,), frame in texts.group_by("user", maintain_order=True):
            examples, own = self.prompts[str(user)]
            sources = [
                (frozenset(statistics.grams(part, ORDER)), statistics.content_words(part, ignored))
                for part in (own, examples)
            ]
            for text, tokens, stop in frame.select("text", "token_count", "stop").iter_rows():
                head = {"user": user, "characters": len(text), "tokens": tokens, "cut_by_length": stop == "length"}
                look = {
                    "years": statistics.years(text),
                    "decades": statistics.decades(text),
                    "has_rating": statistics.has_rating(text),
                }
                copied: dict[str, float | None] = {}
                for name, (grams, words) in zip(("ratings", "examples"), sources, strict=True):
                    copied[f"copied_from_{name}"] = statistics.copied_grams(text, grams, ORDER)
                    copied[f"copied_words_from_{name}"] = statistics.copied_words(text, words, ignored)
                named = self._titles(text, own, examples)
                rows.append({**head, **look, **copied, **named, **self._genres(text, str(user))})
        schema = {"user": pl.String, **dict.fromkeys(MEASURES, pl.Float64)}
        table = pl.DataFrame(rows, schema=schema, strict=False)
        return table.group_by("user", maintain_order=True).agg(pl.col(MEASURES).mean())

    def _titles(self, text: str, own: str, examples: str) -> dict[str, bool]:
        found = titles.mentions(text, self.names)
        return {
            "names_title": bool(found),
            "names_known_title": any(name in self.names.known for name in found),
            "names_unknown_title": any(name not in self.names.known for name in found),
            "names_title_of_prompt": any(titles.holds(own, name) for name in found),
            "names_title_of_examples": any(titles.holds(examples, name) for name in found),
        }

    def _genres(self, text: str, user: str) -> dict[str, float | None]:
        values: dict[str, float | None] = {}
        top = self.liked[user]
        for kind, found in zip(("liked", "disliked"), genres.named(text, self.genre_names, self.domain), strict=True):
            values[f"genres_{kind}"] = len(found)
            hit = genres.hits(found, top)
            chance = genres.hits_of_others(found, top, self.counts, len(self.liked))
            values[f"genres_{kind}_hit"], values[f"genres_{kind}_hit_other_users"] = hit, chance
            values[f"genres_{kind}_personal"] = None if hit is None or chance is None else hit - chance
        return values


def corpus_measures(texts: Sequence[str], vectors: Tensor) -> dict[str, float]:
    """Variety of all texts of a policy; vectors: [users, samples, width]."""
    between, within = statistics.similarity(vectors)
    return {
        **{f"distinct_{n}": statistics.distinct(texts, n) for n in (1, 2, 3)},
        "distinct_share": statistics.distinct_share(texts),
        "similarity_between_users": between,
        "similarity_within_user": within,
    }
