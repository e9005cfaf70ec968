"""Protocol matched: what the user liked later among drawn items that are as popular, so that popularity tells nothing.

Each drawn item is for one of the list's liked ones, in turn, and comes from the `BIN` items of its popularity. What the
user rated lower is no candidate: it is less popular than what is liked, as a rule.
"""

from typing import Any

import numpy as np
import polars as pl

from rlrf4rec.lists.candidates import drawn
from rlrf4rec.lists.draws import enough
from rlrf4rec.lists.given import CandidatePool, Draw, Make, Places, ProtocolInputs, Sampler

BIN = 50  # items that follow one another in the order of counts


def _sampler(pool: CandidatePool, own: Places, length: int, user: str) -> Sampler:
    free = np.ones(len(pool.items), dtype=bool)
    free[own] = False
    enough(free, length, user)

    def draw(rng: np.random.Generator, real: Places, size: int) -> Places:
        """One after the other by count + 1, from the bin of its liked item; where that is empty, from those around."""
        left, found = free.copy(), []
        for turn in rng.integers(len(real)) + np.arange(size):
            near = _near(pool, left, int(pool.rank[real[turn % len(real)]]) // BIN)
            weights = pool.counts[near] + 1.0
            found.append(rng.choice(near, p=weights / weights.sum()))
            left[found[-1]] = False
        return np.array(found, dtype=np.int64)

    return draw


def _near(pool: CandidatePool, left: np.ndarray, number: int) -> Places:
    """The places that are left in a bin, or in it and as many bins on both sides as it takes to have one."""
    for around in range(len(left)):
        near = pool.by_count[max(0, number - around) * BIN : (number + around + 1) * BIN]
        if left[near].any():
            break
    return near[left[near]]


MATCHED = Draw("matched", _sampler, positives_only=True)


def protocol(given: ProtocolInputs) -> tuple[Make, dict[str, Any]]:
    """See `lists.given.Protocol`."""
    liked = given.later.filter(pl.col("rating") >= given.settings.positive_rating)
    return drawn(given, liked, MATCHED), {}
