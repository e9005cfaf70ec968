"""Progress of long work: a bar on a terminal, plain lines with the time left elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TextIO, TypeVar

from tqdm import tqdm

T = TypeVar("T")
EVERY = 15.0  # seconds between plain lines


class Progress:
    """Counts finished units of work on standard error."""

    def __init__(
        self, total: int, what: str, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.total, self.what, self.done = total, what, 0
        self.stream = stream or sys.stderr
        self.clock = clock
        self.begin = self.last = clock()
        self.bar = tqdm(total=total, desc=what, file=self.stream, leave=False) if self.stream.isatty() else None

    def advance(self, units: int = 1, note: str = "") -> None:
        """Count `units` as finished; `note` is shown behind the count (a loss, say)."""
        self.done += units
        if self.bar is not None:
            self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(units)
            return
        now = self.clock()
        if now - self.last >= EVERY:
            self.last = now
            spent = now - self.begin
            left = spent / self.done * (self.total - self.done)
            text = f"{self.what}: {self.done} of {self.total}, {spent:.0f} s, about {left:.0f} s left"
            print(f"{text}; {note}" if note else text, file=self.stream, flush=True)

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self.bar is not None:
            self.bar.close()


def track(items: Iterable[T], what: str) -> Iterator[T]:
    """Yield the items of a sized iterable and report progress."""
    assert isinstance(items, Sized)
    progress = Progress(len(items), what)
    try:
        for item in items:
            yield item
            progress.advance()
    finally:
        progress.close()
