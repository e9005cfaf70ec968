"""Negatives of many lists, and the orders that lists are shuffled into, each user's by chance of their own."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlrf4rec.lists.given import CandidatePool, Draw, Places
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


@dataclass(frozen=True)
class People:
    """Users, the places in the pool of all of their items, and how many negatives each list of theirs asks for.

    `own` and `negatives` have one user's after the other's; a user's end at their number in `own_ends` and `list_ends`.
    """

    names: Sequence[str]
    own: Places
    own_ends: Places
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
        lists = people.negatives[people.list_ends[number - 1] if number else 0 : people.list_ends[number]]
        rng = np.random.default_rng(derive(seed, "lists", name))
        weighted = Weighted(draw.weights(pool, own, length, name))
        for size in lists.tolist():
            found.append(weighted.draw(rng, size))
            orders.append(rng.permutation(length))
    nothing = np.zeros(0, dtype=np.int64)
    return np.concatenate([nothing, *found]), np.concatenate([nothing, *orders]).reshape(-1, length)
