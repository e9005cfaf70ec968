"""SetRank, a re-ranker. Shapes: B lists, C candidates, W width of text vectors."""

from torch import Tensor, nn

from rlrf4rec.ranking.attention import HIDDEN, attention
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.ranking.setup import Setup


class SetRank(nn.Module):
    """SetRank (Pang et al. 2020): self-attention blocks without positions, so order of the list does not matter."""

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.features = setup.features()
        self.enter = nn.Linear(self.features.width, HIDDEN)
        self.attention = nn.Sequential(attention(setup.dropout), attention(setup.dropout))
        self.score = nn.Linear(HIDDEN, 1)

    def forward(self, lists: Lists, user_text: Tensor) -> Tensor:
        """Scores [B, C]; user_text [B, W]."""
        scores: Tensor = self.score(self.attention(self.enter(self.features(lists, user_text))))[..., 0]
        return scores
