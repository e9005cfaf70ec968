"""Random bytes for every reader, for a fixed time: FUZZ_SECONDS (120) of CPU, so that a busy machine tries as many;
FUZZ_SEED to do the same once more.

If a reader ends the whole process, its last input lies in the test's temporary folder.
"""

import os
import random
import time
from collections import Counter

import pytest

from rlrf4rec.datasets.readers import READERS
from rlrf4rec.errors import RLRFError

from .fuzz_gguf import gguf_reader
from .fuzz_readers import BYTES, KINDS, Edit, edited, readers
from .fuzz_runs import READ, run_readers
from .published import PUBLISHED

pytestmark = pytest.mark.faults
NAMES = ["inter", "item", "params", "interactions table", "texts table", "mapped table", "tensors", "json", "wheel"]
NAMES += [f"{kind} {name}" for kind, files in PUBLISHED.items() for name in files]
NAMES += [*READ, "gguf"]


def everything(folder):
    """Every reader, by its name."""
    return {**readers(folder), **run_readers(folder), "gguf": gguf_reader(folder)}


def edits(rng):
    """One to five changes, small ones more often."""
    return [
        Edit(
            rng.choice(KINDS),
            rng.random(),
            rng.choice((1, 2, 3, 8, 40)),
            bytes(
                rng.choice(BYTES) if rng.random() < 0.7 else rng.randrange(256) for _ in range(rng.choice((1, 1, 2, 9)))
            ),
        )
        for _ in range(rng.randint(1, 5))
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_of_broken_bytes_raises_nothing_but_our_own_error(tmp_path, name, capfd):
    """Nor does a library tell its panics on the terminal."""
    seconds = float(os.environ.get("FUZZ_SECONDS", "120")) / len(NAMES)
    seed = int(os.environ.get("FUZZ_SEED") or random.SystemRandom().randrange(2**32))
    reader = everything(tmp_path)[name]
    reader.read(reader.good)  # so that what is imported for it takes none of its time
    rng, counts, end = random.Random(f"{seed} {name}"), Counter(), time.process_time() + seconds
    while time.process_time() < end:
        content = edited(reader.good, edits(rng))
        try:
            reader.read(content)
            counts["read"] += 1
        except RLRFError:
            counts["refused"] += 1
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # Polars' panics are no Exception
            path = tmp_path / "failing"
            path.write_bytes(content)
            pytest.fail(f"{name}, FUZZ_SEED={seed}, after {counts.total()} inputs: {error!r}; the input is in {path}")
    told = capfd.readouterr().err
    assert told == ""
    print(f"{name}: {counts.total()} inputs, {counts['refused']} refused, {counts['read']} read (FUZZ_SEED={seed})")
    assert counts["refused"] > counts["read"]


def test_every_reader_is_tried(tmp_path):
    assert list(everything(tmp_path)) == NAMES
    assert {*PUBLISHED, "atomic", "table"} == set(READERS)  # those two are `inter`, `item` and `mapped table`
