"""Protocol uniform: KAR's (arXiv 2306.10933, public code).

Negatives are uniform over the catalogue and unchecked, so one may be the user's own item or stand in the list already;
every step gives a list, one without a positive too.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlrf4rec.lists.candidates import drawn
from rlrf4rec.lists.draws import by_weight
from rlrf4rec.lists.given import CandidatePool, Draw, Make, Places, ProtocolInputs


def _weights(pool: CandidatePool, own: Places, length: int, user: str) -> NDArray[np.float64]:
    return np.full(len(pool.items), 1 / len(pool.items))


UNIFORM = Draw("uniform", by_weight(_weights), positives_only=False)


def protocol(given: ProtocolInputs) -> tuple[Make, dict[str, Any]]:
    """See `lists.given.Protocol`."""
    return drawn(given, given.later, UNIFORM), {}
