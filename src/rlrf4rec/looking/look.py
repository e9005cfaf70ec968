"""A look: what it has to fit, the row that is written before any label of a final user is read, and then the labels."""

from collections.abc import Sequence

import polars as pl

from rlrf4rec import paths
from rlrf4rec.errors import InputError, ParamsError
from rlrf4rec.inputs import Tables
from rlrf4rec.looking import commit, known, looks
from rlrf4rec.params import Arms, Split
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.tables.split import FINAL, LISTS, check_fold, check_history


def same_protocol(split: Split, arms: Arms) -> None:
    """ParamsError unless final users' lists are of the kind that the study's re-rankers were trained on first."""
    if split.protocol != arms.protocols[0]:
        raise ParamsError(
            f"arms.protocols begins with {arms.protocols[0]}, and lists of final users are those of split.protocol, "
            f"{split.protocol}: re-rankers are looked at with lists of the kind that they were trained on"
        )


def written_down(head: str, users: Sequence[str], seen: str) -> looks.Look:
    """The look that this is, as a row of the file; seen: of `identity.seen`."""
    with known.alone():
        before = known.everywhere(paths.LOOKS)
        look = looks.next_look(before, head, users, seen, commit.changed(before[-1].commit if before else None))
        known.write_down(paths.LOOKS, look)
    return look


def labelled(tables: Tables, history: pl.DataFrame, unlabelled: Lists) -> tuple[pl.DataFrame, Lists]:
    """The final users' lists, checked for other users, against the histories and those that were scored."""
    path = paths.lists(FINAL, tables.folder)
    frame = check_fold(LISTS.read(path), tables.users, FINAL, path)
    check_history(frame, history, path)
    lists = tables.lists_of(frame, FINAL, "a final user")
    if lists.identity() != unlabelled.identity():
        raise InputError(
            f"{path}: other lists than those of {paths.candidates(tables.folder)}, which were scored; "
            "run `dvc repro studies/final/dvc.yaml:final_split`"
        )
    return frame, lists
