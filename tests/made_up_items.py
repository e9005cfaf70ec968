"""Items that are nothing but numbers."""

import torch

from rlrf4rec.ranking.lists import ItemFeatures


def item_features(items, width, generator):
    """Vectors [items, width], three genres and log-counts at random."""
    return ItemFeatures(
        torch.randn(items, width, generator=generator),
        (torch.rand(items, 3, generator=generator) < 0.5).float(),
        torch.randn(items, generator=generator),
    )
