"""Orders of lists that no re-ranker made: what a re-ranker has to be better than, and what is the most there is.

`random`: the mean over all orders. `popularity`: by the items' counts. `first_stage`: as a first stage ranked them,
where the protocol has one. `rated_first`: what the user rated later before what was drawn or retrieved, else by chance:
what knowing only *which* items were rated gives. `oracle`: the positives first. The last two know what
only labels tell.
"""

from collections.abc import Callable

import polars as pl
import torch
from torch import Tensor

from rlrf4rec.errors import entry
from rlrf4rec.evaluation.lists import by_list
from rlrf4rec.metrics.expected import by_chance
from rlrf4rec.metrics.ranking import METRICS
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.tables.results import metric_names
from rlrf4rec.tables.split import PROTOCOLS


def report(
    frame: pl.DataFrame, lists: Lists, users: pl.Series, log_popularity: Tensor, ks: list[int]
) -> dict[str, dict[str, dict[str, float]]]:
    """Metrics of every order, as means over users and over lists.

    frame: the table that `lists` [L, C] were made of, one protocol's; users: its names, log_popularity [I].
    """
    length = lists.item.shape[1]
    rated = torch.from_numpy(frame.sort("user", "list", "position")["real"].to_numpy()).view(-1, length).sum(1)
    scores = {"popularity": log_popularity[lists.item]}
    if entry(PROTOCOLS, str(frame["protocol"][0]), "protocol").ranked:
        scores["first_stage"] = -torch.arange(length).expand(lists.item.shape).float()
    scores["oracle"] = lists.label.float()
    of_scores = {name: by_list(values, lists, users, ks) for name, values in scores.items()}
    return {
        "random": _means(_by_chance(torch.full_like(rated, length), lists, users, ks), ks),
        **{name: _means(found, ks) for name, found in of_scores.items() if name != "oracle"},
        "rated_first": _means(_by_chance(rated, lists, users, ks), ks),
        "oracle": _means(of_scores["oracle"], ks),
    }


def _by_chance(first: Tensor, lists: Lists, users: pl.Series, ks: list[int]) -> pl.DataFrame:
    """As `by_list`, of orders in which a list's `first` [L] items, its positives among them, come by chance."""
    alike = pl.DataFrame({"first": first.numpy(), "positives": lists.label.sum(1).numpy()})
    kinds = alike.unique(maintain_order=True)
    columns = {
        f"{name}@{k}": _of(kinds, metric, k, lists.item.shape[1]) for name, metric in METRICS.items() for k in ks
    }
    found = alike.join(kinds.with_columns(**columns), on=alike.columns, how="left", maintain_order="left")
    return found.select(pl.Series("user", users.gather(lists.user.tolist())), *metric_names(ks))


def _of(kinds: pl.DataFrame, metric: Callable[[Tensor, int], Tensor], k: int, length: int) -> pl.Series:
    return pl.Series([by_chance(metric, k, length, first, positives) for first, positives in kinds.iter_rows()])


def _means(of_lists: pl.DataFrame, ks: list[int]) -> dict[str, dict[str, float]]:
    names = metric_names(ks)
    over_users = of_lists.group_by("user", maintain_order=True).agg(pl.col(names).mean()).select(names).mean()
    over_lists = of_lists.select(names).mean()
    return {
        "over_users": dict(zip(names, over_users.row(0), strict=True)),
        "over_lists": dict(zip(names, over_lists.row(0), strict=True)),
    }
