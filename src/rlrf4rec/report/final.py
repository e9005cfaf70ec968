"""Section on the final users: what the looks at them gave, and which looks these were."""

import polars as pl

from rlrf4rec.report import arms, results
from rlrf4rec.report.blocks import Note, PageBlock, Section
from rlrf4rec.report.results import Json

SLUG, FOLD = "final", "final"
NONE = (
    "No final look was made: all numbers of this page are of users that development has read (`make final`, or "
    "`make final-arms` of the study of arms)."
)


def final(found: Json | None, per_user: pl.DataFrame, last: str, kind: str, of_arms: Json | None = None) -> Section:
    """`found`: metrics/final.json, `of_arms`: final_arms.json, None where there was no such look.

    The rest is as of `results.headline`.
    """
    blocks: list[PageBlock] = []
    if found is not None:
        blocks += [_told(found, "this run"), *results.headline(found, per_user, last, kind, FOLD).blocks]
    if of_arms is not None:
        of = f"final users, {of_arms['protocol']}"
        blocks += [_told(of_arms, "the study of arms"), *arms.arms(None, {of: of_arms}).blocks]
    return Section(SLUG, "Final users", tuple(blocks) or (Note(NONE),))


def _told(found: Json, of: str) -> Note:
    """Which look it was."""
    look = found["look"]
    return Note(
        f"Look {look} at final users, of commit {found['commit']:.7}, by {of}: they are kept apart from all else on "
        f"this page. Every p here is multiplied by {look} times {look + 1}, which bounds the error over all looks "
        "(metrics/looks.csv), however many there will be; intervals are not adjusted."
    )
