"""What a method is made of."""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from rlrf4rec.alignment.module import DpoModule, DpoSettings
from rlrf4rec.params import TrainPolicy


def _same_pairs(pairs: pl.DataFrame, seed: int) -> pl.DataFrame:
    return pairs


def _same_settings(settings: DpoSettings, p: TrainPolicy) -> DpoSettings:
    return settings


@dataclass(frozen=True)
class Method:
    """What a method changes of the default run's DPO; what it does not name stays.

    loss: the module that trains; pairs: the table of pairs that it trains on, from the round's and a seed; settings: of
    the training, from those of DPO.
    """

    loss: type[DpoModule] = DpoModule
    pairs: Callable[[pl.DataFrame, int], pl.DataFrame] = _same_pairs
    settings: Callable[[DpoSettings, TrainPolicy], DpoSettings] = _same_settings
