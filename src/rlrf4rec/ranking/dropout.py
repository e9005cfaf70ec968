"""Dropout whose mask costs a byte of randomness a unit: on a CPU `torch.nn.Dropout` took a quarter of the training."""

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """Drops each unit with probability round(256 p) / 256 and scales the others up, so that the mean stays."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.dropped = round(256 * p)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape; unchanged outside of training."""
        if not self.training or not self.dropped:
            return x
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= self.dropped
        return x * (kept * (256 / (256 - self.dropped)))
