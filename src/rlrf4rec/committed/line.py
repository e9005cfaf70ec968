"""The line of the README that says whether the committed run is that of the code and params beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlrf4rec import paths
from rlrf4rec.errors import InputError
from rlrf4rec.files import atomic
from rlrf4rec.reproducing import records
from rlrf4rec.revisions.locks import DEFAULT, Behind

README = Path("README.md")
BEGIN, END = "<!-- run: written by `rlrf4rec check --write` -->", "<!-- /run -->"
TITLE = "Committed run:"
FITS = f"**{TITLE}** of this code and these params."


def text(behind: Sequence[Behind], reproduced: Mapping[str, Mapping[str, Any]], look: int = 0) -> str:
    """The line. `behind`: what the locks do not know; `reproduced`: records of metrics/reproduced.json of this run.

    look: the number of the last look among all that are known, at whatever final users; 0 where there was none.

    It names stages and no commit, so that it changes with the answer alone.
    """
    found = stages(behind)
    said = f"**{TITLE}** older than code or params of {', '.join(f'`{name}`' for name in found)}."
    of_all = f"Last look at its final users: number {look} of all looks at any (`{paths.LOOKS.as_posix()}`)."
    looked = [of_all] if look else []
    return " ".join([said if found else FITS, *(again(kind, record) for kind, record in reproduced.items()), *looked])


def again(kind: str, record: Mapping[str, Any]) -> str:
    """A `rlrf4rec reproduce` in a sentence, with the commit that was run: the code may have gone on since.

    Numbers within tolerance can have lost their claim, so claims of one run alone are told in words.
    """
    counted = ", ".join(f"{count} {each}" for each, count in record["classes"].items())
    arithmetic = f" ({' and '.join(records.widths(record, 'here'))})" if kind == records.OTHER else ""
    where = f"on {record['date']} on {record['machine']['cpu']} in {kind}{arithmetic}"
    told = "; ".join([f"{counted} (`{records.REPRODUCED}`)", *record["other_claims"]])
    return f"Commit {record['commit']:.7} run again {where}: {told}."


def plain(line: str) -> str:
    """The line without marks of Markdown.

    >>> plain("**Committed run:** older than code or params of `pair`.")
    'Committed run: older than code or params of pair.'
    """
    return line.replace("**", "").replace("`", "")


def stages(behind: Sequence[Behind]) -> list[str]:
    """Stages of the default run that are behind, without their entries, in the order of dvc.yaml."""
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
