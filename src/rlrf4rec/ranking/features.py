"""Features of a candidate that every re-ranker gets, whatever the knowledge about the user.

Item id, genres, popularity, the user's activity, and the item's description are in the base, so that two
re-rankers that differ in the user's text differ in nothing else.
"""

import torch
from torch import Tensor, nn

from rlrf4rec.ranking.adaptor import OUT, HybridExpertAdaptor
from rlrf4rec.ranking.lists import ItemFeatures, Lists

ID_WIDTH = GENRE_WIDTH = 32
NUMBERS, RANKED = 3, 2  # of a candidate; of one that a first stage ranked so many more
ACTIVITY_CENTRE = 4.0  # log(1 + 54): near the middle of log activity, so that the product below is centred


def numbers(catalogue_popularity: Tensor, lists: Lists, first_stage: bool) -> Tensor:
    """Popularity, activity and their product, [B, C, 3]; with `first_stage` its score and rank too, [B, C, 5].

    To candidates that no first stage ranked (lists made of a history, say) it gives 0, the mean of a list.
    """
    popularity = catalogue_popularity[lists.item]
    activity = (lists.activity - ACTIVITY_CENTRE)[:, None].expand_as(popularity)
    known = torch.stack([popularity, activity, popularity * activity], dim=-1)
    if not first_stage:
        return known
    ranked = known.new_zeros(*known.shape[:2], RANKED) if lists.first_stage is None else lists.first_stage
    return torch.cat([known, ranked], dim=-1)


class Standardise(nn.Module):
    """Centre and scale text vectors by fixed statistics; a constant input becomes zero."""

    mean: Tensor
    scale: Tensor

    def __init__(self, vectors: Tensor) -> None:
        """vectors: [..., W], those that training may see."""
        super().__init__()
        flat = vectors.flatten(0, -2)
        spread = flat.std(dim=0, unbiased=False)
        self.register_buffer("mean", flat.mean(dim=0))
        self.register_buffer("scale", torch.where(spread > 1e-6, 1 / spread.clamp(min=1e-6), 0.0))

    def forward(self, x: Tensor) -> Tensor:
        """[..., W] to [..., W]."""
        return (x - self.mean) * self.scale


class CandidateFeatures(nn.Module):
    """Features [B, C, width] of lists with one user text each."""

    genres: Tensor
    popularity: Tensor
    vectors: Tensor

    def __init__(
        self,
        item_features: ItemFeatures,
        user_vectors: Tensor,
        shared: int,
        private: int,
        dropout: float,
        first_stage: bool,
    ) -> None:
        super().__init__()
        width = item_features.vectors.shape[1]
        self.wide = 2 * width  # of this trial: phrases [.., K, 2 * W]
        self.standardise_user = Standardise(user_vectors.reshape(-1, self.wide))
        standardise_item = Standardise(item_features.vectors)
        self.register_buffer("vectors", standardise_item(item_features.vectors), persistent=False)
        self.register_buffer("genres", item_features.genres, persistent=False)
        self.register_buffer("popularity", item_features.log_popularity, persistent=False)
        self.id = nn.Embedding(len(item_features.log_popularity), ID_WIDTH)
        nn.init.normal_(self.id.weight, std=0.01)  # items never seen in training stay near zero
        self.genre = nn.Linear(item_features.genres.shape[1], GENRE_WIDTH)
        parts = 2
        self.query = nn.Linear(OUT + GENRE_WIDTH, OUT, bias=False)
        self.key = nn.Linear(parts * OUT, OUT, bias=False)
        self.adaptor = HybridExpertAdaptor(width, parts, shared, private, dropout)
        self.first_stage = first_stage
        self.width = ID_WIDTH + GENRE_WIDTH + NUMBERS + RANKED * first_stage + (1 + parts) * OUT

    def forward(self, lists: Lists, user_text: Tensor) -> Tensor:
        """user_text: [B, parts * W], raw encoder vectors."""
        items, place = torch.unique(lists.item, return_inverse=True)
        per_item = torch.cat(
            [self.id(items), self.genre(self.genres[items]), self.adaptor.item(self.vectors[items])], -1
        )
        of_items = per_item[place]
        users, row = torch.unique(lists.user, return_inverse=True)  # a user's lists all have the same phrases
        first = torch.empty(len(users), dtype=torch.long)
        first[row] = torch.arange(len(row))
        phrases = self.standardise_user(user_text[first].reshape(-1, self.wide))
        user = self.adaptor.user(phrases).view(len(users), -1, 2 * OUT)
        asked = self.query(of_items[..., ID_WIDTH:])  # [B, C, OUT], of genres and description
        weight = torch.softmax(asked @ self.key(user)[row].mT / OUT**0.5, dim=-1)  # [B, C, K]
        per_user = weight @ user[row]
        return torch.cat([of_items, numbers(self.popularity, lists, self.first_stage), per_user], dim=-1)
