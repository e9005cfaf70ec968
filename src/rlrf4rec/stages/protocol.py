"""Stage protocol (study): candidate lists of one protocol for the folds and histories of the default run."""

from functools import partial

from rlrf4rec import paths
from rlrf4rec.files import atomic_folder, write_json
from rlrf4rec.lists import protocols
from rlrf4rec.lists.given import ListSettings
from rlrf4rec.lists.histories import histories
from rlrf4rec.params import Split
from rlrf4rec.tables.interactions import INTERACTIONS
from rlrf4rec.tables.split import FOLD_USERS, FOLDS, POPULARITY, write_lists


def run(seed: int, split: Split, name: str) -> str:
    """Write lists of all folds, and those of development users without labels too, for those who train re-rankers."""
    users, counts = FOLD_USERS.read(paths.FOLD_USERS), POPULARITY.read(paths.POPULARITY)
    history, later, _ = histories(INTERACTIONS.read(paths.INTERACTIONS), split.history_length)
    folder = paths.protocol(name)
    with atomic_folder(folder) as made:
        take = partial(write_lists, users=users, history=history, folder=made)
        report = protocols.build(name, history, later, users, counts, ListSettings.of(split), seed, take)
    write_json(paths.metrics("protocol", name), report)
    return f"wrote {folder}, {sum(report[fold]['lists'] for fold in FOLDS)} lists"
