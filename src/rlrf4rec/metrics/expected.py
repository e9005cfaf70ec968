"""What metrics are worth by chance: their exact mean over the random orders of a list."""

from collections.abc import Callable
from itertools import combinations
from math import comb

import torch
from torch import Tensor


def by_chance(metric: Callable[[Tensor, int], Tensor], k: int, length: int, first: int, positives: int) -> float:
    """Mean of a metric at `k` over all orders of a list of `length` in which `first` items come before the others.

    All `positives` are among the first ones; with `first` = `length` every order is as likely as any other.
    A metric looks at the top k and at how many positives there are, so all tops stand for all orders, each as often as
    the positives that it lacks have places below it.

    >>> from rlrf4rec.metrics.ranking import hit_rate
    >>> by_chance(hit_rate, 1, length=4, first=4, positives=1)
    0.25
    >>> by_chance(hit_rate, 1, length=4, first=2, positives=1)
    0.5
    """
    shown = min(k, first)
    hits = range(max(0, positives - (first - shown)), min(shown, positives) + 1)
    tops = [list(places) for hit in hits for places in combinations(range(shown), hit)]
    ranked = torch.zeros(len(tops), length, dtype=torch.int64)
    ways = []
    for row, places in zip(ranked, tops, strict=True):
        missing = positives - len(places)
        row[places] = 1
        row[shown : shown + missing] = 1
        ways.append(comb(first - shown, missing))
    share = torch.tensor(ways, dtype=torch.float64) / comb(first, positives)
    return float((metric(ranked, k) * share).sum())
