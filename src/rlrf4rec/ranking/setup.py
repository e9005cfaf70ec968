"""What a net is built from: the same for all of them, each takes what it needs."""

from dataclasses import dataclass

from torch import Tensor

from rlrf4rec.ranking.features import CandidateFeatures
from rlrf4rec.ranking.lists import ItemFeatures


@dataclass(frozen=True)
class Setup:
    """Data and sizes of a net."""

    item_features: ItemFeatures
    user_vectors: Tensor  # [..., parts * W], text vectors that training may see: their statistics standardise the texts
    length: int  # candidates of a list
    dropout: float
    shared: int  # experts of the adaptor that user and items share, and private ones of each
    private: int
    width: int  # of a match between user and item
    first_stage: bool  # whether a first stage ranks the lists, so that its score and rank are features

    def features(self) -> CandidateFeatures:
        """The candidates' features with weights of their own."""
        return CandidateFeatures(
            self.item_features, self.user_vectors, self.shared, self.private, self.dropout, self.first_stage
        )
