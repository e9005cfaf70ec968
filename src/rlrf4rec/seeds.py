"""Every random choice descends from the one top-level `seed`, by name."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager


def derive(seed: int, *names: str | int) -> int:
    """A seed for one use, in 0 .. 2**31 - 1; other names give independent seeds."""
    text = ":".join(str(name) for name in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Initialisation and dropout from `seed`, the global generator as it was afterwards."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
