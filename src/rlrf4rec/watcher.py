"""Last words of a command that can't say them itself.

When memory runs out the system kills a process, or a compiled library, which can't raise, ends it. A small process that
was begun before any library was there then says what the command would have said.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

KILLED = "it was ended by the system or by a library, most often because memory ran out"
WELL = b"."
LEFT = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}  # to the command, which says itself that it was stopped
STARTED = "torch", "polars"  # a process with threads is no longer safe to fork; these have some


@contextmanager
def last_words(*lines: str) -> Iterator[bool]:
    """Have the lines printed to stderr if this process ends before the block does.

    None are where libraries are there already, as in a program that calls the command line's function, and where no
    other process can be begun; gives False then. A command without them works all the same.
    """
    able = lines and sys.stderr and hasattr(os, "fork") and not any(name in sys.modules for name in STARTED)
    writing = _begin("".join(f"{line}\n" for line in lines)) if able else None
    if writing is None:
        yield False
        return
    inherited = [writing]  # by workers, which would keep the end from being seen
    os.register_at_fork(after_in_child=lambda: _close(*inherited))
    well = True
    try:
        yield True
    except MemoryError:  # not even the failure could be told; the other end of the pipe sees the end of the process
        well = False
        mute()
        raise
    finally:
        if well:
            with suppress(OSError):  # somebody has ended the process that waits: nothing is lost by it
                os.write(writing, WELL)
            os.close(writing)
            inherited.clear()


def mute() -> None:
    """Nothing of this process reaches the terminal's stderr any more: allocators complain when it is left."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _begin(text: str) -> int | None:
    """Begin the process that waits, and give the end of the pipe that it waits for; None where it can't be begun.

    It is no child of this process, which would have to wait for it in turn.
    """
    sys.stderr.flush()
    try:
        reading, writing = os.pipe()
    except OSError:
        return None
    before = signal.pthread_sigmask(signal.SIG_BLOCK, LEFT)
    try:
        child = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _close(reading, writing)
        return None
    if not child:
        _wait(reading, writing, text)
    os.waitpid(child, 0)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.close(reading)
    return writing


def _wait(reading: int, writing: int, text: str) -> NoReturn:
    """In a process of its own: say the text if the pipe ends without a word. Never goes back to the command's work."""
    try:
        if os.fork() == 0:
            _close(*({writing, 0, 1} - {reading}))  # who reads the command's output waits for its end
            if not os.read(reading, 1):
                os.write(2, text.encode())
    finally:
        os._exit(0)


def _close(*numbers: int) -> None:
    for number in numbers:
        with suppress(OSError):  # was closed before
            os.close(number)
