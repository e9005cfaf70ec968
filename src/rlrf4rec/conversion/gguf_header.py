"""Whether the header of a GGUF file can be read to its end: its counts and lengths have to fit into the file.

The library believes them: one wrong bit in the length of an array, and it goes on for days and takes all memory.
Form: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import struct
from pathlib import Path
from typing import BinaryIO

MAGIC = b"GGUF"
VERSIONS = (2, 3)
SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes of a value by its type
STRING, ARRAY = 8, 9
DIMENSIONS = 4  # of a tensor, at most
TOO_LONG = "it says that more follows than the file has: it is cut short or damaged"


def check(path: Path) -> None:
    """ValueError where the header does not end inside of the file, or is not of a version that can be read."""
    with path.open("rb") as file:
        header = _Header(file, path.stat().st_size)
        if file.read(4) != MAGIC or header.number(4) not in VERSIONS:
            raise ValueError(f"it does not begin as a GGUF file of version {' or '.join(map(str, VERSIONS))} does")
        tensors, values = header.number(8), header.number(8)
        for _ in range(values):
            header.text()
            header.value(header.number(4))
        for _ in range(tensors):
            header.text()
            dimensions = header.number(4)
            if dimensions > DIMENSIONS:
                raise ValueError(f"a tensor of {dimensions} dimensions: the file is damaged")
            header.skip(8 * dimensions + 4 + 8)  # its shape, its type, where it begins


class _Header:
    """Goes through a file and never over its end."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size = file, size

    def number(self, size: int) -> int:
        """The next unsigned number of so many bytes."""
        content = self.file.read(size)
        if len(content) < size:
            raise ValueError(TOO_LONG)
        return int(struct.unpack("<I" if size == 4 else "<Q", content)[0])

    def skip(self, size: int) -> None:
        """Go on by so many bytes."""
        if size > self.size - self.file.tell():
            raise ValueError(TOO_LONG)
        self.file.seek(size, 1)

    def text(self) -> None:
        """Go over a text."""
        self.skip(self.number(8))

    def value(self, kind: int) -> None:
        """Go over a value of this type. Arrays of arrays are in no model."""
        if kind == STRING:
            self.text()
        elif kind == ARRAY:
            inner, count = self.number(4), self.number(8)
            if inner == STRING:
                for _ in range(count):
                    self.text()
            else:
                self.skip(count * _size(inner))
        else:
            self.skip(_size(kind))


def _size(kind: int) -> int:
    if kind not in SCALARS:
        raise ValueError(f"a value of type {kind}, which there is not: the file is damaged")
    return SCALARS[kind]
