"""What a source gets."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from rlrf4rec.inputs import Tables
from rlrf4rec.params import Reward, Split


@dataclass(frozen=True)
class SourceInputs:
    """Inputs of the sources, each takes what it needs.

    history: what the LLM may see; prompts: what it is shown; interactions: all; reward_models: the file of the first
    round's; per_second: what part of a second times are counted in.
    """

    tables: Tables
    history: pl.DataFrame
    prompts: pl.DataFrame
    interactions: pl.DataFrame
    reward_models: Path
    split: Split
    reward: Reward
    seed: int
    per_second: int
