"""The formats of data sets, by name: one reader each."""

from pathlib import Path

from rlrf4rec.datasets import amazon, atomic, movielens, tabular
from rlrf4rec.datasets.found import Found
from rlrf4rec.params import Interactions

READERS = {
    "ml-100k": movielens.read_100k,
    "ml-1m": movielens.read_1m,
    "ml-10m": movielens.read_10m,
    "ml-csv": movielens.read_csv,
    "amazon-2014": amazon.read_2014,
    "amazon-2018": amazon.read_2018,
    "amazon-2023": amazon.read_2023,
}


def read(folder: Path, p: Interactions) -> Found:
    """The data set of a folder in the format of the params."""
    columns = p.columns.model_dump()
    if p.format == "atomic":
        return atomic.read(folder, columns)
    if p.format == "table":
        return tabular.read(folder, columns, p.files.model_dump(), p.separator)
    return READERS[p.format](folder)
