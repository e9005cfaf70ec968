"""Vectors of texts that reward models are built from and read, checked for what only all of them together show."""

from torch import Tensor

from rlrf4rec import paths
from rlrf4rec.errors import InputError
from rlrf4rec.inputs import Tables
from rlrf4rec.ranking.lists import ItemFeatures


def texts(tables: Tables, of_items: ItemFeatures, name: str, users: str = "all") -> Tensor:
    """Vectors of the texts of a name about users, see `Tables.texts`; InputError unless as wide as those of items."""
    found, width = tables.texts(name, users), of_items.vectors.shape[-1]
    if found.shape[-1] != width:
        raise InputError(
            f"{paths.vectors(name)}: vectors are {found.shape[-1]} numbers wide, those of {paths.vectors('items')} "
            f"{width}; all have to come from one encoder: run `dvc repro encode`"
        )
    return found
