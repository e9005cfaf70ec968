"""A GGUF file that is good, and its reader, which may take so much memory and no more."""

import resource
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import gguf
import torch
from made_up_gguf import written
from transformers import modeling_gguf_pytorch_utils

from rlrf4rec.conversion.convert import convert

from .fuzz_readers import Reader

MEMORY = 4 << 30  # bytes of addresses that a reader may take beyond what this process has: a wrong size asks for more


@contextmanager
def limited():
    """So that a wrong size ends in an error and not the machine."""
    former = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:  # noqa: PTH123
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, former)


def made(folder):
    """The header of a good file, what follows it, and a reader of the two."""
    place = folder / "model" / "x.gguf"
    place.parent.mkdir()
    written(place, tokenizer=True)
    begin, content = gguf.GGUFReader(place).data_offset, place.read_bytes()

    def read(header, data=content[begin:]):
        """Convert such a file."""
        place.write_bytes(header + data)
        convert(place.parent, folder / "out", torch.float32, True, place.name)

    return content[:begin], content[begin:], read


def gguf_reader(folder: Path) -> Reader:
    """Of a header, before what followed the good one: of the weights nearly any bytes are weights."""
    header, _, read = made(folder)

    def run(content: bytes) -> None:
        """Convert it, in so much memory, without the library's bar: what is told on the terminal is a fault."""
        with limited(), patch.object(modeling_gguf_pytorch_utils, "tqdm", lambda tensors, **_: tensors):
            read(content)

    return Reader(header, run)
