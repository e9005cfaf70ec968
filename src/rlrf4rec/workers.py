"""Work in processes of one thread each.

What a piece of work gives then depends neither on the number of cores nor on what runs beside it, and two processes of
one thread do more than one process of two: small products gain little from threads.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from rlrf4rec import interrupts

Given = TypeVar("Given")
Made = TypeVar("Made")
# A fork costs nothing and shares the weights; where it isn't safe, processes begin anew and get what `step` holds.
METHOD = "fork" if sys.platform == "linux" else "spawn"


class _Work(Dataset[Any]):
    """The result of each piece, or what went wrong with it, computed when it is asked for."""

    def __init__(self, step: Callable[[Any], Any], pieces: Sequence[Any]) -> None:
        self.step, self.pieces = step, pieces

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, number: int) -> tuple[Any, Exception | None]:
        try:
            return self.step(self.pieces[number]), None
        except Exception as error:
            return None, error


def spread(step: Callable[[Given], Made], pieces: Sequence[Given]) -> Iterator[Made]:
    """Yield the result of `step` for every piece, in their order; as many at once as this process has threads.

    `step` returns plain Python values or arrays and uses no library with threads of its own (polars). Raises what
    `step` raised, or BrokenExecutor when a worker was killed.
    """
    most = min(torch.get_num_threads(), os.cpu_count() or 1, len(pieces))
    workers = most if most > 1 else 0
    loader = DataLoader(
        _Work(step, pieces),
        batch_size=None,
        collate_fn=_as_it_is,
        num_workers=workers,
        prefetch_factor=1 if workers else None,
        multiprocessing_context=METHOD if workers else None,
        worker_init_fn=_start,
    )
    interrupts.wake_on_signals()
    with one_thread():
        try:
            for made, error in loader:
                if error is not None:
                    raise error
                yield made
        except RuntimeError as error:
            if "DataLoader worker" in str(error):
                raise BrokenExecutor("a worker process was killed") from None
            raise


def _as_it_is(made: Any) -> Any:
    return made


def _start(number: int) -> None:
    """A worker leaves Ctrl-C to its parent, is as quiet, and has no GPU.

    CUDA does not outlive a fork: libraries that only look for a GPU, as Lightning does for its generator, would fail.
    """
    import signal

    from rlrf4rec import logs

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logs.quiet()
    torch.cuda.is_available = lambda: False  # type: ignore[assignment, unused-ignore]


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread; the number is given back."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
