"""Section on the final users: what the look at them gave, and which look it was."""

import polars as pl

from rlrf4rec.report import results
from rlrf4rec.report.blocks import Note, Section
from rlrf4rec.report.results import Json

SLUG, FOLD = "final", "final"


def final(found: Json | None, per_user: pl.DataFrame, last: str, kind: str) -> Section:
    """`found`: metrics/final.json, None where there was no look; the rest as of `results.headline`."""
    if found is None:
        note = "No final look was made: all numbers of this page are of users that development has read (`make final`)."
        return Section(SLUG, "Final users", (Note(note),))
    look = found["look"]
    told = (
        f"Look {look} at final users, of commit {found['commit']:.7}: they are kept apart from all else on this page. "
        f"Every p here is multiplied by {look} times {look + 1}, which bounds the error over all looks "
        "(metrics/looks.csv), however many there will be; intervals are not adjusted."
    )
    return Section(SLUG, "Final users", (Note(told), *results.headline(found, per_user, last, kind, FOLD).blocks))
