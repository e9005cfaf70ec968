import weakref
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlrf4rec.errors import RLRFError
from rlrf4rec.lists import knn, retrieval, sasrec
from rlrf4rec.lists.histories import histories
from rlrf4rec.lists.retrieval import FirstStage, MostPopular, Window
from rlrf4rec.tables.split import LISTS, check_fold, check_history

ITEMS = pl.Series("item", [f"i{k}" for k in range(8)])
SMALL = sasrec.SASRecSettings(width=16, heads=2, length=6, batch=16, epochs=8, learning_rate=0.01)


def places(*rows):
    return [np.array(row) for row in rows]


def window(query, positive, user="u"):
    return Window(user, np.array(query), np.array(positive), np.array(positive), 0, len(query))


def rows(user, items, times, ratings=None):
    return pl.DataFrame(
        {"user": user, "item": [f"i{k}" for k in items], "rating": ratings or [5.0] * len(items), "timestamp": times},
        schema={"user": pl.String, "item": pl.String, "rating": pl.Float64, "timestamp": pl.Int64},
    )


# Top and recall


def test_top_leaves_the_query_out_and_breaks_ties_by_the_catalogue():
    popular = MostPopular(np.array([9.0, 5.0, 7.0, 5.0, 5.0]))
    best = retrieval.top(popular, places([0], [2, 1]), 3)
    assert best.places.tolist() == [[2, 1, 3], [0, 3, 4]]
    assert best.scores.tolist() == [[7, 5, 5], [9, 5, 5]]


def test_top_is_the_same_in_batches(monkeypatch):
    near = knn.fit(places(*np.random.default_rng(0).integers(0, 30, (20, 8))), 30)
    queries = places(*[[k, k + 1] for k in range(25)])
    whole = retrieval.top(near, queries, 6)
    monkeypatch.setattr(retrieval, "BATCH", 7)
    again = retrieval.top(near, queries, 6)
    assert again.places.tolist() == whole.places.tolist()
    assert again.scores.tolist() == whole.scores.tolist()


@settings(deadline=None)
@given(st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 3.0]), min_size=1, max_size=12), st.integers(1, 15))
def test_top_is_the_begin_of_a_stable_sort(scores, length):
    wanted = np.argsort(-np.array(scores), kind="stable")[:length].tolist()
    assert retrieval.top(MostPopular(np.array(scores)), [np.array([], dtype=int)], length).places.tolist() == [wanted]


def test_recall_by_hand():
    asked = [window([0], [1, 2]), window([0], []), window([0], [3])]
    best = np.array([[1, 4], [1, 2], [2, 3]])
    assert retrieval.recall(asked, best) == pytest.approx((0.5 + 1.0) / 2)
    assert np.isnan(retrieval.recall([window([0], [])], best[:1]))


def test_ties_are_mixed_and_nothing_else():
    ordered = pl.concat([rows("a", range(8), [1, 1, 1, 1, 1, 1, 2, 3]), rows("b", [0, 1], [5, 6])])
    one, two = retrieval.mixed(ordered, 1), retrieval.mixed(ordered, 2)
    assert one["timestamp"].equals(ordered["timestamp"])
    assert one["item"].to_list()[6:] == ["i6", "i7", "i0", "i1"]
    assert sorted(one["item"].to_list()[:6]) == sorted(two["item"].to_list()[:6])
    assert not one["item"].equals(two["item"])
    assert retrieval.mixed(ordered, 1).equals(one)


# Windows


@pytest.mark.parametrize(
    ("times", "size", "expected"),
    [
        ([1, 2, 3, 4, 5], 2, [(0, 2), (2, 4), (4, 5)]),
        ([1, 2, 2, 2, 5, 6], 2, [(0, 4), (4, 6)]),  # no window begins within a second
        ([1, 1, 1], 2, [(0, 3)]),
        ([1], 5, [(0, 1)]),
        ([], 5, []),
    ],
)
def test_windows_begin_where_time_moves_on(times, size, expected):
    assert retrieval.stretches(times, size) == expected


def test_a_query_is_all_that_lies_strictly_before():
    interactions = rows("u", range(8), [1, 2, 3, 4, 5, 5, 6, 7], [5.0, 5.0, 5.0, 5.0, 1.0, 4.0, 3.0, 5.0])
    history, later, _ = histories(interactions, 3)
    found = retrieval.windows(later, history, ITEMS, 2, 4.0)
    assert [w.query.tolist() for w in found] == [[0, 1, 2], [0, 1, 2, 3, 4, 5]]
    assert [w.real.tolist() for w in found] == [[3, 4, 5], [6, 7]]
    assert [w.positive.tolist() for w in found] == [[3, 5], [7]]
    assert [(w.begins, w.activity) for w in found] == [(4, 3), (6, 6)]


# Lists


def by_counts(*counts):
    return FirstStage(MostPopular(np.array(counts, dtype=float)), {}, {}.__getitem__)


def test_lists_are_the_top_of_the_first_stage():
    interactions = rows("u", [0, 1, 2, 3, 4], [1, 2, 3, 4, 5], [5.0, 5.0, 5.0, 2.0, 4.0])
    history, later, _ = histories(interactions, 2)
    first = by_counts(99, 98, 1, 6, 5, 7, 0, 0)
    lists, report = retrieval.build_retrieved(later, history, ITEMS, first, 4, 2, 9, 4.0)
    assert lists.rows() == [
        # first window, items 2 and 3: only 3 is retrieved at first, rated 2; item 2 comes last and is the positive
        ("u", 0, 0, "i5", 0, False, 3, 2, "retrieved", 7.0),
        ("u", 0, 1, "i3", 0, True, 3, 2, "retrieved", 6.0),
        ("u", 0, 2, "i4", 0, False, 3, 2, "retrieved", 5.0),
        ("u", 0, 3, "i2", 1, True, 3, 2, "retrieved", 1.0),
        # second window, item 4: items 2 and 3 are known by now
        ("u", 1, 0, "i5", 0, False, 5, 4, "retrieved", 7.0),
        ("u", 1, 1, "i4", 1, True, 5, 4, "retrieved", 5.0),
        ("u", 1, 2, "i6", 0, False, 5, 4, "retrieved", 0.0),
        ("u", 1, 3, "i7", 0, False, 5, 4, "retrieved", 0.0),
    ]
    assert report == {"lists": 2, "without_positive": 0, "recall4": 1.0}


def test_windows_without_a_retrieved_positive_are_left_out_and_counted():
    history, later, _ = histories(rows("u", [0, 1, 2, 3], [1, 2, 3, 4]), 2)
    lists, report = retrieval.build_retrieved(later, history, ITEMS, by_counts(0, 0, 0, 3, 2, 1, 1, 1), 2, 1, 9, 4.0)
    assert lists["list"].unique().to_list() == [0]
    assert lists.filter(pl.col("label") == 1)["item"].to_list() == ["i3"]
    assert report == {"lists": 1, "without_positive": 1, "recall2": 0.5}


def test_max_lists_keeps_the_first():
    history, later, _ = histories(rows("u", range(6), range(6)), 2)
    lists, report = retrieval.build_retrieved(later, history, ITEMS, by_counts(*range(8, 0, -1)), 2, 1, 3, 4.0)
    assert lists["begins"].unique(maintain_order=True).to_list() == [2, 3, 4]
    assert report["lists"] == 3


def test_nothing_retrieved_gives_an_empty_table():
    history, later, _ = histories(rows("u", [0, 1, 2], [1, 2, 3], [5.0, 5.0, 1.0]), 2)
    lists, report = retrieval.build_retrieved(later, history, ITEMS, by_counts(*range(8)), 2, 1, 3, 4.0)
    assert lists.height == 0
    assert report["without_positive"] == 1
    assert np.isnan(report["recall2"])


def test_a_user_with_too_few_new_items_is_an_error():
    history, later, _ = histories(rows("u7", range(8), range(8)), 4)
    with pytest.raises(RLRFError, match="user u7 has only 3 new items; lower list_length"):
        retrieval.build_retrieved(later, history, ITEMS, by_counts(*range(8)), 4, 1, 3, 4.0)


# The choice


def world(extra=()):
    """40 users round a catalogue of 30 items; the last ten are development users. `extra` rows are added."""
    items = pl.Series("item", [f"i{k}" for k in range(30)])
    made = [rows(f"u{u:02}", [(u + k) % 30 for k in range(12)], range(12)) for u in range(40)]
    interactions = pl.concat([*made, *extra]).sort("user", "timestamp", maintain_order=True)
    names = [f"u{u:02}" for u in range(40)]
    users = pl.DataFrame({"user": names, "fold": ["train"] * 22 + ["validation"] * 8 + ["development"] * 10})
    history, later, _ = histories(interactions, 4)
    return interactions, users, history, later, items


@pytest.fixture
def quick(monkeypatch):
    fit, settings = sasrec.fit, replace(SMALL, epochs=2, batch=40)
    monkeypatch.setattr(sasrec, "fit", lambda sequences, items, seed: fit(sequences, items, seed, settings))


def scores(first):
    return first.retriever.score(places([3, 4, 5], [20]))


def test_the_better_on_validation_is_chosen(quick):
    first, report = retrieval.choose(*world(), 5, 4, 4.0, 1)
    assert list(report) == ["chosen", "validation_recall5", "validation_recall50"]
    at = report["validation_recall5"]
    assert list(at) == ["popularity", "knn", "sasrec"]
    assert report["chosen"] == max(("knn", "sasrec"), key=at.get)
    assert isinstance(first.retriever, sasrec.SASRec if report["chosen"] == "sasrec" else knn.ItemKnn)
    assert at["knn"] > at["popularity"]
    assert set(report["validation_recall50"].values()) == {1.0}


@pytest.mark.parametrize("winner", ["knn", "sasrec"])
def test_the_choice_follows_recall(monkeypatch, winner):
    good, bad = MostPopular(np.arange(30.0)), MostPopular(-np.arange(30.0))
    monkeypatch.setattr(retrieval, "fit", lambda name, *_: good if name == winner else bad)
    interactions, users, history, later, items = world()
    liked = pl.when(pl.col("item").is_in([f"i{k}" for k in range(15, 30)])).then(5.0).otherwise(1.0)
    first, report = retrieval.choose(
        interactions, users, history, later.with_columns(rating=liked), items, 5, 4, 4.0, 1
    )
    assert report["chosen"] == winner
    assert first.retriever is good


def test_planted_leak_labels_of_development_users_change_nothing(quick):
    plain, report = retrieval.choose(*world(), 5, 4, 4.0, 1)
    planted = rows("u35", [2, 3, 4, 25], [100, 101, 102, 103])
    first, leaky = retrieval.choose(*world([planted]), 5, 4, 4.0, 1)
    assert leaky == report
    np.testing.assert_array_equal(scores(first), scores(plain))
    assert first.part == plain.part
    for part in range(4):
        np.testing.assert_array_equal(first.without(part).score(places([7])), plain.without(part).score(places([7])))
    # the test has teeth: the same rows of a train user do change the retriever
    seen, _ = retrieval.choose(*world([rows("u05", [2, 3, 4, 25], [100, 101, 102, 103])]), 5, 4, 4.0, 1)
    assert not np.array_equal(scores(seen), scores(plain))


def test_validation_interactions_train_nothing(quick):
    plain, _ = retrieval.choose(*world(), 5, 4, 4.0, 1)
    first, _ = retrieval.choose(*world([rows("u25", [8, 9], [100, 101])]), 5, 4, 4.0, 1)
    np.testing.assert_array_equal(scores(first), scores(plain))


def test_a_train_user_is_retrieved_for_by_a_scorer_that_never_saw_them():
    train = {f"u{u}": np.array([u % 8, (u + 1) % 8]) for u in range(8)}
    whole = MostPopular(np.zeros(8))
    first = retrieval.cross_fitted(whole, "popularity", train, 8, 4, 0)
    assert first.retriever is whole
    assert set(first.part) == set(train)
    assert Counter(first.part.values()) == {0: 2, 1: 2, 2: 2, 3: 2}
    for part in range(4):
        rest = np.bincount(np.concatenate([train[u] for u in train if first.part[u] != part]), minlength=8)
        np.testing.assert_array_equal(first.without(part).counts, rest)


def test_the_scorer_apart_makes_the_lists_of_its_user():
    down, up = MostPopular(-np.arange(8.0)), MostPopular(np.arange(8.0))
    first = FirstStage(down, {"a": 3}, {3: up}.__getitem__)
    best = first.top([window([0], [1], "a"), window([0], [1], "b"), window([7], [1], "a")], 2)
    assert best.places.tolist() == [[7, 6], [1, 2], [6, 5]]
    assert best.scores.tolist() == [[7, 6], [-1, -2], [6, 5]]


def test_one_part_is_retrieved_for_after_the_other():
    """Each is trained once, and its retriever is gone before the next one is trained."""
    alive, most, trained = set(), [], []

    def without(part):
        retriever = MostPopular(np.arange(8.0))
        trained.append(part)
        alive.add(part)
        weakref.finalize(retriever, alive.discard, part)
        most.append(len(alive))
        return retriever

    first = FirstStage(MostPopular(np.zeros(8)), {f"u{k}": k % 3 for k in range(9)}, without)
    first.top([window([0], [1], f"u{k}") for k in range(9)], 2)
    assert trained == [0, 1, 2]
    assert most == [1, 1, 1]


def test_the_lists_keep_their_contract():
    interactions, users, history, later, items = world()
    train = retrieval.sequences(interactions.filter(pl.col("user") < "u22"), items)
    first = retrieval.cross_fitted(knn.fit(list(train.values()), 30), "knn", train, 30, 4, 0)
    for fold in ("train", "validation", "development"):
        own = later.join(users.filter(pl.col("fold") == fold), on="user", how="semi", maintain_order="left")
        lists, report = retrieval.build_retrieved(own, history, items, first, 5, 4, 9, 4.0)
        assert report["lists"] > 0
        path = Path(f"lists_{fold}.parquet")
        LISTS.check(lists, path)
        check_fold(lists, users, fold, path)
        check_history(lists, history, path)
        again, _ = retrieval.build_retrieved(own, history, items, first, 5, 4, 9, 4.0)
        assert again.equals(lists)
