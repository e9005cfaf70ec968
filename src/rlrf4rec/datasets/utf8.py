"""Whether a file is UTF-8, told by its first bytes, and where it is not."""

import codecs
from pathlib import Path

from rlrf4rec.errors import InputError

MARKS = {  # the longer first: the one of UTF-32 begins as that of UTF-16
    "UTF-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
    "UTF-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
}
SHOWN = 20  # characters before a bad byte


def check(path: Path, encoding: str = "UTF-8", markable: bool = True) -> None:
    """InputError for UTF-16 and UTF-32, by their byte-order mark or the NUL beside a first ASCII character.

    Where a file is not `markable`, the byte-order mark of UTF-8 is refused too: it would be taken for content.
    """
    with path.open("rb") as file:
        head = file.read(4)
    found = next((name for name, marks in MARKS.items() if head.startswith(marks)), None)
    if found is None and len(head) > 1 and (head[0] == 0) != (head[1] == 0):
        found = "UTF-16"
    if found:
        raise InputError(f"{path}: it is written in {found}; save it as {encoding}")
    if not markable and head.startswith(codecs.BOM_UTF8):
        raise InputError(f"{path}: it begins with the byte-order mark of UTF-8; save it as {encoding} without one")


def bad_byte(path: Path) -> str | None:
    """Line and column of the first byte that is no UTF-8, with what stands before it; None where all of it is."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                before = line[: error.start].decode()
                after = f" (after {before[-SHOWN:]!r})" if before else ""
                byte = f"byte 0x{line[error.start]:02x} is no UTF-8"
                return f"line {number}, column {len(before) + 1}{after}: {byte}; save it as UTF-8"
    return None
