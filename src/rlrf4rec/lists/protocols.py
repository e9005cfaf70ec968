"""Candidate lists of the three protocols from the same folds and histories."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from rlrf4rec.errors import RLRFError
from rlrf4rec.lists import candidates, retrieval
from rlrf4rec.params import Split
from rlrf4rec.tables.split import FOLDS


@dataclass(frozen=True)
class Settings:
    """How lists are made; `window`: interactions that a retrieved list looks ahead."""

    step: int
    list_length: int
    max_lists: int
    window: int
    positive_rating: float

    @staticmethod
    def of(p: Split) -> "Settings":
        """From the params."""
        return Settings(p.step, p.list_length, p.max_lists, p.window, p.positive_rating)


def build(
    protocol: str,
    interactions: pl.DataFrame,
    history: pl.DataFrame,
    later: pl.DataFrame,
    users: pl.DataFrame,
    popularity: pl.DataFrame,
    p: Settings,
    seed: int,
) -> tuple[dict[str, pl.DataFrame], dict[str, Any]]:
    """Lists by fold, and counts of users, lists and positives, with the first stage's recall where there is one.

    interactions: all, ordered by user and time; history, later: of `lists.histories`; users: with folds;
    popularity: item and count, every catalogue item. RLRFError when a fold has no list.
    """
    report: dict[str, Any] = {"protocol": protocol}
    scorer = None
    if protocol == "retrieved":
        scorer, report["first_stage"] = retrieval.choose(
            interactions, users, history, later, popularity["item"], p.list_length, p.window, p.positive_rating, seed
        )
    lists: dict[str, pl.DataFrame] = {}
    recall: dict[str, float] = {}
    for fold in FOLDS:
        members = users.filter(pl.col("fold") == fold).select("user")
        own_later = later.join(members, on="user", how="semi", maintain_order="left")
        if scorer is not None:
            made, counted = retrieval.build_retrieved(
                own_later, history, popularity["item"], scorer, p.list_length, p.window, p.max_lists, p.positive_rating
            )
            without = counted["without_positive"]
            recall[fold] = counted[f"recall{p.list_length}"]
        else:
            made, without = candidates.build(
                own_later,
                interactions.join(members, on="user", how="semi").select("user", "item"),
                candidates.Catalogue.of(popularity),
                protocol,
                p.step,
                p.list_length,
                p.max_lists,
                p.positive_rating,
                seed,
            )
        if not made.height or not made["label"].sum():
            raise RLRFError(f"split: no user of the {fold} fold has a list with a positive; lower positive_rating")
        if fold == "train":
            made = made.filter(pl.col("list") < p.max_lists)  # KAR's lists have no cap; heavy users would train alone
        lists[fold] = made
        number, with_lists = made.height // p.list_length, made["user"].n_unique()
        report[fold] = {
            "users": members.height,
            "users_without_list": members.height - with_lists,
            "lists": number,
            "steps_without_positive": without,
            "positives_per_list": float(made["label"].sum()) / number,
        }
    return lists, report | ({"recall": recall} if recall else {})
