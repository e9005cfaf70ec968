"""What a training of an adapter tells of its steps."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """What one optimiser step saw, averaged over its pairs."""

    step: int
    loss: float
    margin: float
    accuracy: float
    chosen: float
    rejected: float
