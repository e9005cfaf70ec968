"""What a method is made of."""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from rlrf4rec.alignment.module import DpoModule, DpoSettings
from rlrf4rec.params import TrainPolicy


@dataclass(frozen=True)
class Given:
    """What the pairs of a method are made from.

    pairs: the round's; texts: all that the LLM wrote for the round, a table of `tables.texts.SampledText`.
    """

    pairs: pl.DataFrame
    texts: pl.DataFrame
    seed: int


def _same_pairs(given: Given) -> pl.DataFrame:
    return given.pairs


def _same_settings(settings: DpoSettings, p: TrainPolicy) -> DpoSettings:
    return settings


@dataclass(frozen=True)
class Method:
    """What a method changes of the default run's DPO; what it does not name stays.

    loss: the module that trains; pairs: the table of pairs that it trains on, in which a user of the round may be
    missing; settings: of the training, from those of DPO.
    """

    loss: type[DpoModule] = DpoModule
    pairs: Callable[[Given], pl.DataFrame] = _same_pairs
    settings: Callable[[DpoSettings, TrainPolicy], DpoSettings] = _same_settings
