"""Nets from candidate features to scores, by name. A new one is a file and a line here.

`params.types` has the names once more, as importing torch there would slow every command: `Backbone` those of the
re-rankers, `RewardNet` all.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from rlrf4rec.errors import entry
from rlrf4rec.ranking.dlcm import DLCM
from rlrf4rec.ranking.lists import ItemFeatures
from rlrf4rec.ranking.losses import attention_rank, listwise_softmax
from rlrf4rec.ranking.match import Match
from rlrf4rec.ranking.prm import PRM
from rlrf4rec.ranking.setrank import SetRank
from rlrf4rec.ranking.setup import Setup


@dataclass(frozen=True)
class Net:
    """A net, called with lists and text vectors [B, W], gives scores [B, C]; `loss` is the one of its paper.

    reranker: may be one of `backbones`; every net may be the reward model.
    """

    new: Callable[[Setup], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    reranker: bool


NETS = {
    "match": Net(Match, listwise_softmax, reranker=False),
    "dlcm": Net(DLCM, attention_rank, reranker=True),
    "prm": Net(PRM, listwise_softmax, reranker=True),
    "setrank": Net(SetRank, attention_rank, reranker=True),
}


def net(name: str) -> Net:
    """The net of a name; ParamsError when there is none."""
    return entry(NETS, name, "net")


def build(
    name: str,
    item_features: ItemFeatures,
    user_vectors: Tensor,
    length: int,
    dropout: float,
    shared: int,
    private: int,
    width: int,
    first_stage: bool = False,
) -> nn.Module:
    """An untrained net; see `Setup` for what it is built from, ParamsError for an unknown name."""
    return net(name).new(Setup(item_features, user_vectors, length, dropout, shared, private, width, first_stage))
