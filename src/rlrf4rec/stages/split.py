"""Stage split: user folds, histories and candidate lists, frozen as data."""

import polars as pl

from rlrf4rec import paths
from rlrf4rec.files import write_json
from rlrf4rec.lists import folds, protocols
from rlrf4rec.lists.given import ListSettings
from rlrf4rec.lists.histories import histories, popularity
from rlrf4rec.params import Split
from rlrf4rec.tables.interactions import INTERACTIONS, ITEMS
from rlrf4rec.tables.split import CANDIDATES, FOLD_USERS, HISTORY, LISTS, POPULARITY, check_fold, check_history


def run(seed: int, split: Split) -> str:
    """Assign folds, cut histories, build lists; returns the closing line."""
    interactions, items = INTERACTIONS.read(paths.INTERACTIONS), ITEMS.read(paths.ITEMS)
    history, later, uncut = histories(interactions, split.history_length)
    users = sorted(history["user"].unique())
    assigned = folds.assign(
        users, split.folds, split.fold, split.validation_share, split.tuning_users, split.tuning_share, seed
    )
    counts = popularity(items, history, assigned.filter(pl.col("fold") == "train").select("user"))
    lists, report = protocols.build(
        split.protocol, interactions, history, later, assigned, counts, ListSettings.of(split), seed
    )
    FOLD_USERS.write(assigned, paths.FOLD_USERS)
    HISTORY.write(history, paths.HISTORY)
    POPULARITY.write(counts, paths.POPULARITY)
    for fold, frame in lists.items():
        path = paths.lists(fold)
        check_fold(frame, assigned, fold, path)
        check_history(frame, history, path)
        LISTS.write(frame, path)
    CANDIDATES.write(lists["test"].select(pl.exclude("label", "real")), paths.candidates())
    about = {"folds": split.folds, "fold": split.fold, "users_without_history_cut": len(uncut)}
    roles = dict(sorted(assigned["role"].value_counts().iter_rows()))
    write_json(paths.metrics("split"), {**about, **report, "roles": roles})
    total = sum(report[fold]["lists"] for fold in lists)
    return f"wrote {paths.SPLIT}, {len(users)} users, {total} lists ({split.protocol})"
