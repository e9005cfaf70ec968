"""Draws without replacement against numpy's own, to the last bit."""

import numpy as np
import pytest

from rlrf4rec.lists.draws import Weighted


def weights(rng, kind, items):
    """Weights of `items` places that sum to one; a third of them have none, but for the first kind."""
    if kind == "even":
        return np.full(items, 1 / items)
    counts = {"counts": rng.integers(1, 50, items), "steep": np.ceil(1e6 / np.arange(1, items + 1) ** 2)}[kind] * 1.0
    counts[rng.random(items) < 1 / 3] = 0.0
    return counts / counts.sum()


@pytest.mark.parametrize("kind", ["even", "counts", "steep"])
def test_a_draw_is_that_of_numpy(kind):
    """Thousands of draws, one after the other from one generator, with a permutation between them as in a list."""
    cases = np.random.default_rng(5)
    for seed in range(300):
        chances = weights(cases, kind, int(cases.integers(12, 400)))
        weighted, own, numpys = Weighted(chances), *(np.random.default_rng(seed) for _ in range(2))
        most = min(12, np.count_nonzero(chances))
        for size in cases.integers(0, most + 1, 10).tolist():
            found = weighted.draw(own, size)
            assert found.tolist() == numpys.choice(len(chances), size=size, replace=False, p=chances).tolist()
            assert own.permutation(10).tolist() == numpys.permutation(10).tolist()
            assert own.bit_generator.state == numpys.bit_generator.state


def test_a_place_that_comes_twice_is_drawn_again():
    """The first weight is nearly all: numpy draws several times until three places are found."""
    chances = np.array([0.0, 0.999, 0.0005, 0.0005])
    for seed in range(50):
        found = Weighted(chances).draw(np.random.default_rng(seed), 3)
        assert sorted(found.tolist()) == [1, 2, 3]
        assert found.tolist() == np.random.default_rng(seed).choice(4, 3, False, chances).tolist()


def test_the_weights_stay_as_they_are():
    chances = np.array([0.5, 0.25, 0.25])
    Weighted(chances).draw(np.random.default_rng(0), 3)
    assert chances.tolist() == [0.5, 0.25, 0.25]
