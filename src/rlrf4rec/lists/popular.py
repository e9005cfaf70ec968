"""Protocol popularity: negatives by popularity, none of them the user's own, no item twice.

A user has at most `max_lists` lists; steps without a positive give no list.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlrf4rec.lists.candidates import drawn
from rlrf4rec.lists.draws import by_weight, enough
from rlrf4rec.lists.given import CandidatePool, Draw, Make, Places, ProtocolInputs


def _weights(pool: CandidatePool, own: Places, length: int, user: str) -> NDArray[np.float64]:
    weights = pool.counts + 1.0
    weights[own] = 0.0
    enough(weights, length, user)
    return weights / weights.sum()


POPULAR = Draw("popularity", by_weight(_weights), positives_only=True)


def protocol(given: ProtocolInputs) -> tuple[Make, dict[str, Any]]:
    """See `lists.given.Protocol`."""
    return drawn(given, given.later, POPULAR), {}
