"""Stage split: user folds, histories and candidate lists, frozen as data."""

import polars as pl

from rlrf4rec import paths
from rlrf4rec.errors import RLRFError
from rlrf4rec.files import write_json
from rlrf4rec.lists import candidates, folds
from rlrf4rec.lists.histories import histories, popularity
from rlrf4rec.params import Split
from rlrf4rec.tables.interactions import INTERACTIONS, ITEMS
from rlrf4rec.tables.split import FOLD_USERS, FOLDS, HISTORY, LISTS, POPULARITY, check_fold, check_history


def run(seed: int, split: Split) -> str:
    """Assign folds, cut histories, build lists; returns the closing line."""
    interactions = INTERACTIONS.read(paths.INTERACTIONS)
    items = ITEMS.read(paths.ITEMS)
    history, later, uncut = histories(interactions, split.history_length)
    users = sorted(history["user"].unique())
    assigned = folds.assign(
        users, split.validation_share, split.test_share, split.tuning_users, split.tuning_share, seed
    )
    train = assigned.filter(pl.col("fold") == "train").select("user")
    counts = popularity(items, history, train)
    catalogue = candidates.Catalogue.of(counts, split.negatives)
    FOLD_USERS.write(assigned, paths.FOLD_USERS)
    HISTORY.write(history, paths.HISTORY)
    POPULARITY.write(counts, paths.POPULARITY)
    report: dict[str, object] = {"users_without_history_cut": len(uncut)}
    total = 0
    for fold in FOLDS:
        members = assigned.filter(pl.col("fold") == fold).select("user")
        lists, without = candidates.build(
            later.join(members, on="user", how="semi", maintain_order="left"),
            interactions.join(members, on="user", how="semi").select("user", "item"),
            catalogue,
            split.step,
            split.list_length,
            split.max_lists,
            split.positive_rating,
            seed,
        )
        if not lists.height:
            raise RLRFError(f"split: no user of the {fold} fold has a list with a positive; lower positive_rating")
        path = paths.lists(fold)
        check_fold(lists, assigned, fold, path)
        check_history(lists, history, path)
        LISTS.write(lists, path)
        made, with_lists = lists.height // split.list_length, lists["user"].n_unique()
        total += made
        report[fold] = {
            "users": members.height,
            "users_without_list": members.height - with_lists,
            "lists": made,
            "lists_without_positive_left_out": without,
            "positives_per_list": float(lists["label"].sum()) / made,
        }
    report["roles"] = dict(sorted(assigned["role"].value_counts().iter_rows()))
    write_json(paths.metrics("split"), report)
    return f"wrote {paths.FOLD_USERS.parent}, {len(users)} users, {total} lists"
