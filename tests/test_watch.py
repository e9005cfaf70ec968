from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from rlrf4rec.prompting import template
from rlrf4rec.prompting.prompts import by_liking, masked, named, telling, template_text, top_genres
from rlrf4rec.prompting.template import read
from rlrf4rec.stages import watch
from rlrf4rec.texts import genres, statistics, titles
from rlrf4rec.texts.measures import MEASURES, Reader, corpus_measures

GENRES = ["Action", "Comedy", "Drama", "Film-Noir", "Mystery", "Romance", "Sci-Fi", "War"]
TITLES = ["Usual Suspects, The", "Twelve Monkeys", "Heat", "Hate (Haine, La)", "Wild Bunch, The", "Love Affair"]
FILMS = read(Path(template.__file__).parent.parent / "templates" / "movies.txt").domain


def test_words_and_distinct_n_by_hand():
    assert statistics.words("A sci-fi film; it's A film!") == ["a", "sci-fi", "film", "it's", "a", "film"]
    texts = ["a b a b", "a b"]  # words a b a b | a b; pairs ab ba ab | ab
    assert statistics.distinct(texts, 1) == 2 / 6
    assert statistics.distinct(texts, 2) == 2 / 4
    assert statistics.distinct(texts, 5) == 0.0
    assert statistics.distinct_share(["x", "x", "y"]) == pytest.approx(2 / 3)


def test_copied_share_by_hand():
    source = frozenset(statistics.grams("likes dark action thrillers of the 1980s", 3))
    assert statistics.copied_grams("likes dark action and romance", source) == 1 / 3
    assert statistics.copied_grams("dark action", source) is None
    words = statistics.content_words("dark action thrillers of the 1980s", FILMS.own_words)
    assert words == {"dark", "action", "thrillers", "1980s"}  # `of` and `the` say nothing
    assert statistics.copied_words("likes the dark comedies of the 1980s", words, FILMS.own_words) == pytest.approx(
        2 / 3
    )
    assert statistics.copied_words("likes films", words, FILMS.own_words) is None


def test_years_decades_and_ratings():
    text = "likes Heat (1995; Crime) 4/5; films of the 1940s and 2001"
    assert (statistics.years(text), statistics.decades(text), statistics.has_rating(text)) == (2, 1, True)
    assert not statistics.has_rating("19/50 films")


def test_similarity_between_and_within_users_by_hand():
    east, north = [1.0, 0.0], [0.0, 2.0]  # length does not count
    assert statistics.similarity(torch.tensor([[east, east], [north, north]])) == pytest.approx((0.0, 1.0))
    assert statistics.similarity(torch.tensor([[east, north], [east, north]])) == pytest.approx((0.5, 0.0))
    assert statistics.similarity(torch.ones(3, 2, 4)) == pytest.approx((1.0, 1.0))  # collapse
    random = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
    unit = torch.nn.functional.normalize(random.double(), dim=-1).view(12, 5)
    cosine, user = unit @ unit.T, torch.arange(12) // 3
    same = user[:, None] == user[None]
    expected = (float(cosine[~same].mean()), float(cosine[same & ~torch.eye(12, dtype=torch.bool)].mean()))
    assert statistics.similarity(random) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("likes The Usual Suspects (1995; Crime) 4/5; Bellvue (1977;", ["usual suspects", "bellvue"]),
        ("likes fans of Heat (1995)", ["heat"]),
        ("likes Hitchcock's Wild Bunch (1969;", ["wild bunch"]),  # the ending that is known
        ("likes White Heat (1949;", ["white heat"]),  # one last word is no known film
        ('likes the "Too Faced" style', ["too faced"]),
        ("likes La Haine (1995) and Hate (1995)", ["la haine", "hate"]),
        ("likes Twelve Monkeys and a love affair", ["twelve monkeys"]),
        ("likes good guys (1994; Comedy)", []),  # lower case is missed
        ("likes Heat and Gone Girl", []),  # neither year nor quotes, one word or unknown
        ("likes action films of the 1990s; not comedies", []),
        ("", []),
    ],
)
def test_title_mentions(text, expected):
    assert titles.mentions(text, titles.names(TITLES)) == expected


def test_which_titles_are_known():
    known = titles.names(TITLES).known
    assert {"usual suspects", "hate", "la haine", "heat"} <= known
    assert "bellvue" not in known
    assert titles.holds("Movies: The Usual Suspects (1995; Crime) 5/5", "usual suspects")
    assert not titles.holds("Heated (1995)", "heat")


@pytest.mark.parametrize(
    ("text", "liked", "disliked"),
    [
        ("likes romantic comedies; not action", {"Romance", "Comedy"}, {"Action"}),
        ("likes science fiction and noir, but not dramas, sci-fi", {"Sci-Fi", "Film-Noir"}, {"Drama", "Sci-Fi"}),
        ("not war; mysteries", {"Mystery"}, {"War"}),
        ("doesn\u2019t like drama. likes Star Wars", set(), {"Drama"}),
        ("likes Heat (1995; Action, Drama) and comedy", {"Comedy"}, set()),
        ("likes actionable warmth", set(), set()),
    ],
)
def test_named_genres(text, liked, disliked):
    assert genres.named(text, GENRES, FILMS) == (liked, disliked)


def test_hits_and_their_chance_by_hand():
    tops = {"a": ["Drama", "War"], "b": ["Drama"], "c": ["Comedy"]}
    counts = Counter(g for top in tops.values() for g in top)
    found = frozenset(["Drama", "Comedy"])
    assert genres.hits(found, tops["a"]) == 0.5
    # Other users of a are b (Drama hits) and c (Comedy hits): 0.5 each.
    assert genres.hits_of_others(found, tops["a"], counts, 3) == 0.5
    by_hand = [genres.hits(found, tops[u]) for u in ("a", "c")]
    assert genres.hits_of_others(found, tops["b"], counts, 3) == pytest.approx(np.mean(by_hand))
    assert genres.hits(frozenset(), tops["a"]) is None


def history():
    rows = [("Heat", 1995, "Action|War", 5.0), ("Hate", 1995, "Drama", 4.0), ("Love", 1990, "Comedy", 1.0)]
    return [
        {"position": i, "title": t, "year": y, "genres": g, "rating": r, "item": str(i)}
        for i, (t, y, g, r) in enumerate(rows)
    ]


def test_masked_titles_keep_year_genres_and_order():
    liked, disliked = telling(masked(history(), FILMS), 3, 3)
    assert named(disliked, FILMS) == "Movie 3 (1990; Comedy)"
    assert named(liked, FILMS) == "Movie 1 (1995; Action, War); Movie 2 (1995; Drama)"
    assert history()[0]["title"] == "Heat"
    assert template_text(masked(history(), FILMS), {}, FILMS) == template_text(history(), {}, FILMS)


def test_top_genres_are_those_of_liked_films_beyond_the_usual():
    liked, disliked = by_liking(history())
    assert [r["title"] for r in liked] == ["Heat", "Hate"]
    assert [r["title"] for r in disliked] == ["Love"]
    assert top_genres(liked, {"Action": 0.5, "War": 0.1, "Drama": 0.2}, 2) == ["War", "Drama"]


def texts(*rows):
    schema = ["user", "sample", "text", "token_count", "stop", "tokens"]
    return pl.DataFrame([(u, s, t, len(t.split()), stop, [3, 2]) for u, s, t, stop in rows], schema, orient="row")


def reader():
    prompts = dict.fromkeys("ab", ("Taste: likes dark films; not war", "Heat (1995; Action, War) 5/5"))
    liked = {"a": ["Action"], "b": ["Comedy"]}
    return Reader(FILMS, prompts, liked, Counter(["Action", "Comedy"]), GENRES, TITLES)


def test_measures_of_texts_by_hand():
    table = reader().measure(
        texts(
            ("a", 0, "likes action; not war", "stop"),
            ("a", 1, "likes Heat (1995; Action) 5/5", "length"),
            ("b", 0, "likes Foo (1995; Drama)", "length"),
            ("b", 1, "dark", "length"),
        )
    )
    assert table.columns == ["user", *MEASURES]
    a, b = table.to_dicts()
    assert b["cut_by_length"] == 1.0
    assert (a["characters"], a["tokens"], a["cut_by_length"]) == ((21 + 29) / 2, (4 + 5) / 2, 0.5)
    assert (a["names_title"], a["names_known_title"], a["names_title_of_prompt"]) == (0.5, 0.5, 0.5)
    assert (a["names_unknown_title"], b["names_unknown_title"], b["names_title_of_prompt"]) == (0.0, 0.5, 0.0)
    assert (a["genres_liked_hit"], a["genres_liked_hit_other_users"], a["genres_liked_personal"]) == (1.0, 0.0, 1.0)
    assert b["genres_liked_hit"] is None  # no genre named outside of brackets
    assert a["genres_disliked_hit"] == 0.0
    # Trigrams of text 1: likes-heat-1995 no; heat-1995-action, 1995-action-5 no, action-5-5 no. Text 0 has none.
    assert a["copied_from_ratings"] == pytest.approx((0 + 1 / 4) / 2)
    assert a["copied_words_from_ratings"] == pytest.approx((2 / 2 + 4 / 4) / 2)
    assert (a["copied_words_from_examples"], b["copied_words_from_examples"]) == ((0.5 + 0) / 2, 0.5)
    assert a["has_rating"] == 0.5


def test_changes_are_paired_and_leave_out_users_without_a_value():
    columns = ["user", "characters", "genres_liked_hit"]
    base = pl.DataFrame([("a", 10.0, 0.5), ("b", 20.0, None), ("c", 30.0, 0.0)], columns, orient="row")
    tuned = pl.DataFrame([("a", 11.0, 1.0), ("b", 22.0, 1.0), ("c", 33.0, 0.0)], columns, orient="row")
    rows = {r["measure"]: r for r in watch.changes({"base": base, "round1": tuned}, 200, 0)}
    assert rows["characters"]["difference"] == pytest.approx(2.0)
    assert rows["characters"]["low"] <= 2.0 <= rows["characters"]["high"]
    assert (rows["genres_liked_hit"]["users"], rows["genres_liked_hit"]["difference"]) == (2, 0.25)
    assert watch.changes({"base": base}, 200, 0) == []


def test_corpus_measures_of_a_collapsed_policy():
    found = corpus_measures(["a b c"] * 4, torch.ones(2, 2, 3))
    assert found["distinct_share"] == 0.25
    assert found["distinct_3"] == 0.25
    assert found["similarity_between_users"] == pytest.approx(1.0)
