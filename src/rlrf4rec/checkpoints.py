"""Checkpoints of a training in the store: safetensors, never pickles.

A checkpoint holds the weights that are trained, AdamW's state, random generators, and notes of what was seen so far.
What else decides the training (order of its steps, learning rates) follows from how far it was, so a resumed training
is the same to the bit.
"""

import json
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from rlrf4rec import store

STEPS, EPOCHS = "train_dpo", "epochs"  # kinds of work in the store: of adapters; of re-rankers and reward models
ADAMW = "step", "exp_avg", "exp_avg_sq"


class Checkpoint:
    """The last checkpoint of the training `key`, and the next ones, at most one in `store.EVERY` seconds."""

    def __init__(self, kind: str, key: str) -> None:
        self.kind, self.key = kind, key
        self._tensors, self._about = store.load_tensors(kind, key) or ({}, {})
        self._last = time.monotonic()

    def notes(self) -> Any:
        """What was noted with it; None without a checkpoint."""
        return json.loads(self._about["notes"]) if self._about else None

    def restore(self, model: nn.Module, optimizer: Optimizer) -> None:
        """Bring weights and optimiser to where they were, once; nothing without a checkpoint."""
        if not self._tensors:
            return
        with torch.no_grad():
            for name, parameter in _trained(model):
                parameter.copy_(self._tensors.pop(f"weights/{name}"))
                parts = {part: f"{part}/{name}" for part in ADAMW}
                found = {part: self._tensors.pop(key) for part, key in parts.items() if key in self._tensors}
                if found:  # AdamW keeps its count of steps on the CPU, its averages beside the parameter
                    optimizer.state[parameter] = {
                        part: value if part == "step" else value.to(parameter.device) for part, value in found.items()
                    }

    def restore_generator(self, name: str, generator: Generator) -> None:
        """Bring a random generator to where it was; nothing without a checkpoint."""
        if (found := self._tensors.get(f"generator/{name}")) is not None:
            generator.set_state(found)

    def keep(
        self, model: nn.Module, optimizer: Optimizer, generators: Mapping[str, Generator], notes: Any, done: int
    ) -> None:
        """Write a checkpoint if the last one is old; `done`: steps or epochs, more than in the one before."""
        if time.monotonic() - self._last < store.EVERY:
            return
        tensors: dict[str, Tensor] = {f"generator/{name}": own.get_state() for name, own in generators.items()}
        for name, parameter in _trained(model):
            tensors[f"weights/{name}"] = parameter
            tensors |= {f"{part}/{name}": value for part, value in optimizer.state[parameter].items()}
        store.save_tensors(self.kind, self.key, tensors, {"notes": json.dumps(notes)}, done)
        self._last = time.monotonic()


def _trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
