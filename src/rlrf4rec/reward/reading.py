"""What reward models are built from and read, checked as it is read for what only all of it together shows."""

import polars as pl
from torch import Tensor

from rlrf4rec import paths
from rlrf4rec.errors import InputError
from rlrf4rec.inputs import Tables
from rlrf4rec.ranking.lists import ItemFeatures, Lists


def item_features(tables: Tables) -> ItemFeatures:
    """What is known of the items; InputError unless each has its popularity, in the items' order."""
    if not tables.items["item"].equals(tables.popularity["item"]):
        raise InputError(
            f"{paths.POPULARITY}: not one row for each of the {tables.items.height} items of {paths.ITEMS}, in their "
            "order; run `dvc repro split`"
        )
    return tables.item_features()


def texts(tables: Tables, of_items: ItemFeatures, name: str, users: str = "all") -> Tensor:
    """Vectors of the texts of a name about users, see `Tables.texts`; InputError unless as wide as those of items."""
    found, width = tables.texts(name, users), of_items.vectors.shape[-1]
    if found.shape[-1] != width:
        raise InputError(
            f"{paths.vectors(name)}: vectors are {found.shape[-1]} numbers wide, those of {paths.vectors('items')} "
            f"{width}; all have to come from one encoder: run `dvc repro encode`"
        )
    return found


def lists(tables: Tables, frame: pl.DataFrame, fold: str, whose: str) -> Lists:
    """Lists of a fold as tensors; InputError when there is none. `whose` they are, in words."""
    if not frame.height:
        raise InputError(f"{paths.lists(fold, tables.folder)}: no list of {whose}; run `dvc repro split`")
    return tables.lists(frame)
