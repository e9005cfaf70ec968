"""DLCM, a re-ranker. Shapes: B lists, C candidates, W width of text vectors, H hidden."""

import torch
from torch import Tensor, nn

from rlrf4rec.ranking.dropout import Dropout
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.ranking.setup import Setup

HIDDEN = 64


class DLCM(nn.Module):
    """Deep Listwise Context Model (Ai et al. 2018): a GRU over the list, each output scored against the last state.

    score_i = v . (o_i  tanh(W s + b)), with W s + b reshaped to [H, K].
    """

    K = 8

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.features = setup.features()
        self.gru = nn.GRU(self.features.width, HIDDEN, batch_first=True)
        self.dropout = Dropout(setup.dropout)
        self.attend = nn.Linear(HIDDEN, HIDDEN * self.K)
        self.score = nn.Linear(self.K, 1, bias=False)

    def forward(self, lists: Lists, user_text: Tensor) -> Tensor:
        """Scores [B, C]; user_text [B, W]."""
        out, state = self.gru(self.dropout(self.features(lists, user_text)))
        attend = torch.tanh(self.attend(state[0])).view(-1, HIDDEN, self.K)
        scores: Tensor = self.score(out @ attend)[..., 0]
        return scores
