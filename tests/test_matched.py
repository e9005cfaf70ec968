"""Drawn items that are as popular as the liked ones: knowing popularity is worth what chance is."""

import numpy as np
import polars as pl
import pytest
import torch

from rlrf4rec.errors import RLRFError
from rlrf4rec.evaluation import orders
from rlrf4rec.lists import candidates, matched, protocols
from rlrf4rec.lists.given import CandidatePool, ListSettings, ProtocolInputs
from rlrf4rec.ranking.lists import Lists

ITEMS = pl.Series("item", [f"i{k}" for k in range(500)])
COUNTS = np.round(3000 / np.arange(1, 501)).astype(np.int64)  # a few items have nearly all of the interactions
USERS = [f"u{k:03}" for k in range(300)]


def skewed(seed=0):
    """Interactions after the history: 40 a user, drawn by a flatter popularity than the counts; half of them liked."""
    rng, chances = np.random.default_rng(seed), COUNTS**0.6
    rows = []
    for user in USERS:
        items = rng.choice(500, 40, replace=False, p=chances / chances.sum())
        rows += [(user, f"i{i}", float(rng.choice([1, 5])), 100 + n, n) for n, i in enumerate(items)]
    return pl.DataFrame(rows, schema=["user", "item", "rating", "timestamp", "activity"], orient="row")


def made(protocol):
    later = skewed()
    popularity = pl.DataFrame({"item": ITEMS, "count": COUNTS})
    given = ProtocolInputs(later.clear(), later, later, popularity, ListSettings(4, 10, 16, 20, 4.0), 7)
    make, _ = protocols.PROTOCOLS[protocol](given)
    return later, make(later.select("user").unique()).lists


def gap(lists):
    """NDCG@5 of the popularity order less that of chance, over lists, in standard errors."""
    tensors = Lists.of(lists, pl.Series(USERS), ITEMS)
    found = orders.report(lists, tensors, pl.Series(USERS), torch.from_numpy(COUNTS).float(), [5])
    difference = found["popularity"]["over_lists"]["ndcg@5"] - found["random"]["over_lists"]["ndcg@5"]
    return difference / (0.25 / len(tensors) ** 0.5)  # an NDCG of one list spreads by a quarter


def test_popularity_tells_nothing_where_it_told_much():
    assert abs(gap(made("popularity")[1])) > 5
    assert abs(gap(made("matched")[1])) < 3


def test_lists_hold_liked_items_and_drawn_ones_that_the_user_never_had():
    later, lists = made("matched")
    assert lists["real"].equals(lists["label"] == 1)
    liked = later.filter(pl.col("rating") >= 4).select("user", "item")
    real, drawn = (lists.filter(pl.col("real") == which).select("user", "item") for which in (True, False))
    assert real.sort("user", "item").equals(liked.sort("user", "item"))
    assert drawn.join(later, on=["user", "item"], how="semi").height == 0
    assert not lists.select("user", "list", "item").is_duplicated().any()
    sizes = lists.group_by("user", "list").agg(pl.len(), pl.col("real").sum())
    assert sizes["len"].unique().to_list() == [10]
    assert sizes["real"].max() == 4


FALLING = np.arange(500, 0, -1)  # the bins are items 0 to 49, 50 to 99, ...


def sample(own, real, size, length=10, counts=FALLING, seed=0):
    pool = CandidatePool(ITEMS[: len(counts)], counts)
    draw = matched.MATCHED.sampler(pool, np.array(own), length, "u7")
    return draw(np.random.default_rng(seed), np.array(real), size).tolist()


def test_each_liked_item_gets_its_share_from_its_bin():
    found = [sample([10, 120], [10, 120], 6, seed=seed) for seed in range(20)]
    assert all(sum(i < 50 for i in one) == 3 == sum(100 <= i < 150 for i in one) for one in found)
    starts = {one[0] < 50 for one in found}
    assert starts == {True, False}


def test_a_bin_without_a_free_item_is_widened_on_both_sides():
    found = sample([*range(100, 150)], [120], 6)
    assert all(50 <= i < 100 or 150 <= i < 200 for i in found)
    assert sample([*range(1, 60)], [3], 1, length=2, counts=FALLING[:60]) == [0]


def test_too_few_items_are_an_error():
    with pytest.raises(RLRFError, match="user u7 has only 8 items left for negatives; lower list_length"):
        sample([*range(8, 60)], [9], 6, counts=FALLING[:60])


def test_nothing_liked_later_gives_an_empty_table():
    nothing, pool = skewed().clear(), CandidatePool(ITEMS, COUNTS)
    lists, without = candidates.build(nothing, nothing, pool, matched.MATCHED, 4, 10, 9, 4.0, 7)
    assert (lists.height, without) == (0, 0)
