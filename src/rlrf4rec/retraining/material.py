"""What re-rankers with one knowledge learn from and score, read and checked."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rlrf4rec import paths
from rlrf4rec.errors import InputError, entry
from rlrf4rec.inputs import Tables
from rlrf4rec.ranking.lists import ItemFeatures, Lists
from rlrf4rec.tables.split import RANKING, TUNING

LEARNERS = {  # whose lists train re-rankers, by name: those users, and whose texts have to be there (see `USERS`)
    "ranking": (RANKING, "evaluated"),
    "train": (RANKING | TUNING, "all"),  # labels that tuned no LLM: all of them for the re-ranker
}


@dataclass(frozen=True)
class Material:
    """What re-rankers learn from and what they score.

    texts [U, parts * W]: what they know about users; `seen`: rows of users that statistics may come from;
    `candidates`: lists to score when trained, without labels.
    """

    item_features: ItemFeatures
    texts: Tensor
    lists: Lists
    validation: Lists
    seen: Tensor
    candidates: Lists


def material(tables: Tables, text: str, beside: str, items: str, learners: str = "ranking") -> Material:
    """Read the knowledge of re-rankers: the vectors `text` and `beside` of users, and those of `items`.

    learners: of `LEARNERS`.

    All knowledge has the same two places for the user, so that all nets are equally large: a place that is not used
    holds `none`, a constant. Of several texts of a user the mean of their vectors is given, to learn from as to score
    with: a re-ranker that learned from them one by one would be scored on vectors that it has never met, and one that
    has one text for each user would not be.
    """
    learning, read = entry(LEARNERS, learners, "learners")
    first, second = (tables.text_vectors(paths.vectors_at(place), read) for place in (text, beside))
    texts, item_features = (
        _side_by_side(first, second),
        tables.item_features(paths.vectors_at(items)),
    )
    if texts.shape[1] % (2 * item_features.vectors.shape[1]):
        raise InputError(
            f"vectors of {text} and {beside} are {texts.shape[1]} numbers wide together, those of {items} "
            f"{item_features.vectors.shape[1]}; all have to come from one encoder: run `dvc repro encode`"
        )
    frame = tables.list_frame("train").join(tables.users.filter(learning).select("user"), on="user", how="semi")
    return Material(
        item_features,
        texts,
        tables.lists_of(frame, "train", "a user that re-rankers learn from"),
        tables.lists_of(tables.list_frame("validation"), "validation", "a validation user"),
        torch.tensor(tables.rows(learning)),
        tables.candidates(),
    )


def _side_by_side(first: Tensor, second: Tensor) -> Tensor:
    """Phrases of two places, [U, S1, W] and [U, S2, W], to [U, max(S1, S2) * 2 * W]; the fewer ones come again."""
    count = max(first.shape[1], second.shape[1])
    both = [own[:, torch.arange(count) % own.shape[1]] for own in (first, second)]
    return torch.cat(both, dim=2).flatten(1)
