"""Lists of what a user rated later: how it is liked tells their items apart, and nothing was drawn."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlrf4rec.errors import RLRFError
from rlrf4rec.lists import protocols, rated
from rlrf4rec.lists.given import ListSettings
from rlrf4rec.lists.histories import histories
from rlrf4rec.tables.contract import ContractError
from rlrf4rec.tables.split import LISTS, check_history

PATH = Path("lists.parquet")


def later(user, ratings, start=3):
    """Interactions with i0, i1, ..., a second apart."""
    count = len(ratings)
    return pl.DataFrame(
        {
            "user": [user] * count,
            "item": [f"i{k}" for k in range(count)],
            "rating": ratings,
            "timestamp": list(range(100, 100 + count)),
            "activity": list(range(start, start + count)),
        },
        schema={
            "user": pl.String,
            "item": pl.String,
            "rating": pl.Float64,
            "timestamp": pl.Int64,
            "activity": pl.Int64,
        },
    )


def test_lists_of_a_user_by_hand():
    """Stretches of three: mixed, all liked, none liked, mixed; one interaction is left over."""
    ratings = [5.0, 1.0, 4.0, 4.0, 5.0, 4.0, 1.0, 2.0, 3.0, 3.5, 2.0, 4.5, 5.0]
    made = rated.build(later("u", ratings), 3, 9, 4.0, 7)
    assert (made.without, made.without_negative, made.recall) == (1, 1, None)
    about = made.lists.select("list", "begins", "activity", "real", "protocol").unique(maintain_order=True)
    assert about.rows() == [(0, 100, 3, True, "rated"), (1, 109, 12, True, "rated")]
    assert made.lists["position"].to_list() == [0, 1, 2] * 2
    found = made.lists.sort("list", "item").select("list", "item", "label")
    assert found.rows() == [(0, "i0", 1), (0, "i1", 0), (0, "i2", 1), (1, "i10", 0), (1, "i11", 1), (1, "i9", 0)]


def test_max_lists_keeps_the_first_that_ask():
    ratings = [1.0] * 2 + [5.0, 1.0] * 5
    made = rated.build(later("u", ratings), 2, 2, 4.0, 7)
    assert made.lists["begins"].unique(maintain_order=True).to_list() == [102, 104]
    assert made.without == 1


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.lists(st.sampled_from([1.0, 3.0, 4.0, 5.0]), max_size=40), min_size=1, max_size=4),
    st.integers(2, 6),
    st.integers(1, 3),
)
def test_every_candidate_is_a_later_item_of_the_user_once_and_labelled_by_rating(of_users, length, most):
    both = pl.concat([later(f"u{k}", ratings) for k, ratings in enumerate(of_users)])
    made = rated.build(both, length, most, 4.0, 7)
    if made.lists.height:  # `lists.protocols` refuses a fold without a list
        LISTS.check(made.lists, PATH)
    known = made.lists.join(both.select("user", "item", "rating", "timestamp"), on=["user", "item"], how="left")
    assert known["rating"].null_count() == 0
    assert known.filter((pl.col("rating") >= 4.0) != (pl.col("label") == 1)).height == 0
    assert not made.lists.select("user", "item").is_duplicated().any()
    for (_, number), rows in known.group_by("user", "list", maintain_order=True):
        assert number < most
        assert 0 < rows["label"].sum() < length == rows.height
        assert rows["timestamp"].max() - rows["timestamp"].min() == length - 1  # nothing in between is left out
    assert made.lists["user"].unique(maintain_order=True).to_list() == sorted(set(made.lists["user"]))
    stretches = sum(len(ratings) // length for ratings in of_users)
    assert made.lists.height // length + made.without + (made.without_negative or 0) <= stretches


def test_a_users_order_is_by_chance_of_their_own_and_stays():
    ratings = [5.0, 1.0] * 20
    both = pl.concat([later("a", ratings), later("b", ratings)])
    made, again = (rated.build(both, 10, 9, 4.0, 7).lists for _ in range(2))
    assert made.equals(again)
    alone = rated.build(later("b", ratings), 10, 9, 4.0, 7).lists
    assert alone.equals(made.filter(pl.col("user") == "b"))
    assert not made.filter(pl.col("user") == "a")["item"].equals(alone["item"])
    assert not rated.build(both, 10, 9, 4.0, 8).lists.equals(made)
    assert 3.5 < made.filter(pl.col("label") == 1)["position"].mean() < 5.5


def test_no_stretch_that_is_whole_makes_an_empty_table():
    made = rated.build(later("u", [5.0, 1.0]), 3, 9, 4.0, 7)
    assert (made.lists.height, made.without, made.without_negative) == (0, 0, 0)
    assert made.lists.schema == rated.build(later("u", [5.0, 1.0, 1.0]), 3, 9, 4.0, 7).lists.schema


def world(ratings):
    """Nine users of fourteen interactions each; three of them in each fold."""
    made = [later(f"u{k}", ratings).with_columns(item=pl.format("i{}", pl.int_range(14) + k)) for k in range(9)]
    history, after, _ = histories(pl.concat(made).drop("activity"), 4)
    users = pl.DataFrame({"user": [f"u{k}" for k in range(9)], "fold": ["train", "validation", "development"] * 3})
    items = pl.DataFrame({"item": [f"i{k}" for k in range(22)], "count": [1] * 22})
    return history, after, users, items


def test_the_protocol_gives_every_fold_its_lists_and_counts_what_it_left_out():
    taken = {}
    history, after, users, items = world([5.0, 1.0] * 4 + [5.0] * 5 + [1.0])
    report = protocols.build(
        "rated", history, after, users, items, ListSettings(2, 5, 9, 20, 4.0), 7, taken.__setitem__
    )
    assert report["development"] == {
        "users": 3,
        "users_without_list": 0,
        "lists": 6,
        "steps_without_positive": 0,
        "steps_without_negative": 0,
        "positives_per_list": 3.5,
    }
    for lists in taken.values():
        check_history(LISTS.check(lists, PATH), history, PATH)


def test_ratings_that_are_all_alike_are_refused():
    with pytest.raises(RLRFError, match=r"protocol rated .* every rating is 1, .*choose another split.protocol"):
        protocols.build("rated", *world([1.0] * 14), ListSettings(2, 5, 9, 20, 1.0), 7, print)


@pytest.mark.parametrize(
    ("column", "values", "sentence"),
    [
        ("label", [1, 1, 1], "a list of rated has more than positives"),
        ("real", [True, True, False], "the user rated every item of rated"),
    ],
)
def test_what_a_list_of_rated_keeps_to(column, values, sentence):
    made = rated.build(later("u", [5.0, 5.0, 1.0]), 3, 9, 4.0, 7).lists.sort("label", descending=True)
    made = made.with_columns(position=pl.int_range(3))
    LISTS.check(made, PATH)
    with pytest.raises(ContractError, match=sentence):
        LISTS.check(made.with_columns(pl.Series(column, values)), PATH)
