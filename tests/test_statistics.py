"""Statistics of paired differences: by hand, by property, and by simulation of what they promise."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rlrf4rec.errors import RLRFError
from rlrf4rec.evaluation import compare
from rlrf4rec.metrics.statistics import (
    disattenuated,
    holm,
    minimum_detectable_effect,
    paired_interval,
    permutation_test,
    spearman_brown,
)

BY_HAND = np.array([[1.0, 2.0], [3.0, 6.0], [2.0, 4.0]])  # mean 3; users 1.5 4.5 3; seeds 2 4

differences = st.builds(
    lambda users, seeds, seed: np.random.default_rng(seed).normal(0.1, 0.5, (users, seeds)),
    st.integers(2, 20),
    st.integers(1, 4),
    st.integers(0, 10**6),
)
fixed = settings(derandomize=True, deadline=None, max_examples=50)


def crossed(rng, users, seeds, of_user, of_seed, rest, mean=0.0):
    """Simulated differences [users, seeds]; of_user, of_seed and rest are standard deviations."""
    own, trained = rng.normal(0, of_user, (users, 1)), rng.normal(0, of_seed, seeds)
    return mean + own + trained + rng.normal(0, rest, (users, seeds))


# Intervals


def test_interval_over_users_is_the_percentile_bootstrap():
    values = np.random.default_rng(0).exponential(1.0, 300)
    mean, low, high = paired_interval(values, 4000, 1)
    draws = np.random.default_rng(2).choice(values, (4000, 300)).mean(axis=1)
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.01)
    assert paired_interval(values[:, None], 4000, 1) == (mean, low, high)


def test_interval_of_a_constant_is_the_constant():
    assert paired_interval(np.full((50, 5), 0.25), 200, 3) == pytest.approx((0.25, 0.25, 0.25))
    assert paired_interval(np.full(50, 0.25), 200, 3) == pytest.approx((0.25, 0.25, 0.25))


def test_interval_is_the_same_for_the_same_seed_and_any_number_of_resamples_is_used():
    values = crossed(np.random.default_rng(0), 40, 5, 1, 0.1, 1)
    assert paired_interval(values, 777, 5) == paired_interval(values, 777, 5)
    assert paired_interval(values, 777, 5) != paired_interval(values, 778, 5)


@fixed
@given(differences, st.floats(-2, 2, width=16))
def test_a_shift_moves_the_interval_and_a_sign_flip_keeps_its_width(values, shift):
    mean, low, high = paired_interval(values, 200, 1)
    assert low - 1e-9 <= high
    assert paired_interval(values + shift, 200, 1) == pytest.approx((mean + shift, low + shift, high + shift), abs=1e-9)
    flipped = paired_interval(-values, 200, 1)
    assert flipped == pytest.approx((-mean, -high, -low), abs=1e-9)


def test_seed_variance_is_inside_the_interval():
    """Five seeds that disagree: a bootstrap over users alone would be sure."""
    values = crossed(np.random.default_rng(0), 500, 5, 0.1, 1.0, 0.1)
    _, low, high = paired_interval(values, 500, 1)
    _, users_low, users_high = paired_interval(values.mean(axis=1), 500, 1)
    assert high - low > 20 * (users_high - users_low)


@pytest.mark.parametrize("spread", [(1, 0.1, 1), (1, 0, 1), (0, 0, 1), (0.3, 0.1, 1), (0.1, 1, 0.1)])
def test_coverage_of_the_interval(spread):
    """95 % intervals hold the truth in 93 to 98.5 % of 600 simulated experiments (standard error 0.9 %)."""
    rng = np.random.default_rng(11)
    held = 0
    for number in range(600):
        _, low, high = paired_interval(crossed(rng, 200, 5, *spread, mean=0.5), 300, number)
        held += low <= 0.5 <= high
    assert 0.93 <= held / 600 <= 0.985


def test_coverage_of_the_interval_over_users():
    rng = np.random.default_rng(12)
    held = 0
    for number in range(600):
        _, low, high = paired_interval(rng.normal(0.5, 1, 200), 300, number)
        held += low <= 0.5 <= high
    assert 0.93 <= held / 600 <= 0.985


# Variance components and power


def test_minimum_detectable_effect_by_hand():
    many = np.tile([-1.0, 1.0], 5000)
    normal = (1.959964 + 0.841621) * many.std(ddof=1) / 100
    assert minimum_detectable_effect(many) == pytest.approx(normal, rel=1e-3)
    # seeds alone vary: standard error sd / sqrt(5), t quantiles with 4 degrees of freedom
    seeds = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    assert minimum_detectable_effect(np.tile(seeds, (50, 1))) == pytest.approx(
        (2.776445 + 0.940965) * np.sqrt(2.5 / 5), rel=1e-5
    )


def test_standard_error_by_hand():
    # (4.5 + 6 - 0.5) / (3 * 2) with 10**2 / (4.5**2 / 2 + 6**2 / 1 + 0.5**2 / 2) = 2.164 degrees of freedom
    from scipy.stats import t

    expected = np.sqrt(10 / 6) * t.ppf([0.975, 0.8], 100 / (10.125 + 36 + 0.125)).sum()
    assert minimum_detectable_effect(BY_HAND) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("spread", [(1, 0, 1), (1, 0.1, 1)])
def test_a_planted_effect_of_detectable_size_is_found_and_a_null_is_not(spread):
    rng = np.random.default_rng(5)
    error = np.sqrt(spread[0] ** 2 / 200 + spread[1] ** 2 / 5 + spread[2] ** 2 / 1000)
    found, false = 0, 0
    for number in range(400):
        noise = crossed(rng, 200, 5, *spread)
        found += paired_interval(noise + 2.8 * error, 300, number)[1] > 0
        _, low, high = paired_interval(noise, 300, number)
        false += low > 0 or high < 0
    assert 0.70 <= found / 400 <= 0.86
    assert false / 400 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


def test_estimated_detectable_effect_is_that_of_the_truth():
    rng = np.random.default_rng(6)
    mdes = [minimum_detectable_effect(crossed(rng, 200, 5, 1, 0, 1)) for _ in range(200)]
    assert np.median(mdes) == pytest.approx(2.80 * np.sqrt(1 / 200 + 1 / 1000), rel=0.08)


# Permutation test


def test_permutation_by_hand():
    # means of all 8 sign patterns of 1 2 3: only +++ and --- reach |6|
    assert permutation_test(np.array([1.0, 2.0, 3.0]), 10, 0) == 2 / 8
    # 1 1 -1: |sum| 1 or 3, all reach 1
    assert permutation_test(np.array([1.0, 1.0, -1.0]), 10, 0) == 1.0
    # users' means over seeds are what is flipped
    assert permutation_test(np.array([[0.0, 2.0], [2.0, 2.0], [1.0, 5.0]]), 10, 0) == 2 / 8


def test_ties_are_hits():
    assert permutation_test(np.full(12, 0.1), 10, 0) == 2 / 2**12
    assert permutation_test(np.zeros(5), 10, 0) == 1.0
    assert permutation_test(np.zeros(50), 10, 0) == 1.0
    one = np.zeros(50)
    one[7] = 0.3  # every sign pattern gives the same |mean|
    assert permutation_test(one, 100, 0) == 1.0


def test_sampled_p_agrees_with_enumeration():
    values = np.array([0.3, -0.1, 0.4, 0.2, -0.2, 0.5, 0.1, 0.0, 0.3, -0.3, 0.2, 0.4])
    padded = np.append(values, 0.0)  # a user without a difference changes no sign pattern's sum
    assert permutation_test(padded, 50_000, 1) == pytest.approx(permutation_test(values, 1, 1), abs=0.005)


@pytest.mark.parametrize(("users", "close"), [(2, 1e-12), (9, 1e-12), (12, 1e-12), (40, 0.01), (240, 0.01)])
def test_p_is_that_of_scipy(users, close):
    """Exactly where all sign patterns are looked at; else within what 20,000 resamples leave open."""
    values = np.random.default_rng(users).normal(0.1, 1.0, (users, 3)).round(1)
    theirs = stats.permutation_test(
        (values.mean(axis=1),),
        lambda x, axis: np.abs(x.mean(axis=axis)),
        permutation_type="samples",
        alternative="greater",
        vectorized=True,
        n_resamples=20_000,
        batch=2000,
        rng=np.random.default_rng(0),
    )
    assert permutation_test(values, 20_000, 1) == pytest.approx(theirs.pvalue, abs=close)


def test_the_smallest_p_is_one_of_all_patterns_and_the_observed_one():
    assert permutation_test(np.full(100, 0.2), 999, 1) == 1 / 1000


@fixed
@given(differences, st.integers(0, 5))
def test_p_does_not_know_the_sign_nor_the_unit(values, seed):
    p = permutation_test(values, 99, seed)
    assert 0 < p <= 1
    assert permutation_test(-values, 99, seed) == p
    assert permutation_test(values * 4, 99, seed) == p


def test_false_positives_of_the_permutation_test():
    """At most 5 % + noise under the null: users' differences symmetric, heavy-tailed and discrete, seeds equal."""
    rng = np.random.default_rng(7)
    hits = 0
    for number in range(1000):
        draws = rng.standard_t(3, 100).round(1) * (rng.random(100) < 0.5)
        hits += permutation_test(draws, 199, number) <= 0.05
    assert hits / 1000 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000)
    assert hits > 20  # a test that never rejects would pass the line above


def test_permutation_finds_a_planted_effect():
    rng = np.random.default_rng(8)
    found = [permutation_test(rng.normal(2.8 / np.sqrt(100), 1, 100), 199, n) <= 0.05 for n in range(400)]
    assert 0.72 <= np.mean(found) <= 0.88


# Holm


def test_holm_by_hand():
    # sorted .01 .02 .03 .04: .04, .06, .06 (from .06 before, 2 * .03 = .06), .06 (1 * .04 is below)
    assert holm({"a": 0.02, "b": 0.01, "c": 0.04, "d": 0.03}) == pytest.approx(
        {"a": 0.06, "b": 0.04, "c": 0.06, "d": 0.06}
    )
    assert list(holm({"z": 0.5, "a": 0.9})) == ["z", "a"]
    assert holm({"z": 0.5, "a": 0.9}) == {"z": 1.0, "a": 1.0}
    assert holm({"only": 0.03}) == {"only": 0.03}
    assert holm({}) == {}


@fixed
@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=12))
def test_holm_is_above_raw_monotone_and_at_most_one(p):
    adjusted = holm(p)
    assert list(adjusted) == list(p)
    assert all(p[name] <= adjusted[name] <= 1 for name in p)
    assert all(adjusted[a] <= adjusted[b] for a in p for b in p if p[a] <= p[b])
    assert all(adjusted[name] <= min(1.0, len(p) * p[name]) for name in p)  # never worse than Bonferroni


# Reliability


def test_disattenuated():
    assert disattenuated(0.3, 0.5, 0.72) == pytest.approx(0.5)
    assert disattenuated(0.9, 0.5, 0.5) == 1.0
    assert disattenuated(-0.9, 0.5, 0.5) == -1.0
    assert disattenuated(0.4, 1.0, 1.0) == 0.4
    assert disattenuated(0.4, 0.0, 0.9) == 0.0
    assert disattenuated(0.4, -0.1, -0.1) == 0.0


def test_disattenuated_finds_the_correlation_behind_noise():
    rng = np.random.default_rng(9)
    truth = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 20_000)
    noisy = truth + rng.normal(0, 1, truth.shape)  # reliability 1 / (1 + 1)
    assert disattenuated(float(np.corrcoef(noisy.T)[0, 1]), 0.5, 0.5) == pytest.approx(0.6, abs=0.04)


def test_spearman_brown():
    assert spearman_brown(0.5, 2) == pytest.approx(2 / 3)
    assert spearman_brown(2 / 3, 0.5) == pytest.approx(0.5)
    assert spearman_brown(1.0, 7) == 1.0
    assert spearman_brown(0.0, 2) == 0.0
    assert spearman_brown(-1.0, 2) == -1.0  # the formula divides by 0 here


# What is refused


@pytest.mark.parametrize("function", [lambda d: paired_interval(d, 10, 0), lambda d: permutation_test(d, 10, 0)])
def test_a_missing_value_is_an_error_and_never_a_small_p(function):
    broken = np.zeros((30, 3))
    broken[4, 2] = np.nan
    with pytest.raises(RLRFError, match="row 4, seed 2 is nan"):
        function(broken)
    with pytest.raises(RLRFError, match="2 users or more"):
        function(np.zeros(1))


# What is reported


def frame(seeds=3, users=("a", "b", "c")):
    """Two backbones; value of user u, seed s: 0.1 * u + 0.01 * s, higher by 0.05 with the second knowledge and 0.2
    with the second backbone."""
    rows = [
        {"backbone": b, "knowledge": k, "seed": s, "user": u, "ndcg@5": 0.1 * i + 0.01 * s + 0.05 * j + 0.2 * m}
        for m, b in enumerate(("dlcm", "prm"))
        for j, k in enumerate(("none", "base"))
        for s in reversed(range(seeds))
        for i, u in enumerate(users)
    ]
    return pl.DataFrame(rows).sample(fraction=1.0, shuffle=True, seed=1)


def test_values_by_user_and_seed():
    found = compare.by_user_and_seed(frame(), "dlcm", "base", "ndcg@5")
    assert found == pytest.approx(0.05 + np.array([[0, 0.01, 0.02], [0.1, 0.11, 0.12], [0.2, 0.21, 0.22]]))
    assert compare.by_seed(frame(), "dlcm", "base", "ndcg@5") == pytest.approx([0.15, 0.16, 0.17])


def test_a_value_that_is_missing_cannot_be_paired():
    gap = frame().filter(~((pl.col("knowledge") == "base") & (pl.col("user") == "b") & (pl.col("seed") == 1)))
    with pytest.raises(RLRFError, match=r"ndcg@5 of dlcm with base: 1 of 9 values are missing, first user b, seed 1"):
        compare.by_user_and_seed(gap, "dlcm", "base", "ndcg@5")
    with pytest.raises(RLRFError, match="a user is there twice"):
        compare.by_user_and_seed(pl.concat([frame(), frame().head(1)]), *frame().row(0)[:2], "ndcg@5")


def test_a_difference_is_reported_whole():
    values = np.random.default_rng(0).normal(0.1, 0.3, (40, 5))
    found = compare.difference(values, 500, 1)
    assert list(found) == ["difference", "low", "high", "p", "mde", "users", "seeds"]
    assert (found["difference"], found["users"], found["seeds"]) == (pytest.approx(values.mean()), 40, 5)
    assert found["low"] < found["difference"] < found["high"]
    assert found == compare.difference(values, 500, 1)
    assert compare.difference(values.mean(axis=1), 500, 1)["seeds"] == 1


def test_holm_over_a_family_of_differences():
    family = {"x": {"difference": 0.1, "p": 0.03}, "y": {"difference": 0.2, "p": 0.01}}
    assert compare.with_holm(family) == {
        "x": {"difference": 0.1, "p": 0.03, "p_holm": pytest.approx(0.03)},
        "y": {"difference": 0.2, "p": 0.01, "p_holm": pytest.approx(0.02)},
    }
    assert "p_holm" not in family["x"]


def test_a_comparison_that_was_to_be_made_counts_whether_or_not_it_was():
    family = {"x": {"p": 0.03}, "y": {"p": 0.01}}
    whole = compare.with_holm({**family, "z": {"p": 1.0}})
    part = compare.with_holm(family, ["x", "y", "z"])
    assert part == {name: whole[name] for name in family}
    assert [part[name]["p_holm"] for name in "xy"] == [pytest.approx(0.06), pytest.approx(0.03)]
    assert compare.with_holm({}, ["x"]) == {}
