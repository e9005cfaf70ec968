"""Users, policies and seeds as random factors: by hand, by invariance, by simulation of what intervals promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from rlrf4rec.errors import RLRFError
from rlrf4rec.evaluation import compare
from rlrf4rec.metrics.components import components, planned_effect, size_needed
from rlrf4rec.metrics.statistics import minimum_detectable_effect, paired_interval, permutation_test

FACTORS = {  # of a seed's number alone nothing depends: seeds are those of a policy
    "users": (True, False, False),
    "policies": (False, True, False),
    "users x policies": (True, True, False),
    "seeds": (False, True, True),
    "users x seeds": (True, True, True),
}
REST = "users x seeds"

fixed = settings(derandomize=True, deadline=None, max_examples=40)
differences = st.builds(
    lambda users, policies, seeds, seed: np.random.default_rng(seed).normal(0.1, 0.5, (users, policies, seeds)),
    st.integers(2, 15),
    st.integers(2, 5),
    st.integers(1, 4),
    st.integers(0, 10**6),
)


def simulated(rng, shape, mean=0.0, **spread):
    """Simulated differences of this shape; `spread`: standard deviations by factor, spaces written as `_`."""
    values = np.full(shape, mean)
    for name, varies in FACTORS.items():
        own = tuple(n if varied else 1 for n, varied in zip(shape, varies, strict=True))
        values = values + rng.normal(0, spread.get(name.replace(" ", "_"), 0.0), own)
    return values


# By hand


def test_policies_alone_have_two_degrees_of_freedom():
    policies = np.tile(np.array([1.0, 2.0, 6.0])[None, :, None], (50, 1, 4))
    error = np.sqrt(7 / 3)  # variance 7 of three policies
    mean, low, high = paired_interval(policies, 10, 0)
    assert (mean, low, high) == pytest.approx((3, 3 - 4.302653 * error, 3 + 4.302653 * error))
    assert minimum_detectable_effect(policies) == pytest.approx((4.302653 + 1.060660) * error)
    p = permutation_test(policies, 99, 0)
    assert p == pytest.approx(2 * t.sf(3 / error, 2))
    assert p > 0.15  # by the users' signs alone it would be 1 / 100


def test_seeds_of_one_policy_are_told_from_users():
    seeds = np.tile(np.array([1.0, 2.0, 3.0, 6.0]), (50, 1, 1))
    error = np.sqrt(14 / 3 / 4)  # variance 14 / 3 of four seeds
    assert minimum_detectable_effect(seeds) == pytest.approx(t.ppf([0.975, 0.8], 3).sum() * error)


def test_seeds_of_a_policy_s_own_are_averaged_out_by_policies():
    """The same number in two policies is another seed: what is in common is their policies' likeness, and by chance."""
    values = np.tile(np.array([[0.0, 2.0], [1.0, 3.0], [2.0, 4.0]]), (50, 1, 1))  # policies 1, 2, 3; seeds -1, +1
    _, low, high = paired_interval(values, 10, 0)
    assert (high - low) / 2 == pytest.approx(t.ppf(0.975, 2) * np.sqrt(1 / 3))
    shuffled = values.copy()
    shuffled[:, 1] = shuffled[:, 1, ::-1]
    assert paired_interval(shuffled, 10, 0) == paired_interval(values, 10, 0)


def test_one_seed_is_users_and_policies():
    values = np.array([[1.0, 2.0], [3.0, 6.0], [2.0, 4.0]])[:, :, None]
    # (4.5 + 6 - 0.5) / (3 * 2) with 10**2 / (4.5**2 / 2 + 6**2 / 1 + 0.5**2 / 2) = 2.164 degrees of freedom
    room = np.sqrt(10 / 6) * t.ppf(0.975, 100 / (10.125 + 36 + 0.125))
    assert paired_interval(values, 10, 0) == pytest.approx((3, 3 - room, 3 + room))


def test_components_by_hand():
    values = np.array([[1.0, 2.0], [3.0, 6.0], [2.0, 4.0]])
    # mean squares 4.5 (users), 6 (seeds), 0.5: (4.5 - 0.5) / 2, (6 - 0.5) / 3, 0.5
    assert components(values) == pytest.approx({"users": 2.0, "seeds": 5.5 / 3, "users x seeds": 0.5})
    assert components(-values[:, 0]) == pytest.approx({"users": 1.0})
    assert components(np.array([[1.0, 2.0], [2.0, 1.0]]))["users"] == 0.0  # estimated below 0


def test_components_of_nested_seeds_by_hand():
    """Policies of 1 and 5; seeds of the first 0 and 2, of the second 5 and 5; a user is worth 0 or 4."""
    policies = np.array([[0.0, 2.0], [5.0, 5.0]])
    values = np.stack([policies, policies + 4])
    # mean squares: users 8 * 2**2, policies 8 * 2**2, seeds 2 * (1 + 1) / 2 (a freedom for each policy), none else
    assert components(values) == pytest.approx(
        {"users": 32 / 4, "policies": (32 - 2) / 4, "users x policies": 0, "seeds": 2 / 2, "users x seeds": 0}
    )


def test_components_are_those_of_the_truth():
    spread = {name.replace(" ", "_"): 0.5 + 0.1 * number for number, name in enumerate(FACTORS)}
    rng = np.random.default_rng(3)
    found = [components(simulated(rng, (100, 6, 6), **spread)) for _ in range(150)]
    for name in FACTORS:
        truth = spread[name.replace(" ", "_")] ** 2
        assert np.mean([one[name] for one in found]) == pytest.approx(truth, rel=0.15)


# One policy, and the order of policies


@pytest.mark.parametrize("seeds", [1, 4])
def test_one_policy_gives_what_users_and_seeds_give(seeds):
    values = np.random.default_rng(1).normal(0.1, 1, (40, seeds))
    for function in (paired_interval, permutation_test, compare.difference):
        alone = function(values, 200, 1)
        of_one = function(values[:, None], 200, 1)
        assert {**of_one, "policies": 1} == {**alone, "policies": 1} if isinstance(alone, dict) else of_one == alone
    assert minimum_detectable_effect(values[:, None]) == minimum_detectable_effect(values)


@fixed
@given(differences, st.randoms(use_true_random=False))
def test_the_order_of_policies_changes_nothing(values, random):
    order = random.sample(range(values.shape[1]), values.shape[1])
    assert compare.difference(values[:, order], 99, 1) == pytest.approx(compare.difference(values, 99, 1), rel=1e-9)


@fixed
@given(differences, st.floats(-2, 2, width=16))
def test_a_shift_moves_the_interval_and_a_sign_flip_turns_it(values, shift):
    mean, low, high = paired_interval(values, 10, 1)
    assert paired_interval(values + shift, 10, 1) == pytest.approx((mean + shift, low + shift, high + shift), abs=1e-9)
    assert paired_interval(-values, 10, 1) == pytest.approx((-mean, -high, -low), abs=1e-9)
    assert 0 < permutation_test(values, 99, 1) <= 1


# Coverage

MIXTURES = {
    "users": {"users": 1, REST: 1},
    "policies": {"policies": 1, "users": 0.1, REST: 0.1},
    "users and policies": {"users": 1, "policies": 0.1, REST: 1},
    "seeds": {"seeds": 1, "users": 0.1, REST: 0.1},
    "user x policy": {"users x policies": 1, "users": 0.1, REST: 0.3},
}


def held(function, policies, mixture, experiments=400):
    """How often `function(values)` -> (mean, low, high) holds the truth, 0.5."""
    rng, spread = np.random.default_rng(21), {k.replace(" ", "_"): v for k, v in MIXTURES[mixture].items()}
    found = (function(simulated(rng, (100, policies, 4), 0.5, **spread)) for _ in range(experiments))
    return sum(low <= 0.5 <= high for _, low, high in found) / experiments


@pytest.mark.parametrize("policies", [3, 5])
@pytest.mark.parametrize("mixture", MIXTURES)
def test_coverage_over_users_policies_and_seeds(mixture, policies):
    """95 % intervals hold the truth in 92.5 to 99 % of 400 simulated experiments (standard error 1.1 %)."""
    assert 0.925 <= held(lambda values: paired_interval(values, 1, 1), policies, mixture) <= 0.99


def test_an_interval_that_knows_no_policies_is_sure_of_what_it_can_not_know():
    assert held(lambda values: paired_interval(values.mean(axis=1), 50, 1), 3, "policies", 100) < 0.6


def test_false_positives_over_policies():
    """Policies that differ without a mean: the test of these policies alone would call most of them an effect."""
    rng, hits, of_these = np.random.default_rng(22), 0, 0
    for number in range(400):
        values = simulated(rng, (80, 4, 4), policies=0.5, users=1, users_x_seeds=1)
        hits += permutation_test(values, 99, number) <= 0.05
        of_these += permutation_test(values.mean(axis=1), 99, number) <= 0.05
    assert hits / 400 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    assert of_these / 400 > 0.3


# Sizes of a study to come

VARIANCES = {"users": 1.0, "policies": 0.04, "seeds": 0.0, "users x policies": 0.3, REST: 1.0}


@pytest.mark.parametrize("shape", [(60, 4, 3), (60, 1, 3), (60, 4, 1), (60, 1, 1)])
def test_the_planned_effect_of_the_same_sizes_is_the_detectable_one(shape):
    values = simulated(np.random.default_rng(2), shape, **{name.replace(" ", "_"): 1.0 for name in FACTORS})
    variances = components(values)
    assert min(variances.values()) > 0  # a component that is held at 0 is planned on as 0, and more than was seen
    assert planned_effect(variances, *shape) == pytest.approx(minimum_detectable_effect(values))


def test_planned_effect_by_hand():
    # 1 / 50 + 0.3 / 50 + 1 / 200 of users, one policy: its own variance is in no interval of it alone
    error = np.sqrt(1.3 / 50 + 1 / 200)
    assert planned_effect(VARIANCES, 50, 1, 4) == pytest.approx(t.ppf([0.975, 0.8], 49).sum() * error)
    # users without number: policies are left, 0.04 of 4
    assert planned_effect(VARIANCES, 10**9, 4, 4) == pytest.approx(t.ppf([0.975, 0.8], 3).sum() * 0.1, rel=1e-3)


def test_a_planned_effect_is_found_four_times_out_of_five():
    rng, spread = np.random.default_rng(6), {"users": 1.0, "policies": 0.2, "users_x_policies": 0.55}
    effect = planned_effect(VARIANCES, 100, 5, 4)
    planted = (simulated(rng, (100, 5, 4), effect, users_x_seeds=1.0, **spread) for _ in range(400))
    found = sum(paired_interval(values, 1, 1)[1] > 0 for values in planted)
    assert 0.72 <= found / 400 <= 0.88


def test_sizes_that_suffice_and_one_less_that_does_not():
    users = size_needed("users", 0.4, VARIANCES, policies=5, seeds=4)
    assert planned_effect(VARIANCES, users, 5, 4) <= 0.4 < planned_effect(VARIANCES, users - 1, 5, 4)
    policies = size_needed("policies", 0.4, VARIANCES, users=100, seeds=4)
    assert planned_effect(VARIANCES, 100, policies, 4) <= 0.4 < planned_effect(VARIANCES, 100, policies - 1, 4)
    assert size_needed("policies", 0.1, VARIANCES, users=100, seeds=4) is None  # users alone are too few
    assert size_needed("users", 0.2, {"users": 1.0}, policies=1, seeds=1) == 199  # 2.8 / 0.2 squared, and of t


def test_what_no_study_has_shown_is_not_planned_on():
    one_policy = components(np.random.default_rng(1).normal(0, 1, (30, 3)))
    assert planned_effect(one_policy, 100, 1, 5) > 0
    with pytest.raises(RLRFError, match=r"variance of policies is not known: .* plan with one, or estimate on a study"):
        planned_effect(one_policy, 100, 3, 5)
    with pytest.raises(RLRFError, match=r"2 users or more, .*; found \(1, 3, 5\)"):
        planned_effect(VARIANCES, 1, 3, 5)


def test_a_broken_value_is_named_with_its_policy():
    broken = np.zeros((30, 3, 2))
    broken[4, 2, 1] = np.inf
    with pytest.raises(RLRFError, match="row 4, policy 2, seed 1 is inf"):
        paired_interval(broken, 10, 0)
    with pytest.raises(RLRFError, match=r"\[users, policies, seeds\] of 2 users or more; found \(3, 2, 2, 2\)"):
        paired_interval(np.zeros((3, 2, 2, 2)), 10, 0)
    with pytest.raises(RLRFError, match="2 users or more"):
        paired_interval(np.zeros((1, 3, 4)), 10, 0)


def test_policies_are_reported_where_there_are_some():
    values = np.random.default_rng(0).normal(0.1, 0.3, (40, 3, 5))
    found = compare.difference(values, 50, 1)
    assert list(found) == ["difference", "low", "high", "p", "mde", "users", "policies", "seeds"]
    assert (found["users"], found["policies"], found["seeds"]) == (40, 3, 5)
    assert "policies" not in compare.difference(values[:, 0], 50, 1)
