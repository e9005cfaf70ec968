"""Ranking metrics per list. Means over lists and users are taken elsewhere, from these values.

All functions take `ranked` [..., C]: the 0/1 labels of a list in ranked order, best first; they return [...].
A list without a positive gives 0; such lists are left out when lists are made.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def ranked_labels(scores: Tensor, labels: Tensor) -> Tensor:
    """Labels in the order of falling scores, [..., C]. Equal scores keep the list's frozen random order."""
    order = scores.argsort(dim=-1, descending=True, stable=True)
    return labels.expand(scores.shape).gather(-1, order)


def ndcg(ranked: Tensor, k: int) -> Tensor:
    """NDCG@k with gain 2**label - 1 and discount log2(rank + 1), divided by the best possible DCG@k.

    >>> round(float(ndcg(torch.tensor([0, 1, 1, 0]), 3)), 4)  # (1/log2(3) + 1/2) / (1 + 1/log2(3))
    0.6934
    """
    gains = 2.0 ** ranked.double() - 1
    discount = 1 / torch.log2(torch.arange(2, gains.shape[-1] + 2, device=gains.device).double())
    best = gains.sort(dim=-1, descending=True).values
    ideal = (best * discount)[..., :k].sum(-1)
    found = (gains * discount)[..., :k].sum(-1)
    return torch.where(ideal > 0, found / ideal.clamp(min=1e-12), 0.0)


def _precision_at_hits(ranked: Tensor, k: int) -> Tensor:
    hits = ranked.double()
    ranks = torch.arange(1, hits.shape[-1] + 1, device=hits.device)
    return (hits * hits.cumsum(-1) / ranks)[..., :k].sum(-1)


def average_precision(ranked: Tensor, k: int) -> Tensor:
    """MAP@k: precision summed at the hits in the top k, divided by min(k, positives of the list).

    >>> round(float(average_precision(torch.tensor([0, 1, 1, 0]), 3)), 4)  # (1/2 + 2/3) / 2
    0.5833
    """
    possible = ranked.double().sum(-1).clamp(min=1, max=k)
    return _precision_at_hits(ranked, k) / possible


def kar_map(ranked: Tensor, k: int) -> Tensor:
    """KAR's MAP@k: divided by the hits found in the top k. Higher than MAP@k; for comparison with papers only.

    >>> float(kar_map(torch.tensor([1, 0, 0, 1]), 2))  # one hit found, at rank 1
    1.0
    """
    found = ranked.double()[..., :k].sum(-1).clamp(min=1)
    return _precision_at_hits(ranked, k) / found


def hit_rate(ranked: Tensor, k: int) -> Tensor:
    """HR@k: 1 if a positive is in the top k, else 0."""
    return (ranked[..., :k] > 0).any(-1).double()


def reciprocal_rank(ranked: Tensor, k: int) -> Tensor:
    """MRR@k: 1 / rank of the first positive if it is in the top k, else 0."""
    ranks = torch.arange(1, ranked.shape[-1] + 1, device=ranked.device)
    return ((ranked > 0).double() / ranks)[..., :k].amax(-1)


METRICS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "ndcg": ndcg,
    "map": average_precision,
    "kar_map": kar_map,
    "hr": hit_rate,
    "mrr": reciprocal_rank,
}


def log_likelihood(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean log-probability of the positives under softmax(scores) over the list, [...]; the smooth reward.

    A list without a positive gives 0.
    """
    log_p = torch.log_softmax(scores.double(), dim=-1)
    positives = labels.double()
    return (log_p * positives).sum(-1) / positives.sum(-1).clamp(min=1)
