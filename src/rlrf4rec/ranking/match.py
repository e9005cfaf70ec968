"""Match, a judge of texts. Shapes: B lists, C candidates, W width of text vectors."""

import torch
from torch import Tensor, nn

from rlrf4rec.ranking.dropout import Dropout
from rlrf4rec.ranking.features import NUMBERS, RANKED, Standardise, numbers
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.ranking.setup import Setup


class Match(nn.Module):
    """Matches the user's text with each item's: score = base + w . (P u * Q i) + s <P u, Q i>.

    The base (popularity, activity, what a first stage gave, genres, description) knows nothing of the user's text.
    Where a profile stands beside the text, u is both, one behind the other. Simpler than a re-ranker that takes user
    and item side by side, and a more reliable judge of texts.
    """

    vectors: Tensor
    genres: Tensor
    popularity: Tensor

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        item_features, width = setup.item_features, setup.width
        wide = item_features.vectors.shape[1]
        self.standardise_user = Standardise(setup.user_vectors)
        self.register_buffer("vectors", Standardise(item_features.vectors)(item_features.vectors), persistent=False)
        self.register_buffer("genres", item_features.genres, persistent=False)
        self.register_buffer("popularity", item_features.log_popularity, persistent=False)
        self.first_stage = setup.first_stage
        self.base_numbers = nn.Sequential(
            nn.Linear(NUMBERS + RANKED * setup.first_stage, 16), nn.ReLU(), nn.Linear(16, 1)
        )
        self.base_item = nn.Linear(wide + item_features.genres.shape[1], 1, bias=False)
        self.user = nn.Linear(setup.user_vectors.shape[-1], width, bias=False)
        self.item = nn.Linear(wide, width, bias=False)
        self.weight = nn.Parameter(torch.zeros(width))
        self.scale = nn.Parameter(torch.ones(1) / width)
        self.dropout = Dropout(setup.dropout)

    def forward(self, lists: Lists, user_text: Tensor) -> Tensor:
        """Scores [B, C]; user_text [B, parts * W]."""
        items, place = torch.unique(lists.item, return_inverse=True)
        vectors = self.dropout(self.vectors[items])
        base = self.base_item(torch.cat([vectors, self.genres[items]], -1))[place][..., 0]
        base = base + self.base_numbers(numbers(self.popularity, lists, self.first_stage))[..., 0]
        user = self.user(self.dropout(self.standardise_user(user_text)))
        match = user[:, None] * self.item(vectors)[place]
        return base + (match * (self.weight + self.scale)).sum(-1)
