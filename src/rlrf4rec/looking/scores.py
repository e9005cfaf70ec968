"""Scores of lists by re-rankers that are trained already."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from rlrf4rec.errors import InputError
from rlrf4rec.evaluation.lists import again
from rlrf4rec.metrics.permute import permutation
from rlrf4rec.params import TrainRanker
from rlrf4rec.ranking import nets
from rlrf4rec.ranking.lists import ItemFeatures, Lists
from rlrf4rec.ranking.module import predict
from rlrf4rec.seeds import derive
from rlrf4rec.tables.vectors import load_tensors
from rlrf4rec.workers import one_thread


@one_thread()
def scores(
    path: Path,
    item_features: ItemFeatures,
    texts: Tensor,
    lists: Lists,
    backbones: Sequence[str],
    p: TrainRanker,
    seed: int,
    group: str,
) -> dict[str, Tensor]:
    """Scores [L, C] by `backbone/seed/which`, own and permuted, as `retrain` gives them of the lists that it knows.

    texts [U, parts * W] of all users of the lists, which are one group and get a permutation for each seed.
    """
    weights, _ = load_tensors(path)
    members = dict.fromkeys(lists.user.tolist(), group)
    found = {}
    for number in range(p.seeds):
        others = permutation(members, len(texts), derive(seed, "permuted", number))
        for backbone in backbones:
            net = _net(path, weights, f"{backbone}/{number}/", backbone, item_features, texts, lists, p)
            found[f"{backbone}/{number}/own"] = predict(net, lists, texts[lists.user])
            found[f"{backbone}/{number}/permuted"] = predict(net, lists, texts[others][lists.user])
    return found


def _net(
    path: Path,
    weights: Mapping[str, Tensor],
    prefix: str,
    backbone: str,
    item_features: ItemFeatures,
    texts: Tensor,
    lists: Lists,
    p: TrainRanker,
) -> torch.nn.Module:
    state = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    # The texts only give their width: what standardises them is among the weights.
    given = torch.zeros(1, 1, texts.shape[1])
    length, shared, private = lists.item.shape[1], p.experts_shared, p.experts_private
    net = nets.build(backbone, item_features, given, length, 0.0, shared, private, 0, lists.ranked)
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{path}: no weights of {prefix} that fit ({error}); {again(path)}") from None
    return net.eval()
