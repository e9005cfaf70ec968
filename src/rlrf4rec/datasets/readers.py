"""The formats of data sets, by name: one reader each. A new one is a file, a line here and its name in the params."""

from collections.abc import Callable
from pathlib import Path

from rlrf4rec.datasets import amazon, atomic, movielens, tabular
from rlrf4rec.datasets.found import Found
from rlrf4rec.errors import entry
from rlrf4rec.params import Interactions

READERS: dict[str, Callable[[Path, Interactions], Found]] = {
    "atomic": atomic.read,
    "ml-100k": movielens.read_100k,
    "ml-1m": movielens.read_1m,
    "ml-10m": movielens.read_10m,
    "ml-csv": movielens.read_csv,
    "amazon-2014": amazon.read_2014,
    "amazon-2018": amazon.read_2018,
    "amazon-2023": amazon.read_2023,
    "table": tabular.read,
}


def read(folder: Path, p: Interactions) -> Found:
    """The data set of a folder in the format of the params; InputError as of the reader."""
    return entry(READERS, p.format, "interactions.format")(folder, p)
