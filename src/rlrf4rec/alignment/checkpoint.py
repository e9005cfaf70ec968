"""Checkpoints of a training of an adapter in the store: safetensors, never pickles.

A checkpoint holds the adapter, AdamW's state, the random generators and the steps so far. What else decides the
training (order of the pairs, learning rates) follows from the number of steps, so a resumed training is the same
to the bit.
"""

import json
import time
from dataclasses import dataclass

import torch
from peft import PeftModel
from torch import Tensor
from torch.optim import Optimizer

from rlrf4rec import store

KIND = "train_dpo"
GPU = "generator of the GPU"


@dataclass(frozen=True)
class Step:
    """What one optimiser step saw, averaged over its pairs."""

    step: int
    loss: float
    margin: float
    accuracy: float
    chosen: float
    rejected: float


class Checkpoint:
    """The last checkpoint of the training `key`, and the next ones."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.found = store.load_tensors(KIND, key)
        self._last = time.monotonic()

    def steps(self) -> list[Step]:
        """The steps that have been done."""
        return [Step(**step) for step in json.loads(self.found[1]["steps"])] if self.found else []

    def restore(self, policy: PeftModel, optimizer: Optimizer) -> None:
        """Bring adapter and optimiser to where they were; nothing without a checkpoint."""
        if not self.found:
            return
        tensors = self.found[0]
        with torch.no_grad():
            for name, parameter in _trainable(policy):
                parameter.copy_(tensors[f"adapter/{name}"])
                parts = {part: tensors[f"{part}/{name}"] for part in ("step", "exp_avg", "exp_avg_sq")}
                # AdamW keeps its count of steps on the CPU, its averages beside the parameter.
                optimizer.state[parameter] = {
                    part: value if part == "step" else value.to(parameter.device) for part, value in parts.items()
                }

    def restore_generator(self) -> None:
        """Bring the random generators, that of the GPU among them, to where they were, once."""
        if self.found:
            torch.set_rng_state(self.found[0]["generator"])
            if GPU in self.found[0]:
                torch.cuda.set_rng_state(self.found[0][GPU])
            self.found = None

    def keep(self, policy: PeftModel, optimizer: Optimizer, steps: list[Step]) -> None:
        """Write a checkpoint if the last one is old."""
        if time.monotonic() - self._last < store.EVERY:
            return
        tensors: dict[str, Tensor] = {"generator": torch.get_rng_state()}
        for name, parameter in _trainable(policy):
            if parameter.is_cuda:  # dropout is drawn where the policy is
                tensors[GPU] = torch.cuda.get_rng_state()
            tensors[f"adapter/{name}"] = parameter
            tensors |= {f"{part}/{name}": value for part, value in optimizer.state[parameter].items()}
        store.save_tensors(KIND, self.key, tensors, {"steps": json.dumps([vars(step) for step in steps])}, len(steps))
        self._last = time.monotonic()


def _trainable(policy: PeftModel) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, parameter) for name, parameter in policy.named_parameters() if parameter.requires_grad]
