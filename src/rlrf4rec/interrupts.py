"""Ctrl-C, SIGTERM and a terminal that is closed: they end the work, and print no traceback however often they come."""

import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = [signal.SIGINT, signal.SIGTERM, *(getattr(signal, name) for name in ("SIGHUP",) if hasattr(signal, name))]


@dataclass
class Stop:
    """The first signal that the command got, or None."""

    signal: int | None = None


@contextmanager
def caught() -> Iterator[Stop]:
    """Turn these signals into a KeyboardInterrupt, each time; a stopped command keeps it so to its end.

    Worker processes are ended first: a pool would wait for their work before it let the interrupt through.
    """
    stop = Stop()

    def handle(number: int, _: FrameType | None) -> None:
        """End the workers, then this process's work."""
        stop.signal = stop.signal or number
        threading.excepthook = lambda _: None  # the thread of a pool complains of the workers that are killed here
        if hasattr(signal, "SIGCHLD"):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch would report the workers that are ended here
        for worker in multiprocessing.active_children():
            worker.kill()
        raise KeyboardInterrupt

    former = {each: signal.signal(each, handle) for each in SIGNALS if not _left_out(each)}
    try:
        yield stop
    finally:
        if stop.signal is None:
            for each, handler in former.items():
                signal.signal(each, handler)


def _left_out(number: int) -> bool:
    """Whether a signal is to be ignored, as a closed terminal is below `nohup`."""
    return number not in SIGNALS[:2] and signal.getsignal(number) is signal.SIG_IGN


def wake_on_signals() -> None:
    """Let Ctrl-C end a wait for workers at once: to be called before it.

    Polars puts a handler of its own before Python's, with which the system takes up a wait again that a signal has
    interrupted; Python would see the signal only when the wait is over.
    """
    for each in SIGNALS:
        signal.siginterrupt(each, True)


def ignore() -> None:
    """Let nothing disturb the end of a stopped command: no second Ctrl-C, which would print a traceback."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
