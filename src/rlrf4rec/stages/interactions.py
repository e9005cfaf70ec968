"""Stage interactions: raw files to interactions, users and items."""

import polars as pl

from rlrf4rec import paths
from rlrf4rec.datasets.clean import clean
from rlrf4rec.datasets.readers import read
from rlrf4rec.files import sha256, write_json
from rlrf4rec.params import Interactions
from rlrf4rec.tables.interactions import INTERACTIONS, ITEMS, USERS


def run(seed: int, interactions: Interactions) -> str:
    """Write the three tables and, apart, the final users' interactions; what was left out is in the metrics."""
    p = interactions
    found = read(paths.RAW, p)
    raw = clean(found, p, seed)
    INTERACTIONS.write(raw.interactions, paths.INTERACTIONS)
    USERS.write(raw.users, paths.USERS)
    ITEMS.write(raw.items, paths.ITEMS)
    INTERACTIONS.write(raw.final, paths.FINAL_INTERACTIONS)
    counts = {"interactions": raw.interactions.height, "users": raw.users.height, "items": raw.items.height}
    tied = {"tied_share": tied_share(raw.interactions)}
    files = found.interactions_file, found.items_file, *found.more_interactions, *found.more_items
    identity = {path.relative_to(paths.RAW).as_posix(): sha256(path) for path in files}
    write_json(
        paths.metrics("interactions"),
        counts | tied | raw.counts | {"read": identity},
    )
    line = f"wrote {paths.INTERACTIONS.parent}, {raw.interactions.height} interactions of {raw.users.height} users"
    told = ", ".join(f"{separator!r} in {number} items" for separator, number in raw.guesses.items())
    line += f", {raw.final['user'].n_unique()} final users apart" if interactions.final_folds else ""
    return f"{line}; genres told apart by {told} (a guess: interactions.genre_separator)" if told else line


def tied_share(interactions: pl.DataFrame) -> float:
    """Share of interactions, ordered by user and time, that have their time in common with another of the same user."""
    after = pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in ("user", "timestamp")).fill_null(False)
    tied = after | after.shift(-1, fill_value=False)
    return float(interactions.select(tied.mean()).item())
