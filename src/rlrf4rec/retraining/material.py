"""What re-rankers of one kind learn from and score, read and checked."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rlrf4rec import paths
from rlrf4rec.errors import InputError
from rlrf4rec.inputs import Tables
from rlrf4rec.ranking.lists import Catalogue, Lists
from rlrf4rec.tables.split import CANDIDATES, RANKING


@dataclass(frozen=True)
class Material:
    """What re-rankers learn from and what they score.

    texts [U, parts * W]: what they are told about users; `seen`: rows of users that statistics may come from;
    `candidates`: lists to score when trained, without labels.
    """

    catalogue: Catalogue
    texts: Tensor
    lists: Lists
    validation: Lists
    seen: Tensor
    candidates: Lists


def material(tables: Tables, text: str, beside: str, items: str) -> Material:
    """Read what a kind of re-ranker is told of users, by the vectors `text` and `beside`, and of `items`.

    Every kind has the same two places for the user, so that the nets of all kinds are equally large: a place that is
    not used holds `none`, a constant. Of several texts of a user the mean of their vectors is told, to learn from as
    to score with: a re-ranker that learned from them one by one would be scored on vectors that it has never met, and
    a kind of one text would not be.
    """
    first, second = (tables.told(paths.told(place), "evaluated") for place in (text, beside))
    told, catalogue = torch.cat([first.mean(1), second.mean(1)], dim=1), tables.catalogue(paths.told(items))
    if told.shape[1] != 2 * catalogue.vectors.shape[1]:
        raise InputError(
            f"vectors of {text} and {beside} are {told.shape[1]} numbers wide together, those of {items} "
            f"{catalogue.vectors.shape[1]}; all have to come from one encoder: run `dvc repro encode`"
        )
    frame = tables.list_frame("train").join(tables.users.filter(RANKING).select("user"), on="user", how="semi")
    return Material(
        catalogue,
        told,
        tables.lists(frame),
        tables.lists(tables.list_frame("validation")),
        torch.tensor(tables.rows(RANKING)),
        tables.lists(CANDIDATES.read(paths.candidates(tables.folder))),
    )
