"""Nothing about items."""

import torch
from torch import Tensor

from rlrf4rec.sources.given import Given


def make(given: Given) -> Tensor:
    """Zeros, [items, 1, width]."""
    return torch.zeros(given.tables.items.height, 1, given.tables.catalogue().vectors.shape[1])
