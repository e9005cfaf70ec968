"""Another user's text for each user: what is left of an effect then is not personal."""

import numpy as np
import torch
from torch import Tensor

from rlrf4rec.seeds import derive

DRAWN_AS = {"development": "test"}  # a group that was renamed keeps its draws


def permutation(group: dict[int, str], users: int, seed: int) -> Tensor:
    """For each user row another user of the same group, by a random cycle, [users]; those outside keep themselves."""
    other = torch.arange(users)
    for name in sorted(set(group.values())):
        members = np.array([u for u, g in group.items() if g == name])
        order = np.random.default_rng(derive(seed, "permuted", DRAWN_AS.get(name, name))).permutation(members)
        other[torch.tensor(order)] = torch.tensor(np.roll(order, 1))
    return other
