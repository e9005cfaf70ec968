"""Stage protocol (study): candidate lists of one protocol for the folds and histories of the default run."""

import polars as pl

from rlrf4rec import paths
from rlrf4rec.files import write_json
from rlrf4rec.lists import protocols
from rlrf4rec.lists.given import ListSettings
from rlrf4rec.lists.histories import histories
from rlrf4rec.params import Split
from rlrf4rec.tables.interactions import INTERACTIONS
from rlrf4rec.tables.split import CANDIDATES, FOLD_USERS, LISTS, POPULARITY, check_fold, check_history


def run(seed: int, split: Split, name: str) -> str:
    """Write lists of all folds, and the test lists once more without labels for those who train re-rankers."""
    interactions, users = INTERACTIONS.read(paths.INTERACTIONS), FOLD_USERS.read(paths.FOLD_USERS)
    history, later, _ = histories(interactions, split.history_length)
    counts = POPULARITY.read(paths.POPULARITY)
    lists, report = protocols.build(name, interactions, history, later, users, counts, ListSettings.of(split), seed)
    folder = paths.protocol(name)
    for fold, frame in lists.items():
        path = paths.lists(fold, folder)
        check_fold(frame, users, fold, path)
        check_history(frame, history, path)
        LISTS.write(frame, path)
    CANDIDATES.write(lists["test"].select(pl.exclude("label", "real")), paths.candidates(folder))
    write_json(paths.metrics("protocol", name), report)
    return f"wrote {folder}, {sum(report[fold]['lists'] for fold in lists)} lists"
