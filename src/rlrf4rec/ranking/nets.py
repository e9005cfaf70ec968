"""Re-rankers: nets from candidate features to scores. Shapes: B lists, C candidates, F features, H hidden."""

import torch
from torch import Tensor, nn

from rlrf4rec.ranking.dropout import Dropout
from rlrf4rec.ranking.features import CandidateFeatures, Standardise, numbers
from rlrf4rec.ranking.lists import Catalogue, Lists

HIDDEN, HEADS = 64, 2


class DLCM(nn.Module):
    """Deep Listwise Context Model (Ai et al. 2018): a GRU over the list, each output scored against the last state.

    score_i = v . (o_i  tanh(W s + b)), with W s + b reshaped to [H, K].
    """

    K = 8

    def __init__(self, features: CandidateFeatures, dropout: float) -> None:
        super().__init__()
        self.features = features
        self.gru = nn.GRU(features.width, HIDDEN, batch_first=True)
        self.dropout = Dropout(dropout)
        self.attend = nn.Linear(HIDDEN, HIDDEN * self.K)
        self.score = nn.Linear(self.K, 1, bias=False)

    def forward(self, lists: Lists, user_text: Tensor) -> Tensor:
        """Scores [B, C]; user_text [B, W]."""
        out, state = self.gru(self.dropout(self.features(lists, user_text)))
        attend = torch.tanh(self.attend(state[0])).view(-1, HIDDEN, self.K)
        scores: Tensor = self.score(out @ attend)[..., 0]
        return scores


def _attention(dropout: float) -> nn.Module:
    """A block of self-attention and feed-forward layers with the project's dropout around both."""
    block = nn.TransformerEncoderLayer(HIDDEN, HEADS, 2 * HIDDEN, dropout, batch_first=True)
    block.dropout, block.dropout1, block.dropout2 = (Dropout(dropout) for _ in range(3))  # type: ignore[assignment]
    return block


class PRM(nn.Module):
    """Personalised Re-ranking Model (Pei et al. 2019): positions, self-attention, an MLP score."""

    def __init__(self, features: CandidateFeatures, dropout: float, length: int) -> None:
        super().__init__()
        self.features = features
        self.enter = nn.Linear(features.width, HIDDEN)
        self.position = nn.Parameter(torch.zeros(length, HIDDEN))
        self.attention = _attention(dropout)
        self.score = nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))

    def forward(self, lists: Lists, user_text: Tensor) -> Tensor:
        """Scores [B, C]; user_text [B, W]."""
        hidden = self.enter(self.features(lists, user_text)) + self.position
        scores: Tensor = self.score(self.attention(hidden))[..., 0]
        return scores


class SetRank(nn.Module):
    """SetRank (Pang et al. 2020): self-attention blocks without positions, so order of the list does not matter."""

    def __init__(self, features: CandidateFeatures, dropout: float) -> None:
        super().__init__()
        self.features = features
        self.enter = nn.Linear(features.width, HIDDEN)
        self.attention = nn.Sequential(_attention(dropout), _attention(dropout))
        self.score = nn.Linear(HIDDEN, 1)

    def forward(self, lists: Lists, user_text: Tensor) -> Tensor:
        """Scores [B, C]; user_text [B, W]."""
        scores: Tensor = self.score(self.attention(self.enter(self.features(lists, user_text))))[..., 0]
        return scores


class Match(nn.Module):
    """Matches the user's text with each item's: score = base + w . (P u * Q i) + s <P u, Q i>.

    The base (popularity, activity, genres, description) knows nothing of the user's text. Simpler than a
    re-ranker that takes both side by side, and a more reliable judge of texts.
    """

    vectors: Tensor
    genres: Tensor
    popularity: Tensor

    def __init__(self, catalogue: Catalogue, user_vectors: Tensor, width: int, dropout: float) -> None:
        super().__init__()
        wide = catalogue.vectors.shape[1]
        self.standardise_user = Standardise(user_vectors)
        self.register_buffer("vectors", Standardise(catalogue.vectors)(catalogue.vectors), persistent=False)
        self.register_buffer("genres", catalogue.genres, persistent=False)
        self.register_buffer("popularity", catalogue.log_popularity, persistent=False)
        self.base_numbers = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 1))
        self.base_item = nn.Linear(wide + catalogue.genres.shape[1], 1, bias=False)
        self.user = nn.Linear(wide, width, bias=False)
        self.item = nn.Linear(wide, width, bias=False)
        self.weight = nn.Parameter(torch.zeros(width))
        self.scale = nn.Parameter(torch.ones(1) / width)
        self.dropout = Dropout(dropout)

    def forward(self, lists: Lists, user_text: Tensor) -> Tensor:
        """Scores [B, C]; user_text [B, W]."""
        items, place = torch.unique(lists.item, return_inverse=True)
        vectors = self.dropout(self.vectors[items])
        base = self.base_item(torch.cat([vectors, self.genres[items]], -1))[place][..., 0]
        base = base + self.base_numbers(numbers(self.popularity, lists))[..., 0]
        user = self.user(self.dropout(self.standardise_user(user_text)))
        match = user[:, None] * self.item(vectors)[place]
        return base + (match * (self.weight + self.scale)).sum(-1)


def build(
    name: str,
    catalogue: Catalogue,
    user_vectors: Tensor,
    length: int,
    dropout: float,
    shared: int,
    private: int,
    width: int,
) -> nn.Module:
    """The net `name`; `shared` and `private` experts for the re-rankers, `width` of the match for `match`."""
    if name == "match":
        return Match(catalogue, user_vectors, width, dropout)
    features = CandidateFeatures(catalogue, user_vectors, shared, private, dropout)
    if name == "dlcm":
        return DLCM(features, dropout)
    if name == "prm":
        return PRM(features, dropout, length)
    return SetRank(features, dropout)
