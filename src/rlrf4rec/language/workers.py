"""Batches of an LLM's work in processes of one thread each, over one copy of the weights.

What a batch gives then depends neither on the number of cores nor on what runs beside it, and two processes of one
thread do more than one process of two: the small products of decoding gain little from threads.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from rlrf4rec import interrupts

Given = TypeVar("Given")
Made = TypeVar("Made")


class _Work(Dataset[Any]):
    """The result of each batch, computed when it is asked for."""

    def __init__(self, step: Callable[[Any], Any], batches: Sequence[Any]) -> None:
        self.step, self.batches = step, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Any:
        return self.step(self.batches[number])


def spread(step: Callable[[Given], Made], batches: Sequence[Given]) -> Iterator[Made]:
    """Yield the result of `step` for every batch, in their order; as many at once as this process has threads.

    Workers are forked, so that they share the model that `step` holds; `step` returns plain Python values and uses no
    library with threads of its own (polars). Where a process can't be forked safely all is done in this one.
    """
    workers = 0
    if sys.platform == "linux" and len(batches) > 1:
        most = min(torch.get_num_threads(), len(os.sched_getaffinity(0)), len(batches))
        workers = most if most > 1 else 0
    loader = DataLoader(
        _Work(step, batches),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=1 if workers else None,
        multiprocessing_context="fork" if workers else None,
    )
    interrupts.wake_on_signals()
    with one_thread():
        yield from loader


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread; the number is given back."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
