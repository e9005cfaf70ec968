"""Protocol popularity: negatives by popularity, none of them the user's own, no item twice.

A user has at most `max_lists` lists; steps without a positive give no list.
"""

from typing import Any

import numpy as np

from rlrf4rec.errors import RLRFError
from rlrf4rec.lists.candidates import CandidatePool, Draw, drawn
from rlrf4rec.lists.given import Make, ProtocolInputs


def _weights(pool: CandidatePool, own: set[str], length: int, user: str) -> np.ndarray:
    allowed = ~np.isin(pool.items, list(own))
    if allowed.sum() < length - 1:
        raise RLRFError(f"split: user {user} has only {allowed.sum()} items left for negatives; lower list_length")
    weights: np.ndarray = np.where(allowed, pool.counts + 1.0, 0.0)
    return weights / weights.sum()


POPULAR = Draw("popularity", _weights, positives_only=True)


def protocol(given: ProtocolInputs) -> tuple[Make, dict[str, Any]]:
    """See `lists.given.Protocol`."""
    return drawn(given, POPULAR), {}
