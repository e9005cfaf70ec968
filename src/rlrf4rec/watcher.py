"""Last words of a command that can't say them itself.

When memory runs out the system kills a process, or a compiled library, which can't raise, ends it. A small process that
was begun before any library was there then says what the command would have said.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

KILLED = "it was ended by the system or by a library, most often because memory ran out"
WELL = b"."
LEFT = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}  # to the command, which says itself that it was stopped
STARTED = "torch", "polars"  # a process with threads is no longer safe to fork; these have some


@contextmanager
def last_words(*lines: str) -> Iterator[bool]:
    """Have the lines printed to stderr if this process ends before the block does.

    None are where libraries are there already, as in a program that calls the command line's
    function; gives False then.
    """
    if not lines or not hasattr(os, "fork") or any(name in sys.modules for name in STARTED):
        yield False
        return
    reading, writing = os.pipe()
    _begin(reading, writing, "".join(f"{line}\n" for line in lines))
    os.close(reading)
    os.register_at_fork(after_in_child=lambda: _close(writing))  # else a worker would keep the end from being seen
    well = False
    try:
        yield True
        well = True
    except SystemExit:
        well = True
        raise
    finally:
        if well:
            os.write(writing, WELL)
            os.close(writing)
        else:  # not even the failure could be told; the other end of the pipe sees the end of the process
            mute()


def mute() -> None:
    """Nothing of this process reaches the terminal's stderr any more: allocators complain when it is left."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _begin(reading: int, writing: int, text: str) -> None:
    """Begin the process that waits. It is no child of this one, which would have to wait for it in turn."""
    sys.stderr.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, LEFT)
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    if os.fork() == 0:
        for number in (writing, 0, 1):  # who reads the command's output waits for its end
            _close(number)
        if not os.read(reading, 1):
            os.write(2, text.encode())
    os._exit(0)


def _close(number: int) -> None:
    try:
        os.close(number)
    except OSError:  # was closed before
        return
