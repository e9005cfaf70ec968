"""Protocols of candidate lists, by name, and the lists of each fold. A new one is a file and a line here.

`params.types.Protocol` has the names once more.
"""

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from rlrf4rec.errors import RLRFError, entry
from rlrf4rec.lists import matched, popular, rated, retrieved, uniform
from rlrf4rec.lists.given import ListSettings, Protocol, ProtocolInputs
from rlrf4rec.tables.split import FOLDS

PROTOCOLS: dict[str, Protocol] = {
    "uniform": uniform.protocol,
    "popularity": popular.protocol,
    "matched": matched.protocol,
    "retrieved": retrieved.protocol,
    "rated": rated.protocol,
}


def build(
    protocol: str,
    history: pl.DataFrame,
    later: pl.DataFrame,
    users: pl.DataFrame,
    popularity: pl.DataFrame,
    p: ListSettings,
    seed: int,
    take: Callable[[str, pl.DataFrame], None],
    folds: Sequence[str] = FOLDS,
) -> dict[str, Any]:
    """Make the lists of each fold and give `take` its name and them; none is kept, as there may be millions.

    The other arguments are those of `ProtocolInputs`. Returns counts of users, lists and positives by fold, with the
    first stage's recall where there is one. RLRFError when a fold has no list.
    """
    make, about = entry(PROTOCOLS, protocol, "protocol")(ProtocolInputs(history, later, users, popularity, p, seed))
    report: dict[str, Any] = {"protocol": protocol, **about}
    recall: dict[str, float] = {}
    for fold in folds:
        members = users.filter(pl.col("fold") == fold).select("user")
        found = make(members)
        made = found.lists
        if found.recall is not None:
            recall[fold] = found.recall
        if not made.height or not made["label"].sum():
            raise RLRFError(f"split: no user of the {fold} fold has a list with a positive; lower positive_rating")
        if fold == "train":
            made = made.filter(pl.col("list") < p.max_lists)  # KAR's lists have no cap; heavy users would train alone
        number, with_lists = made.height // p.list_length, made["user"].n_unique()
        report[fold] = {
            "users": members.height,
            "users_without_list": members.height - with_lists,
            "lists": number,
            "steps_without_positive": found.without,
            **({} if found.without_negative is None else {"steps_without_negative": found.without_negative}),
            "positives_per_list": float(made["label"].sum()) / number,
        }
        take(fold, made)
        del found, made  # before those of the next fold are made
    return report | ({"recall": recall} if recall else {})
