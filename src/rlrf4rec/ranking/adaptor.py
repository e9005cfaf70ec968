"""KAR's hybrid-expert adaptor (arXiv 2306.10933, section 3.3): text vectors to a small dense space."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from rlrf4rec.ranking.dropout import Dropout

OUT = 32
RATIO = 6  # KAR narrows 768 to 128; an encoder of 384 narrows to 64


class Experts(nn.Module):
    """Several MLPs width-(width / 6)-32 with ReLU; weights stacked so that all of them run at once."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        layers = [(nn.Linear(width, width // RATIO), nn.Linear(width // RATIO, OUT)) for _ in range(count)]
        self.weight_in = nn.Parameter(torch.cat([first.weight.data for first, _ in layers]))
        self.bias_in = nn.Parameter(torch.cat([first.bias.data for first, _ in layers]))
        self.weight_out = nn.Parameter(torch.stack([second.weight.data for _, second in layers]))
        self.bias_out = nn.Parameter(torch.stack([second.bias.data for _, second in layers]))


class HybridExpertAdaptor(nn.Module):
    """Experts shared by all kinds of text, private ones for each, mixed by a gate softmax(W x) per kind.

    Kinds are the item's text and the `parts` of what is known about the user.
    """

    def __init__(self, width: int, parts: int, shared: int, private: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.shared = Experts(shared, width)
        self.private_item = Experts(private, width)
        self.gate_item = nn.Linear(width, shared + private, bias=False)
        self.private_user = nn.ModuleList(Experts(private, width) for _ in range(parts))
        self.gate_user = nn.ModuleList(nn.Linear(width, shared + private, bias=False) for _ in range(parts))
        self.dropout = Dropout(dropout)

    def user(self, x: Tensor) -> Tensor:
        """Vectors about users [B, parts * width] to [B, parts * 32]."""
        kinds = zip(x.split(self.width, dim=1), self.private_user, self.gate_user, strict=True)
        return torch.cat([self._mix(part, cast(Experts, private), gate) for part, private, gate in kinds], dim=1)

    def item(self, x: Tensor) -> Tensor:
        """Item texts [B, width] to [B, 32]."""
        return self._mix(x, self.private_item, self.gate_item)

    def _mix(self, x: Tensor, private: Experts, gate: nn.Module) -> Tensor:
        both: tuple[Experts, Experts] = (self.shared, private)
        hidden = linear(x, torch.cat([e.weight_in for e in both]), torch.cat([e.bias_in for e in both]))
        hidden = self.dropout(hidden.relu()).view(len(x), -1, x.shape[1] // RATIO)
        out = torch.einsum("beh,eoh->beo", hidden, torch.cat([e.weight_out for e in both]))
        out = out + torch.cat([e.bias_out for e in both])
        return (out * torch.softmax(gate(x), dim=-1)[..., None]).sum(dim=1)
