"""The line of the README that says whether the committed run is that of the code and params beside it."""

from collections.abc import Sequence
from pathlib import Path

from rlrf4rec.committed.locks import DEFAULT, Behind
from rlrf4rec.errors import InputError
from rlrf4rec.files import atomic

README = Path("README.md")
BEGIN, END = "<!-- run: written by `rlrf4rec check --write` -->", "<!-- /run -->"
FITS = "**Committed run:** of this code and these params."


def text(behind: Sequence[Behind]) -> str:
    """The line: `behind` is what the lock of the default run does not know.

    It names stages and no commit, so that it changes with the answer alone.
    """
    found = stages(behind)
    if not found:
        return FITS
    return f"**Committed run:** older than code or params of {', '.join(f'`{name}`' for name in found)}."


def stages(behind: Sequence[Behind]) -> list[str]:
    """Stages of the default run that are behind, without their entries, in the order of the lock."""
    return list(dict.fromkeys(one.stage.partition("@")[0] for one in behind if one.pipeline == DEFAULT))


def written(readme: str) -> str:
    """The line as it stands in a README; InputError where its marks are missing."""
    _, begin, rest = readme.partition(BEGIN)
    line, end, _ = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{README}: the marks {BEGIN} and {END} are missing; put them on lines of their own")
    return line.strip()


def write(path: Path, line: str) -> None:
    """Put the line between its marks."""
    readme = path.read_text(encoding="utf-8")
    written(readme)
    head, _, rest = readme.partition(BEGIN)
    with atomic(path) as temporary:
        temporary.write_text(f"{head}{BEGIN}\n{line}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
