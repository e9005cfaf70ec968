"""Differences by user, list and policy: by hand, and that an interval by list knows of others' numbers of lists."""

import numpy as np
import polars as pl
import pytest
import torch

from rlrf4rec.errors import RLRFError
from rlrf4rec.evaluation import blocks, compare, controls, lists
from rlrf4rec.metrics.statistics import paired_interval, weighted
from rlrf4rec.ranking.lists import Lists


def test_the_weighted_mean_by_hand():
    values = np.array([[0.1, 0.3], [0.0, 0.2]])
    found = weighted(values, np.array([1.0, 3.0]))
    assert found.mean() == pytest.approx((1 * 0.2 + 3 * 0.1) / 4)
    assert found.mean(axis=0) == pytest.approx([(0.1 + 0) / 4, (0.3 + 3 * 0.2) / 4])  # each seed's own
    # 0.5 * (0.1 - 0.125) + 0.125, ...
    assert found == pytest.approx(np.array([[0.1125, 0.2125], [-0.0625, 0.2375]]))


def test_equal_weights_change_nothing():
    values = np.random.default_rng(1).normal(0.1, 1, (30, 4))
    assert weighted(values, np.full(30, 7.0)) == pytest.approx(values)
    several = values.reshape(30, 2, 2)
    assert weighted(several, np.full(30, 7.0)) == pytest.approx(several)


def test_interval_is_that_of_a_ratio_under_new_users():
    """Users are drawn with their numbers of lists: as the bootstrap of sum(w * d) / sum(w) does it."""
    rng = np.random.default_rng(2)
    count = rng.integers(1, 17, 200)
    values = rng.normal(0.02, 0.1, 200) + 0.3 / count  # the gain sits in users with few lists
    found = compare.over_lists(values, count.tolist(), 4000, 1)
    drawn = rng.integers(0, 200, (4000, 200))
    ratios = (count * values)[drawn].sum(axis=1) / count[drawn].sum(axis=1)
    assert found["difference"] == pytest.approx((count * values).sum() / count.sum())
    assert (found["low"], found["high"]) == pytest.approx(tuple(np.quantile(ratios, [0.025, 0.975])), abs=0.002)
    assert found["difference"] < paired_interval(values, 10, 1)[0] - 0.02


def test_coverage_by_list():
    """95 % intervals hold the mean over all lists in 92.5 to 98.5 % of 400 experiments."""
    rng, held = np.random.default_rng(3), 0
    truth = np.mean(np.arange(1, 17) * (0.02 + 0.3 / np.arange(1, 17))) / np.mean(np.arange(1, 17))
    for number in range(400):
        count = rng.integers(1, 17, 120)
        values = rng.normal(0.02, 0.1, (120, 1)) + 0.3 / count[:, None] + rng.normal(0, 0.1, (120, 4))
        found = compare.over_lists(values, count.tolist(), 200, number)
        held += found["low"] <= truth <= found["high"]
    assert 0.925 <= held / 400 <= 0.985


# By policies


def test_the_interval_by_the_means_of_policies_by_hand():
    """Means 0.1, 0.2 and 0.6: standard deviation sqrt(0.07), t of two degrees of freedom 4.302653."""
    values = np.array([0.1, 0.2, 0.6]) + np.array([[-1.0], [1.0]])
    found = compare.over_policies(np.repeat(values[:, :, None], 4, axis=2))
    room = 4.302653 * (0.07 / 3) ** 0.5
    assert (found["difference"], found["low"], found["high"]) == pytest.approx((0.3, 0.3 - room, 0.3 + room))


def test_one_policy_tells_nothing_of_others():
    with pytest.raises(RLRFError, match=r"an interval by t is of two values or more; found \(1,\)"):
        compare.over_policies(np.zeros((5, 1, 2)))


def test_policies_that_users_hide_are_seen_by_their_means_alone():
    """Users are so many and so far apart that policies are taken not to differ: three means say less."""
    rng = np.random.default_rng(4)
    values = 0.05 + rng.normal(0, 0.2, (200, 3, 1)) + rng.normal(0, 0.01, (200, 3, 4))
    values += np.array([0.02, 0.0, -0.02])[:, None] - values.mean(axis=(0, 2), keepdims=True) + 0.05
    low = paired_interval(values, 10, 1)[1]
    assert compare.over_policies(values)["low"] < 0.005 < low


# Of re-rankers


@pytest.fixture
def three():
    """Three lists of `b` and one of `a`, two backbones, two seeds: `new` above `old` by 0.4 for `a`, 0.1 for `b`."""
    users, length = pl.Series(["b", "never", "a"]), 2
    of = Lists(
        torch.tensor([0, 0, 0, 2]),
        torch.tensor([0, 1, 2, 0]),
        torch.zeros(4, length, dtype=torch.long),
        torch.zeros(4, length, dtype=torch.long),
        torch.zeros(4),
    )
    rows = [
        {"backbone": b, "knowledge": k, "seed": s, "user": u, "ndcg@5": 0.1 * s + gain * (k == "new")}
        for b in ("dlcm", "prm")
        for k in ("old", "new")
        for s in (0, 1)
        for u, gain in (("b", 0.1), ("a", 0.4))
    ]
    return lists.counted(of, users), pl.DataFrame(rows)


def test_lists_are_counted_by_user_in_the_order_of_the_differences(three):
    assert three[0] == [1, 3]  # a, b


def test_a_claim_is_reported_by_list_beside_by_user(three):
    count, per_user = three
    claims = ["new - old", "newer - old"]
    by_list = blocks.over_lists(per_user, ["dlcm", "prm"], claims, "ndcg@5", count, 50, 1)
    found = blocks.differences(per_user, ["dlcm", "prm"], [("new", "old")], ["ndcg@5"], 50, 1)
    other = {"difference": 0.2, "p": 0.01}
    family = blocks.family(found, claims, "ndcg@5", {"other": other}, {**by_list, "other": {"difference": 0.5}})
    assert list(family) == ["other", "new - old"]
    assert family["new - old"]["difference"] == pytest.approx(0.25)
    assert family["new - old"]["over_lists"]["difference"] == pytest.approx((0.4 + 3 * 0.1) / 4)
    assert family["other"]["over_lists"] == {"difference": 0.5}
    assert family["other"]["p_holm"] == pytest.approx(0.03)  # of three that were asked


def test_the_study_s_claims_by_list_are_differences_of_its_means_over_lists():
    draw = torch.Generator().manual_seed(0)
    of = Lists(
        torch.tensor([0, 0, 0, 2]),
        torch.arange(4),
        torch.zeros(4, 6, dtype=torch.long),
        (torch.rand(4, 6, generator=draw) > 0.5).long(),
        torch.zeros(4),
    )
    kinds = ["constant", "base", "round1", "shuffled"]
    scores = {
        which: {("dlcm", kind, seed): torch.rand(4, 6, generator=draw) for kind in kinds for seed in (0, 1)}
        for which in ("own", "permuted")
    }
    users = pl.Series(["b", "never", "a"])
    found, _ = controls.report(scores, {}, of, users, ["dlcm"], kinds, [5], 20, 1)
    assert set(found["family"]) == {"round1 - base", "round1 - shuffled", "round1 - constant", "base - constant"}
    for name, claim in found["family"].items():
        a, b = (found["over_lists"][f"dlcm-{kind}"]["ndcg@5"] for kind in name.split(" - "))
        assert claim["over_lists"]["difference"] == pytest.approx(a - b)
        assert claim["over_lists"]["low"] <= a - b + 1e-9
