"""List losses on scores [B, C] and 0/1 labels [B, C]; every list has a positive. They return a scalar."""

import torch
from torch import Tensor


def listwise_softmax(scores: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of softmax(scores) against the positives, equally weighted (ListNet, Cao et al. 2007)."""
    target = labels / labels.sum(dim=-1, keepdim=True)
    return -(target * torch.log_softmax(scores, dim=-1)).sum(-1).mean()


def attention_rank(scores: Tensor, labels: Tensor) -> Tensor:
    """Attention-rank loss (Ai et al. 2018, eq. 9): each candidate's attention against the best attention strategy.

    target_i = exp(l_i) / sum over positives of exp(l), 0 for l_i = 0; binary cross-entropy summed over the list.
    """
    weight = torch.where(labels > 0, labels.float().exp(), 0.0)
    target = weight / weight.sum(dim=-1, keepdim=True)
    log_p = torch.log_softmax(scores, dim=-1)
    rest = torch.log1p(-log_p.exp().clamp(max=1 - 1e-6))
    return -(target * log_p + (1 - target) * rest).sum(-1).mean()
