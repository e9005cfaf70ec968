"""Section on the final users: what the look at them gave, and how many looks they have had."""

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
    looks = f"Look {found['look']} at these users, of commit {found['commit']:.7}"
    told = (
        f"{looks}: they are kept apart from all else on this page, and every p here is multiplied by the number of "
        "looks that they have had (metrics/looks.csv); intervals are not."
    )
    return Section(SLUG, "Final users", (Note(told), *results.headline(found, per_user, last, kind, FOLD).blocks))
