import weakref

import numpy as np
import polars as pl
import pytest
import torch

from rlrf4rec.errors import RLRFError
from rlrf4rec.lists import candidates, folds, protocols
from rlrf4rec.lists.given import CandidatePool, ListSettings, Made
from rlrf4rec.lists.histories import cut, histories, popularity
from rlrf4rec.lists.popular import POPULAR
from rlrf4rec.lists.uniform import UNIFORM

USERS = [f"u{i}" for i in range(100)]


def test_folds_have_the_asked_sizes_and_halves_only_for_tuning_users():
    apart = folds.assign(USERS, 4, 0, 0.1, "apart", 0.6, 1)
    assert dict(apart["fold"].value_counts().iter_rows()) == {"train": 65, "validation": 10, "development": 25}
    assert dict(apart["role"].value_counts().iter_rows()) == {"tune": 39, "rank": 26, "none": 35}
    assert set(apart.filter(pl.col("role") == "tune")["half"]) == {"A", "B"}
    assert set(apart.filter(pl.col("role") != "tune")["half"]) == {"-"}
    shared = folds.assign(USERS, 4, 0, 0.1, "shared", 0.6, 1)
    assert set(shared.filter(pl.col("fold") == "train")["role"]) == {"both"}
    assert shared["fold"].equals(apart["fold"])


def test_folds_depend_on_the_seed_alone():
    assert folds.assign(USERS, 5, 1, 0.1, "apart", 0.5, 3).equals(folds.assign(USERS, 5, 1, 0.1, "apart", 0.5, 3))
    assert not folds.assign(USERS, 5, 1, 0.1, "apart", 0.5, 3).equals(folds.assign(USERS, 5, 1, 0.1, "apart", 0.5, 4))


def test_every_user_is_evaluated_in_exactly_one_fold():
    tested = [
        user
        for fold in range(3)
        for user in folds.assign(USERS, 3, fold, 0.1, "apart", 0.5, 3).filter(pl.col("fold") == "development")["user"]
    ]
    assert sorted(tested) == sorted(USERS)


def test_too_few_users_are_an_error():
    with pytest.raises(RLRFError, match="3 users are too few"):
        folds.assign(["a", "b", "c"], 5, 0, 0.1, "apart", 0.5, 0)


@pytest.mark.parametrize(
    ("times", "length", "expected"),
    [
        ([1, 2, 3, 4, 5, 6], 30, 3),  # KAR's place, (6 + 1) // 2
        ([1, 2, 3, 4, 5, 6], 2, 2),  # the cap
        ([1, 1, 5, 5, 5, 9], 30, 2),  # a tie moves the cut back to where time moves on
        ([5, 5, 5, 5, 6, 7], 30, 4),  # or forward, when there is no earlier place
        ([5, 5, 5, 5], 30, None),
        ([5], 30, None),
    ],
)
def test_the_cut_falls_where_time_moves_on(times, length, expected):
    assert interactions(times).select(cut(length)).item() == expected


def interactions(times, user="u", ratings=None):
    n = len(times)
    ratings = ratings or [5.0] * n
    return pl.DataFrame(
        {"user": [user] * n, "item": [f"i{k}" for k in range(n)], "rating": ratings, "timestamp": times}
    )


def test_history_ends_before_the_rest_begins_and_users_without_a_cut_are_named():
    both = pl.concat([interactions([1, 2, 2, 3, 4, 4]), interactions([7, 7, 7], "tied")])
    history, later, uncut = histories(both, 30)
    assert uncut == ["tied"]
    assert history["position"].to_list() == [0, 1, 2]
    assert later["activity"].to_list() == [3, 4, 5]
    assert history["timestamp"].max() < later["timestamp"].min()


def test_popularity_counts_only_histories_of_train_users():
    history = pl.DataFrame({"user": ["a", "b", "c"], "item": ["i0", "i0", "i0"]})
    items = pl.DataFrame({"item": ["i0", "i1"]})
    counts = popularity(items, history, pl.DataFrame({"user": ["a", "b"]}))
    assert counts.rows() == [("i0", 2), ("i1", 0)]


def build(later, counts=None, step=4, length=10, max_lists=99, items=60, draw=POPULAR):
    names = pl.Series("item", [f"i{k}" for k in range(items)])
    pool = CandidatePool(names, np.zeros(items, dtype=int) if counts is None else counts)
    seen = later.select("user", "item")
    return candidates.build(later, seen, pool, draw, step, length, max_lists, 4.0, 7)


def later(n, ratings=None):
    return interactions(list(range(n)), ratings=ratings).with_columns(activity=pl.int_range(n, dtype=pl.Int64) + 3)


def test_lists_hold_the_next_interactions_and_unseen_negatives():
    lists, without = build(later(10))
    assert without == 0
    sizes = lists.group_by("list").agg(pl.len(), pl.col("real").sum(), pl.col("item").n_unique()).sort("list")
    assert sizes.rows() == [(0, 10, 4, 10), (1, 10, 4, 10), (2, 10, 2, 10)]
    own = {f"i{k}" for k in range(10)}
    assert not own & set(lists.filter(~pl.col("real"))["item"])
    assert lists.filter(pl.col("list") == 1)["begins"].unique().to_list() == [4]
    assert lists.filter(pl.col("list") == 1)["activity"].unique().to_list() == [7]


def test_lists_without_a_positive_are_left_out_and_counted():
    lists, without = build(later(8, [1.0] * 4 + [5.0, 1.0, 1.0, 1.0]))
    assert without == 1
    assert lists["label"].sum() == 1
    assert lists["list"].unique().to_list() == [0]


def test_max_lists_keeps_the_first():
    lists, _ = build(later(20), max_lists=2)
    assert sorted(lists.filter(pl.col("real"))["item"], key=lambda i: int(i[1:])) == [f"i{k}" for k in range(8)]


def test_negatives_follow_popularity():
    counts = np.where(np.arange(60) < 40, 1e6, 0)
    lists, _ = build(later(8), counts)
    assert all(int(i[1:]) < 40 for i in lists.filter(~pl.col("real"))["item"])


def test_kars_lists_are_unchecked_and_hold_every_step():
    """Uniform negatives: own items and doubles happen, a step without a positive gives a list, no cap."""
    ratings = [1.0] * 4 + [5.0] * 36
    lists, without = build(later(40, ratings), np.full(60, 1e6), items=60, draw=UNIFORM, max_lists=1)
    assert without == 1
    assert lists["list"].n_unique() == 10
    drawn = lists.filter(~pl.col("real"))
    assert set(drawn["item"]) & {f"i{k}" for k in range(40)}
    assert lists.group_by("list").agg(pl.col("item").n_unique())["item"].min() < 10
    assert lists.filter(pl.col("list") == 0)["label"].sum() == 0
    assert drawn["label"].sum() == 0


def catalogue(items=60):
    return CandidatePool(pl.Series("item", [f"i{k}" for k in range(items)]), np.arange(items))


def of(user, n, ratings=None):
    return later(n, ratings).with_columns(user=pl.lit(user))


def test_steps_begin_anew_with_each_user_and_another_users_items_say_nothing():
    """Of user a three steps, 4 + 4 + 1, of b two, 4 + 2; c has the whole catalogue and nothing later."""
    a, b, c = of("a", 9), of("b", 6, [1.0] * 4 + [5.0] * 2), of("c", 60)
    both, seen = pl.concat([a, b]), pl.concat([a, b, c]).sample(fraction=1.0, shuffle=True, seed=1)
    lists, without = candidates.build(both, seen, catalogue(), POPULAR, 4, 10, 9, 4.0, 7)
    assert without == 1
    sizes = lists.group_by("user", "list", maintain_order=True).agg(pl.col("real").sum(), pl.col("label").sum())
    assert sizes.rows() == [("a", 0, 4, 4), ("a", 1, 4, 4), ("a", 2, 1, 1), ("b", 0, 2, 2)]
    assert lists.filter(pl.col("user") == "b")["begins"].unique().to_list() == [4]
    alone = [candidates.build(own, own, catalogue(), POPULAR, 4, 10, 9, 4.0, 7)[0] for own in (a, b)]
    assert lists.equals(pl.concat(alone))


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def test_lists_are_the_same_in_processes(two_threads, monkeypatch):
    many = pl.concat([of(f"u{k}", 9 + k) for k in range(7)])
    whole, without = candidates.build(many, many, catalogue(), POPULAR, 4, 10, 9, 4.0, 7)
    monkeypatch.setattr(candidates, "USERS", 2)
    apart, again = candidates.build(many, many, catalogue(), POPULAR, 4, 10, 9, 4.0, 7)
    assert apart.equals(whole)
    assert again == without


def test_the_lists_of_a_fold_are_gone_before_the_next_are_made(monkeypatch):
    """A frame that is still alive when the next fold's lists are asked for would stand here twice."""
    alive, taken = set(), []
    made, _ = build(later(10))

    class Lists(pl.DataFrame):
        """A frame whose end can be seen."""

    def make(members):
        assert not alive
        lists = Lists(made)
        alive.add(id(lists))
        weakref.finalize(lists, alive.discard, id(lists))
        return Made(lists, 1)

    monkeypatch.setitem(protocols.PROTOCOLS, "made", lambda given: (make, {}))
    users = pl.DataFrame({"user": ["u", "v", "w"], "fold": ["train", "validation", "development"]})
    settings = ListSettings(4, 10, 99, 20, 4.0)
    report = protocols.build("made", made, made, users, made, settings, 7, lambda fold, lists: taken.append(fold))
    assert taken == ["train", "validation", "development"]
    assert report["development"]["lists"] == 3
    assert report["development"]["steps_without_positive"] == 1


def test_no_later_interactions_give_an_empty_table():
    lists, without = build(later(0))
    assert lists.schema == candidates.SCHEMA
    assert (lists.height, without) == (0, 0)


def test_a_catalogue_too_small_for_a_list_is_an_error():
    with pytest.raises(RLRFError, match="only 2 items left for negatives"):
        build(later(10), items=12)


def test_the_order_of_a_list_says_nothing():
    lists, _ = build(later(40), items=90)
    mean = lists.filter(pl.col("real"))["position"].mean()
    assert 3.0 < mean < 6.0
