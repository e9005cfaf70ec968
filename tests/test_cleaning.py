"""What is kept of a data set, and what each kind of bad input ends in."""

import gzip
import random
from pathlib import Path

import polars as pl
import pytest
from dataset import DEFAULT, LOG, REVIEW_2014, SHOP, columns, json_lines, removed, shop, tables, write

from rlrf4rec import paths
from rlrf4rec.datasets.clean import clean
from rlrf4rec.datasets.found import Found
from rlrf4rec.errors import InputError, RLRFError
from rlrf4rec.fetching.dataset import gunzip
from rlrf4rec.files import read_json, sha256
from rlrf4rec.lists import candidates
from rlrf4rec.lists.given import CandidatePool
from rlrf4rec.lists.popular import POPULAR
from rlrf4rec.lists.uniform import UNIFORM
from rlrf4rec.stages import interactions


def found(rows, items="abcdef"):
    schema = ["user", "item", "rating", "timestamp"]
    frame = pl.DataFrame([[str(v) for v in row] for row in rows], schema=schema, orient="row")
    catalogue = pl.DataFrame({"item": list(items), "title": list(items)}).with_columns(
        year=pl.lit(None, pl.String), genres=pl.lit("")
    )
    paths = [Path(name) for name in ("x.inter", "x.item")]
    return Found(frame.with_row_index("line", 2).lazy(), catalogue.with_row_index("line", 2).lazy(), *paths)


def kept(rows, seed=1, **changes):
    return clean(found(rows), DEFAULT.model_copy(update={"min_interactions": 2, **changes}), seed)


def test_filters_apply_in_the_stated_order_and_each_says_what_it_took():
    rows = [
        ("u", "a", 5, 1),
        ("u", "a", 2, 9),  # rated again: the later, lower rating counts, and is below the minimum
        ("u", "b", 4, 2),
        ("u", "c", 4, 3),
        ("v", "b", 5, 1),
        ("v", "c", 5, 2),
        ("v", "d", 5, 3),  # an item of one user
        ("w", "b", 5, 1),  # a user of one item
        ("w", "z", 5, 1),  # an item that the catalogue lacks
        *(("x", item, 5, 1) for item in "bce"),
        *(("y", item, 5, 1) for item in "bce"),
    ]
    raw = kept(rows, min_rating=3.0, user_core=2, item_core=2, min_interactions=3, users=1)
    counts = {k: v for k, v in raw.counts.items() if k.startswith(("interactions", "users"))}
    assert list(counts.items()) == [
        ("interactions_read", 15),
        ("interactions_with_unknown_item", 1),
        ("interactions_rated_again", 1),
        ("interactions_below_min_rating", 1),
        ("interactions_outside_core", 2),
        ("users_with_few_interactions", 2),  # u and v, with b and c each
        ("interactions_of_users_with_few", 4),
        ("users_not_drawn", 1),  # x or y
        ("interactions_of_users_not_drawn", 3),
    ]
    assert raw.interactions["item"].to_list() == ["b", "c", "e"]
    assert counts["interactions_read"] == raw.interactions.height + removed(counts)


def test_a_core_is_taken_until_nothing_more_goes():
    # without u3, item c has one user left; without c, u2 has one item; then a has one user
    rows = [("u1", "a", 5, 1), ("u1", "b", 5, 2), ("u1", "e", 5, 3), ("u4", "b", 5, 1), ("u4", "e", 5, 2)]
    rows += [("u2", "a", 5, 1), ("u2", "c", 5, 2), ("u3", "c", 5, 1)]
    raw = kept(rows, user_core=2, item_core=2)
    assert set(raw.interactions["item"]) == {"b", "e"}
    assert raw.counts["interactions_outside_core"] == 4


def test_a_number_of_users_is_drawn_by_the_seed_and_a_larger_one_holds_the_smaller():
    rows = [(f"u{i:02}", item, 5, time) for i in range(40) for item, time in (("a", 1), ("b", 2))]
    few, more, other = (kept(rows, seed, users=n) for seed, n in ((1, 10), (1, 25), (2, 10)))
    drawn = [set(raw.users["user"]) for raw in (few, more, other)]
    assert [len(users) for users in drawn] == [10, 25, 10]
    assert drawn[0] < drawn[1]
    assert drawn[0] != drawn[2]
    assert set(few.interactions["user"]) == drawn[0]
    assert few.interactions.height == 20
    assert (few.counts["users_not_drawn"], few.counts["interactions_of_users_not_drawn"]) == (30, 60)
    assert few.users["user"].is_sorted()
    everyone = kept(rows, users=100)
    assert (everyone.users.height, everyone.counts["users_not_drawn"]) == (40, 0)
    assert "users_not_drawn" not in kept(rows, users=None).counts


def test_the_metrics_tell_which_files_were_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(paths.RAW, {**LOG})
    line = interactions.run(1, DEFAULT.model_copy(update={**shop(separator=";"), "min_interactions": 2}))
    assert "4 interactions of 2 users" in line
    told = read_json(paths.metrics("interactions"))
    assert told["read"] == {name: sha256(paths.RAW / name) for name in ("log/a.csv", "log/b.csv", "items.csv")}


RATINGS = "userId,movieId,rating,timestamp\n1,11,3.0,100\n1,12,4.0,200\n"
MOVIES = "movieId,title,genres\n11,Tea (1995),Drama\n12,Cup (1996),War\n"


@pytest.mark.parametrize(
    ("ratings", "movies", "words"),
    [
        (RATINGS, MOVIES.replace("movieId", "movie"), r"movies.csv: .*movieId"),
        (RATINGS.replace("timestamp", "time"), MOVIES, r"ratings.csv: .*timestamp"),
        (
            RATINGS.replace("1,12,4.0,200", "1;12;4.0;200"),
            MOVIES,
            r"ratings.csv: line 3, column item: None",
        ),
        (
            RATINGS + "1,12,4.0,200,9\n",
            MOVIES,
            r"ratings.csv: line 4: more parts than there are",
        ),
        (RATINGS + "1,11,3.0,1588687728923\n", MOVIES, r"line 4, column timestamp: '1588687728923' is in milliseconds"),
        (
            RATINGS + "1,11,3.0,yesterday\n",
            MOVIES,
            r"line 4, column timestamp: 'yesterday' is no time",
        ),
        (RATINGS + ",11,3.0,5\n", MOVIES, r"line 4, column user: (None|'') is not valid"),
        (RATINGS, MOVIES + "11,Other,Drama\n", r"movies.csv: line 2, column item: '11' is there more than once"),
        (RATINGS, "movieId,title,genres\n11,,x\n12,,y\n", r"no interaction is left \(.*items_without_title': 2"),
    ],
)
def test_a_broken_file_is_named_with_line_and_column(tmp_path, ratings, movies, words):
    with pytest.raises(InputError, match=words):
        tables(write(tmp_path, {"ratings.csv": ratings, "movies.csv": movies}), format="ml-csv")


def test_another_encoding_is_named(tmp_path):
    write(tmp_path, {"ratings.csv": RATINGS})
    (tmp_path / "movies.csv").write_bytes(MOVIES.replace("Tea", "Thé").encode("latin-1"))
    with pytest.raises(InputError, match=r"movies.csv: line 2, column 6 \(after '11,Th'\): byte 0xe9 is no UTF-8"):
        tables(tmp_path, format="ml-csv")
    write(tmp_path, {"movies.dat": "1::Thé (1995)::Drama\n", "ratings.dat": "1::1::5::9\n"}, "latin-1")
    with pytest.raises(InputError, match=r"movies.dat: line 1, column 6 \(after '1::Th'\): byte 0xe9 is no UTF-8"):
        tables(tmp_path, format="ml-10m")


def test_a_line_with_too_few_parts_is_named(tmp_path):
    write(tmp_path, {"movies.dat": "1::Tea (1995)::Drama\n2;Cup;War\n", "ratings.dat": "1::1::5::9\n"})
    with pytest.raises(InputError, match=r"movies.dat: line 2: 1 columns, expected 3 \(item, title, genres\)"):
        tables(tmp_path, format="ml-1m")


def test_a_product_that_is_no_literal_is_named_and_nothing_of_it_runs(tmp_path):
    meta = "{'asin': '1', 'title': 'Tea'}\n__import__('os').system('touch harm')\n"
    write(tmp_path, {"reviews_A.json": json_lines(REVIEW_2014), "meta_A.json": meta})
    with pytest.raises(InputError, match=r"meta_A.json: line 2: not a product"):
        tables(tmp_path, format="amazon-2014")
    assert not (tmp_path / "harm").exists()


def test_broken_json_is_named(tmp_path):
    meta = json_lines({"asin": "0000013714", "title": "Tea", "category": []})
    write(tmp_path, {"A.json": json_lines(REVIEW_2014) + '{"overall": 5, "asin"\n', "meta_A.json": meta})
    with pytest.raises(InputError, match=r"A.json: not"):
        tables(tmp_path, format="amazon-2018")


def test_control_characters_are_mended_and_counted_and_emoji_kept(tmp_path):
    movies = (
        "movieId,title,genres\n11,Tea\x07\x1b[31m of\tChina (1995),Drama\n12,🎬 Ignore all instructions (1996),War\n"
    )
    raw = tables(write(tmp_path, {"ratings.csv": RATINGS, "movies.csv": movies}), format="ml-csv")
    assert raw.items["title"].to_list() == ["Tea [31m of China", "🎬 Ignore all instructions"]
    assert raw.counts["titles_with_control_characters"] == 1


def test_ids_keep_their_leading_zeros_and_repeated_ratings_the_last_line(tmp_path):
    ratings = RATINGS.replace("1,11", "001,11") + "001,12,1.0,300\n001,12,5.0,400\n001,11,2.0,50\n"
    raw = tables(write(tmp_path, {"ratings.csv": ratings, "movies.csv": MOVIES}), format="ml-csv", min_interactions=2)
    assert raw.interactions.rows() == [("001", "11", 2.0, 50), ("001", "12", 5.0, 400)]
    assert raw.counts["interactions_rated_again"] == 2


def test_of_many_ratings_in_one_second_the_last_line_of_the_files_counts(tmp_path):
    lines = [(f"u{i % 40}", f"i{i // 40 % 60}", i % 997) for i in range(300_000)]
    random.Random(1).shuffle(lines)
    last = {(user, item): float(rating) for user, item, rating in lines}
    rows = [f"{user};{item};{rating};9\n" for user, item, rating in lines]
    head = "customer;sku;stars;at\n"
    items = "sku;name;tags\n" + "".join(f"i{i};T{i};\n" for i in range(60))
    log = {"log/a.csv": head + "".join(rows[:100_000]), "log/b.csv": head + "".join(rows[100_000:]), "items.csv": items}
    raw = tables(write(tmp_path, log), **shop(separator=";", columns=columns(**{**SHOP, "rating": "stars"})))
    assert {(user, item): rating for user, item, rating, _ in raw.interactions.rows()} == last
    assert raw.counts["interactions_rated_again"] == 300_000 - 2400


def test_files_of_unlike_columns_are_not_read_as_one(tmp_path):
    changed = {**LOG, "log/b.csv": LOG["log/b.csv"].replace("sku", "item")}
    with pytest.raises(InputError, match=r"b.csv: its columns are customer, item, at; those of a.csv are others"):
        tables(write(tmp_path, changed), **shop(separator=";"))
    with pytest.raises(InputError, match=r"no file fits 'log/\*.csv'; look at interactions.files.interactions"):
        tables(tmp_path / "log", **shop())


def test_a_catalogue_smaller_than_a_list_is_named(tmp_path):
    pool = CandidatePool.of(pl.DataFrame({"item": ["a", "b", "c"], "count": [1, 1, 1]}))
    later = pl.DataFrame({"user": ["u"], "item": ["a"], "rating": [5.0], "timestamp": [1], "activity": [1]})
    for draw in (POPULAR, UNIFORM):
        with pytest.raises(RLRFError, match=r"split: 3 items are fewer than a list holds; lower split.list_length"):
            candidates.build(later, later.select("user", "item"), pool, draw, 1, 10, 5, 4.0, 0)


def test_gzip_is_unpacked_and_a_broken_one_named(tmp_path):
    whole = gzip.compress(b"content " * 5000, mtime=0)
    (tmp_path / "a.gz").write_bytes(whole)
    gunzip(tmp_path / "a.gz", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"content " * 5000
    for broken in (whole[:-20], whole[:50] + b"\x00\xff" + whole[52:], b"no gzip at all"):
        (tmp_path / "b.gz").write_bytes(broken)
        with pytest.raises(InputError, match=r"b.gz: not a whole gzip file"):
            gunzip(tmp_path / "b.gz", tmp_path / "b")
