"""What metrics are worth by chance, and the orders that stand beside every re-ranker."""

import re
from itertools import permutations
from math import log2

import polars as pl
import pytest
import torch

from rlrf4rec.errors import ParamsError
from rlrf4rec.evaluation import orders
from rlrf4rec.metrics.expected import by_chance
from rlrf4rec.metrics.ranking import METRICS
from rlrf4rec.ranking.lists import Lists

USERS, ITEMS = pl.Series(["a", "b"]), pl.Series(["w", "x", "y", "z"])
POPULARITY = torch.tensor([4.0, 3.0, 2.0, 1.0])


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("k", [1, 3, 6])
@pytest.mark.parametrize(("first", "positives"), [(6, 2), (6, 0), (6, 6), (4, 2), (2, 2), (1, 1), (0, 0)])
def test_the_mean_by_chance_is_that_over_all_orders(name, k, first, positives):
    labels = [1] * positives + [0] * (first - positives)
    every = torch.tensor([[*top, *[0] * (6 - first)] for top in permutations(labels)])
    wanted = float(METRICS[name](every, k).mean())
    assert by_chance(METRICS[name], k, 6, first, positives) == pytest.approx(wanted, abs=1e-12)


def test_a_long_list_takes_no_longer_than_its_positives():
    found = by_chance(METRICS["hr"], 30, length=40, first=40, positives=1)
    assert found == pytest.approx(30 / 40)


def frame(protocol="popularity"):
    """Of user a two lists: x is liked and y rated; all four rated, w and z liked. Of user b one: z is liked."""
    rows = [
        *(("a", 0, i, item, int(item == "x"), item in "xy") for i, item in enumerate("zyxw")),
        *(("a", 1, i, item, int(item in "wz"), True) for i, item in enumerate("wxyz")),
        *(("b", 0, i, item, int(item == "z"), item == "z") for i, item in enumerate("xyzw")),
    ]
    made = pl.DataFrame(rows, schema=["user", "list", "position", "item", "label", "real"], orient="row")
    return made.with_columns(begins=1, activity=1, protocol=pl.lit(protocol))


def found(table):
    return orders.report(table, Lists.of(table, USERS, ITEMS), USERS, POPULARITY, [1, 2])


def test_orders_by_hand():
    made = found(frame())
    assert list(made) == ["random", "popularity", "rated_first", "oracle"]
    hits = {name: (of["over_users"]["hr@1"], of["over_lists"]["hr@1"]) for name, of in made.items()}
    assert hits["random"] == pytest.approx(((1 / 4 + 1 / 2) / 2 / 2 + 1 / 4 / 2, (1 / 4 + 1 / 2 + 1 / 4) / 3))
    assert hits["popularity"] == pytest.approx(((0 + 1) / 2 / 2, 1 / 3))
    assert hits["rated_first"] == pytest.approx(((1 / 2 + 1 / 2) / 2 / 2 + 1 / 2, (1 / 2 + 1 / 2 + 1) / 3))
    assert hits["oracle"] == (1.0, 1.0)
    gain = made["popularity"]["over_lists"]["ndcg@2"]
    assert gain == pytest.approx((1 / log2(3) + 1 / (1 + 1 / log2(3)) + 0) / 3)


def test_the_rows_of_the_table_may_come_in_any_order():
    assert found(frame().sample(fraction=1.0, shuffle=True, seed=1)) == found(frame())


def test_a_protocol_with_a_first_stage_has_the_order_of_that_stage():
    made = found(frame("retrieved"))
    assert list(made) == ["random", "popularity", "first_stage", "rated_first", "oracle"]
    assert made["first_stage"]["over_lists"]["mrr@2"] == pytest.approx(1 / 3)


def test_where_all_is_rated_knowing_what_was_rated_is_chance():
    made = found(frame("rated").filter(pl.col("list") == 1))
    assert made["rated_first"] == made["random"]


def test_an_unknown_protocol_is_named():
    known = re.escape("protocol 'x' is unknown; one of uniform, popularity, matched, retrieved, rated")
    with pytest.raises(ParamsError, match=known):
        found(frame("x"))
