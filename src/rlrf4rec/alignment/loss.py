"""DPO's loss (Rafailov et al. 2023, eq. 7) on log-probabilities of completions."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LogProbs:
    """Log-probabilities of the chosen and rejected completions, each [B], summed over tokens, in nats."""

    chosen: Tensor
    rejected: Tensor


def dpo_loss(policy: LogProbs, reference: LogProbs, beta: float) -> tuple[Tensor, Tensor]:
    """Loss and margin per pair, each [B].

    margin = beta * [(log pi - log ref)(chosen) - (log pi - log ref)(rejected)]; loss = -log sigmoid(margin).
    """
    margin = beta * ((policy.chosen - reference.chosen) - (policy.rejected - reference.rejected))
    return -torch.nn.functional.logsigmoid(margin), margin
