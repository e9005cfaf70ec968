"""Stage final_split (study): histories and candidate lists of the final users, labels apart from candidates.

Made as those of the run, from its popularity and, under `retrieved`, by its first stage.
"""

from functools import partial

import polars as pl

from rlrf4rec import paths
from rlrf4rec.errors import ParamsError
from rlrf4rec.files import write_json
from rlrf4rec.lists import protocols
from rlrf4rec.lists.given import ListSettings
from rlrf4rec.lists.histories import histories
from rlrf4rec.params import Split
from rlrf4rec.tables.interactions import INTERACTIONS
from rlrf4rec.tables.split import FINAL, FINAL_USERS, FOLD_USERS, HISTORY, POPULARITY, write_lists


def run(seed: int, split: Split) -> str:
    """Cut histories, build lists; returns the closing line."""
    own, others = INTERACTIONS.read(paths.FINAL_INTERACTIONS), INTERACTIONS.read(paths.INTERACTIONS)
    if not own.height:
        raise ParamsError("no user is final: set interactions.final_folds")
    history, _, uncut = histories(own, split.history_length)
    names = sorted(history["user"].unique())
    users = pl.DataFrame({"user": names, "fold": FINAL, "role": "none", "half": "-"})
    FINAL_USERS.write(users, paths.FINAL_USERS)
    HISTORY.write(history, paths.FINAL_HISTORY)
    everyone = pl.concat([FOLD_USERS.read(paths.FOLD_USERS), users])
    both, later, _ = histories(pl.concat([others, own]), split.history_length)
    counts = POPULARITY.read(paths.POPULARITY)
    take = partial(write_lists, users=users, history=history, folder=paths.FINAL_SPLIT)
    report = protocols.build(split.protocol, both, later, everyone, counts, ListSettings.of(split), seed, take, [FINAL])
    write_json(paths.metrics("final_split"), {"users_without_history_cut": len(uncut), **report})
    return f"wrote {paths.FINAL_SPLIT}, {len(names)} final users, {report[FINAL]['lists']} lists ({split.protocol})"
