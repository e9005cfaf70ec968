"""A model over batches: on a CPU in workers of one thread each, on a GPU by Lightning's `Trainer.predict`."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import nn

from rlrf4rec import workers

Given = TypeVar("Given")
Made = TypeVar("Made")


def predict(
    model: nn.Module, step: Callable[[Given], Made], batches: Sequence[Given], take: Callable[[Made], object]
) -> None:
    """Call `take` with the result of `step` for every batch, in their order, as they are finished.

    model: what `step` computes with, where it runs. `step` as `workers.spread` takes it.
    """
    device = next(model.parameters()).device
    if device.type == "cpu":
        for made in workers.spread(step, batches):
            take(made)
    else:
        _by_lightning(model, step, batches, take)
        model.to(device)  # Lightning leaves it on the CPU


def _by_lightning(
    model: nn.Module, step: Callable[[Given], Made], batches: Sequence[Given], take: Callable[[Made], object]
) -> None:
    import lightning as L  # takes seconds to import, which a CPU does not need
    from torch.utils.data import DataLoader

    from rlrf4rec.trainers import trainer

    class Steps(L.LightningModule):
        """The model with what is done with it."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def predict_step(self, batch: Given) -> None:
            """One batch."""
            take(step(batch))

    loader = DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch)  # type: ignore[arg-type, var-annotated]
    with torch.inference_mode():
        trainer().predict(Steps(), loader, return_predictions=False)
