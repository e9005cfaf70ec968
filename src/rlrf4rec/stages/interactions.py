"""Stage interactions: raw files to interactions, users and items."""

from pathlib import Path

from rlrf4rec import paths
from rlrf4rec.datasets import amazon, atomic, movielens, tabular
from rlrf4rec.datasets.clean import clean
from rlrf4rec.datasets.found import Found
from rlrf4rec.files import sha256, write_json
from rlrf4rec.params import Interactions
from rlrf4rec.seeds import derive
from rlrf4rec.tables.interactions import INTERACTIONS, ITEMS, USERS

READERS = {
    "ml-100k": movielens.read_100k,
    "ml-1m": movielens.read_1m,
    "ml-10m": movielens.read_10m,
    "ml-csv": movielens.read_csv,
    "amazon-2014": amazon.read_2014,
    "amazon-2018": amazon.read_2018,
    "amazon-2023": amazon.read_2023,
}


def run(seed: int, interactions: Interactions) -> str:
    """Read the raw files and write the three tables; what was read, left out and mended is in the metrics."""
    p = interactions
    found = read(paths.RAW, p)
    raw = clean(found, p, derive(seed, "interactions"))
    INTERACTIONS.write(raw.interactions, paths.INTERACTIONS)
    USERS.write(raw.users, paths.USERS)
    ITEMS.write(raw.items, paths.ITEMS)
    counts = {"interactions": raw.interactions.height, "users": raw.users.height, "items": raw.items.height}
    files = found.interactions_file, found.items_file, *found.more_files
    identity = {path.relative_to(paths.RAW).as_posix(): sha256(path) for path in files}
    write_json(paths.metrics("interactions"), {**counts, **raw.counts, "read": identity})
    return f"wrote {paths.INTERACTIONS.parent}, {raw.interactions.height} interactions of {raw.users.height} users"


def read(folder: Path, p: Interactions) -> Found:
    """The data set of a folder in the format of the params."""
    columns = p.columns.model_dump()
    if p.format == "atomic":
        return atomic.read(folder, columns)
    if p.format == "table":
        return tabular.read(folder, columns, p.files.model_dump(), p.separator)
    return READERS[p.format](folder)
