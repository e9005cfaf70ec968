"""Nothing about items."""

import torch
from torch import Tensor

from rlrf4rec.sources.given import SourceInputs


def make(given: SourceInputs) -> Tensor:
    """Zeros, [items, 1, width]."""
    return torch.zeros(given.tables.items.height, 1, given.tables.item_features().vectors.shape[1])
