"""On which line of its file a row begins, where rows are no lines: looked up only when there is something to say."""

from pathlib import Path

JSON = ".json", ".jsonl"
PARQUET = ".parquet"


def place(path: Path, row: int) -> str:
    """The place of the `row`-th row of a file, the header of a separated one being the first.

    A quoted part may hold line breaks, JSON lines may be parted by blank ones, and Parquet has no lines.
    """
    if path.suffix == PARQUET:
        return f"row {row}"
    begun, inside = 0, False
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if path.suffix in JSON:
                begun += bool(line.strip())
            else:
                begun += not inside
                inside ^= line.count(b'"') % 2 == 1
            if begun == row:
                return f"line {number}"
    return f"row {row}"
