"""Params of the studies."""

from typing import Annotated

from pydantic import Field

from rlrf4rec.params.types import Arithmetic, Block, Count, Rate


class TrainPolicy(Block):
    """Study: supervised fine-tuning on the chosen texts; shuffled preferences take DPO's own hyperparameters."""

    sft_learning_rate: Rate
    sft_epochs: Count


class Probe(Block):
    """Study: how much of the data set the LLM knows by heart: items, years and rating lines that it is asked for."""

    items: Annotated[int, Field(ge=2)]
    years: Annotated[int, Field(ge=1)]
    lines: Annotated[int, Field(ge=2)]
    context: Annotated[int, Field(ge=1)]
    batch: Count
    dtype: Arithmetic


class LearningCurve(Block):
    """Study: held-out reward against the number of pairs; `equal_steps` repeats small parts to as many steps."""

    pairs: Annotated[list[Count], Field(min_length=1)]
    users: Count
    samples: Count
    repeats: Count
    equal_steps: bool
    bootstrap: Annotated[int, Field(ge=100)]


class Bench(Block):
    """Benchmarks: users and pairs of a measurement, how many times the arms run in turn, size of a large data set."""

    users: Annotated[int, Field(ge=8)]
    batch_users: Count
    pairs: Annotated[int, Field(ge=8)]
    turns: Annotated[int, Field(ge=1)]
    interactions: Count
    interacting_users: Count
