"""PRM, a re-ranker. Shapes: B lists, C candidates, W width of text vectors."""

import torch
from torch import Tensor, nn

from rlrf4rec.ranking.attention import HIDDEN, attention
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.ranking.setup import Setup


class PRM(nn.Module):
    """Personalised Re-ranking Model (Pei et al. 2019): positions, self-attention, an MLP score."""

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.features = setup.features()
        self.enter = nn.Linear(self.features.width, HIDDEN)
        self.position = nn.Parameter(torch.zeros(setup.length, HIDDEN))
        self.attention = attention(setup.dropout)
        self.score = nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))

    def forward(self, lists: Lists, user_text: Tensor) -> Tensor:
        """Scores [B, C]; user_text [B, W]."""
        hidden = self.enter(self.features(lists, user_text)) + self.position
        scores: Tensor = self.score(self.attention(hidden))[..., 0]
        return scores
