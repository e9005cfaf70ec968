"""Kinds of rewards, by name: what a text is paid for. A new one is a function or two and a line here.

- ndcg, map: the paper's, NDCG@k and MAP@k of the re-ranked list; few distinct values, many ties;
- smooth: mean log-probability of the positives (`metrics.ranking.log_likelihood`);
- personal: smooth minus the same text's smooth reward on lists of other users: it pays only for what fits this user.

Shapes: M models, S texts of a user, L lists of a user, O lists of others. `params.types.RewardKind` has the names once
more, and `tables.rewards.KINDS` the ranges.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from rlrf4rec.errors import entry


class Values(Protocol):
    """Values of one user's texts: `ndcg`, `map`, `smooth` [M, S, L] on own lists, `others` [M, S, O] smooth."""

    ndcg: Tensor
    map: Tensor
    smooth: Tensor
    others: Tensor


Dims = tuple[int, ...]
LISTS, MODELS_AND_LISTS = (2,), (0, 2)  # dimensions to average: rewards are [M, S], or [S]


@dataclass(frozen=True)
class RewardFormula:
    """A kind of reward.

    reward: of all texts, averaged over these dimensions, `LISTS` or `MODELS_AND_LISTS`.
    by_list: what a text gets on each of its user's own lists, [M, S, L]; a list where texts get the same tells nothing.
    """

    reward: Callable[[Values, Dims], Tensor]
    by_list: Callable[[Values], Tensor]


def _personal(values: Values, dims: Dims) -> Tensor:
    return values.smooth.mean(dims) - values.others.mean(dims)


KINDS = {
    "ndcg": RewardFormula(lambda values, dims: values.ndcg.mean(dims), lambda values: values.ndcg),
    "map": RewardFormula(lambda values, dims: values.map.mean(dims), lambda values: values.map),
    "smooth": RewardFormula(lambda values, dims: values.smooth.mean(dims), lambda values: values.smooth),
    "personal": RewardFormula(_personal, lambda values: values.smooth),
}


def kind(name: str) -> RewardFormula:
    """The formula of a kind; ParamsError when there is none."""
    return entry(KINDS, name, "reward.kind")
