"""Negatives of many lists, and the orders that lists are shuffled into, each user's by chance of their own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from rlrf4rec.errors import RLRFError
from rlrf4rec.lists.given import CandidatePool, Draw, Places, Sampler
from rlrf4rec.seeds import derive


class Weighted:
    """Places drawn by their weights, none twice: to the last bit `rng.choice(len(weights), size, False, weights)`.

    numpy sums the weights up for each draw; here that is done once for all draws, and again where a place comes twice.
    """

    def __init__(self, weights: NDArray[np.float64]) -> None:
        self.weights, self.sums = weights, _sums(weights)

    def draw(self, rng: np.random.Generator, size: int) -> Places:
        """So many places; more of them than have a weight is an endless loop."""
        found = self.sums.searchsorted(rng.random(size), side="right")
        if len(set(found.tolist())) == size:
            return found
        found, weights = _firsts(found), self.weights.copy()
        while len(found) < size:
            weights[found] = 0.0
            more = _sums(weights).searchsorted(rng.random(size - len(found)), side="right")
            found = np.concatenate([found, _firsts(more)])
        return found


def _sums(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = np.cumsum(weights)
    return sums / sums[-1]


def _firsts(places: Places) -> Places:
    """Each place once, in the order in which they come."""
    return places[np.sort(np.unique(places, return_index=True)[1])]


Weights = Callable[[CandidatePool, Places, int, str], NDArray[np.float64]]  # of the pool's items; as `Draw.sampler`


def by_weight(weights: Weights) -> Callable[[CandidatePool, Places, int, str], Sampler]:
    """Draws by a user's weights, whatever the list's real items are."""
    return partial(_by_weight, weights)


def _by_weight(weights: Weights, pool: CandidatePool, own: Places, length: int, user: str) -> Sampler:
    weighted = Weighted(weights(pool, own, length, user))
    return lambda rng, _, size: weighted.draw(rng, size)


def enough(left: NDArray[np.generic], length: int, user: str) -> None:
    """RLRFError unless `left`, of the pool's items, has what a list asks for at most."""
    count = np.count_nonzero(left)
    if count < length - 1:
        raise RLRFError(f"split: user {user} has only {count} items left for negatives; lower list_length")


@dataclass(frozen=True)
class People:
    """Users, the places in the pool of all of their items, and for each list its real items and how many it lacks.

    One user's after the other's: a user's end at their number in `own_ends` and `list_ends`, a list's real items at its
    own in `real_ends`.
    """

    names: Sequence[str]
    own: Places
    own_ends: Places
    real: Places
    real_ends: Places
    negatives: Places
    list_ends: Places


def draws(
    people: People, pool: CandidatePool, draw: Draw, length: int, seed: int, some: range
) -> tuple[Places, Places]:
    """Places of the negatives of some users' lists, one after the other, and the orders [L, length] of these lists."""
    found, orders = [], []
    for number in some:
        name = people.names[number]
        own = people.own[people.own_ends[number - 1] if number else 0 : people.own_ends[number]]
        rng = np.random.default_rng(derive(seed, "lists", name))
        negatives = draw.sampler(pool, own, length, name)
        for one in range(people.list_ends[number - 1] if number else 0, people.list_ends[number]):
            real = people.real[people.real_ends[one - 1] if one else 0 : people.real_ends[one]]
            found.append(negatives(rng, real, int(people.negatives[one])))
            orders.append(rng.permutation(length))
    nothing = np.zeros(0, dtype=np.int64)
    return np.concatenate([nothing, *found]), np.concatenate([nothing, *orders]).reshape(-1, length)
