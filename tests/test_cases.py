"""Data sets as public converters write them, each once refused or read wrongly in silence; files in tests/cases."""

import shutil
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import torch
from dataset import DEFAULT, columns, tables, write

from rlrf4rec import paths
from rlrf4rec.liking import at_or_above_mean
from rlrf4rec.prompting.domain import Domain
from rlrf4rec.prompting.prompts import by_liking, telling, template_text
from rlrf4rec.sources import items_mean, numbers
from rlrf4rec.stages import interactions

CASES = Path(__file__).parent / "cases"


def items(name, **changes):
    """Year and genres of each item, and the counts."""
    raw = tables(CASES / name, **changes)
    return raw.items.select("title", "year", "genres").rows(), raw.counts


def test_nobody_dislikes_ratings_that_are_all_alike():
    raw = tables(CASES / "equal-fractional-ratings")
    rows = raw.interactions.join(raw.items, on="item", maintain_order="left").with_row_index("position").to_dicts()
    assert telling(rows, 7, 3)[1] == []
    assert by_liking(rows) == (rows, [])
    assert numbers.liked(rows) == rows
    assert template_text(rows, {}, Domain("films")) == "likes drama films of 1991 to 1993"


def test_a_mean_is_that_of_the_ratings_as_written():
    for tenths in range(1, 101):
        for count in range(1, 31):
            assert all(at_or_above_mean([tenths / 10] * count))
    scale = [4.0, 4.1, 4.2, 3.7]
    mean = sum(map(Fraction, ["4", "4.1", "4.2", "3.7"])) / 4
    assert at_or_above_mean(scale) == [Fraction(str(rating)) >= mean for rating in scale] == [True, True, True, False]


def test_the_mean_of_liked_items_takes_in_all_of_ratings_that_are_alike():
    ids = list("abcdef")
    tables = SimpleNamespace(
        items=pl.DataFrame({"item": ids}),
        users=pl.DataFrame({"user": ["even", "uneven"]}),
        item_features=lambda: SimpleNamespace(vectors=torch.eye(6)),
    )
    ratings = {
        "user": ["uneven"] * 3 + ["even"] * 6,
        "item": ["a", "b", "c", *ids],
        "rating": [5.0, 3.0, 4.0] + [0.4] * 6,
    }
    made = items_mean.make(SimpleNamespace(tables=tables, history=pl.DataFrame(ratings)))
    assert torch.allclose(made[:, 0], torch.tensor([[1 / 6] * 6, [0.5, 0, 0.5, 0, 0, 0]]))


def test_no_genres_listed_is_no_genre():
    found, counts = items("no-genres-listed")
    assert found == [("Alpha", 1995, ""), ("Beta", 1996, "War")]
    assert counts["items_without_genre"] == 1


def test_years_as_floats_and_between_blanks_are_years():
    found, counts = items("years-as-floats")
    assert [year for _, year, _ in found] == [1995, 1996, None]
    assert counts["items_without_year"] == 1
    assert "items_with_impossible_year" not in counts


def test_genres_are_told_apart_by_what_stands_between_them(tmp_path, monkeypatch):
    found, _ = items("genre-separators")
    assert [genres for *_, genres in found] == ["Action|War", "Action|War", "Role|Playing"]
    monkeypatch.chdir(tmp_path)
    shutil.copytree(CASES / "genre-separators", paths.RAW)
    line = interactions.run(1, DEFAULT.model_copy(update={"min_interactions": 2}))
    assert "genres told apart by ' ' in 2 items, ',' in 1 items (a guess: interactions.genre_separator)" in line
    found, _ = items("genre-separators", genre_separator=",")
    assert [genres for *_, genres in found] == ["Action  War", "Action|War", "Role Playing"]


HEAD = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
OTHERS = [
    ("ml-1m", {"genres": "genre"}, [("Alpha", 1995, "Drama|War")], {}),
    (
        "ml-20m",
        {"title": "movie_name", "genres": "type"},
        [("Alpha", None, "Drama|War"), ("(12) Nights (2009", None, "Romance")],
        {"items_without_year": 2, "items_with_impossible_year": 1},
    ),
    ("amazon", {"title": "title", "year": None, "genres": "categories"}, [("Cream", None, "Hair Care|Styling")], {}),
]


@pytest.mark.parametrize(("name", "names", "right", "told"), OTHERS)
def test_recbole_files_other_than_ml_100k(tmp_path, name, names, right, told):
    catalogue = (CASES / "recbole-files-other-than-ml-100k" / f"{name}.item").read_text()
    ids = [line.split("\t")[0] for line in catalogue.splitlines()[1:]]
    log = HEAD + "".join(f"u1\t{item}\t5\t{time}\n" for time, item in enumerate(ids))
    raw = tables(write(tmp_path, {"x.inter": log, "x.item": catalogue}), 1, columns=columns(**names))
    assert raw.items.select("title", "year", "genres").rows() == right
    assert told.items() <= raw.counts.items()


def test_a_year_in_the_title_is_taken_out_only_where_the_item_has_it(tmp_path):
    head = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    films = "1\tUsual Suspects, The (1994)\t1994\tCrime\n2\tBrazil (1985)\t1986\tDrama\n3\t(1999)\t1999\tWar\n"
    log = HEAD + "u1\t1\t5\t1\nu1\t2\t5\t2\nu1\t3\t5\t3\n"
    raw = tables(write(tmp_path, {"x.inter": log, "x.item": head + films}))
    assert raw.items["title"].to_list() == ["Usual Suspects, The", "Brazil (1985)", "(1999)"]
    assert raw.counts["titles_with_year"] == 1
