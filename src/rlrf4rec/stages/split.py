"""Stage split: user folds, histories and candidate lists, frozen as data."""

from functools import partial

import polars as pl

from rlrf4rec import paths
from rlrf4rec.errors import InputError
from rlrf4rec.files import atomic_folder, write_json
from rlrf4rec.lists import folds, protocols
from rlrf4rec.lists.given import ListSettings
from rlrf4rec.lists.histories import histories, popularity
from rlrf4rec.params import Split
from rlrf4rec.tables.interactions import INTERACTIONS, ITEMS
from rlrf4rec.tables.split import FOLD_USERS, FOLDS, HISTORY, POPULARITY, write_lists


def run(seed: int, split: Split) -> str:
    """Assign folds, cut histories, build lists; returns the closing line."""
    interactions, items = INTERACTIONS.read(paths.INTERACTIONS), ITEMS.read(paths.ITEMS)
    if strangers := interactions.join(items, on="item", how="anti", maintain_order="left")["item"].to_list():
        raise InputError(
            f"{paths.ITEMS}: no row of item {strangers[0]!r}, which was rated; run `dvc repro interactions`"
        )
    history, later, uncut = histories(interactions, split.history_length)
    users = sorted(history["user"].unique())
    assigned = folds.assign(
        users, split.folds, split.fold, split.validation_share, split.tuning_users, split.tuning_share, seed
    )
    counts = popularity(items, history, assigned.filter(pl.col("fold") == "train").select("user"))
    with atomic_folder(paths.SPLIT) as made:  # all of it or nothing: lists belong to their users and histories
        tables = (FOLD_USERS, assigned, paths.FOLD_USERS), (HISTORY, history, paths.HISTORY)
        for table, frame, path in (*tables, (POPULARITY, counts, paths.POPULARITY)):
            table.write(frame, made / path.relative_to(paths.SPLIT))
        take = partial(write_lists, users=assigned, history=history, folder=made)
        report = protocols.build(split.protocol, history, later, assigned, counts, ListSettings.of(split), seed, take)
    about = {"folds": split.folds, "fold": split.fold, "users_without_history_cut": len(uncut)}
    roles = dict(sorted(assigned["role"].value_counts().iter_rows()))
    write_json(paths.metrics("split"), {**about, **report, "roles": roles})
    total = sum(report[fold]["lists"] for fold in FOLDS)
    return f"wrote {paths.SPLIT}, {len(users)} users, {total} lists ({split.protocol})"
