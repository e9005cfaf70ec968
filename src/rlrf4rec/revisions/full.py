"""The full per-user table of a revision (all metrics), out of DVC's cache."""

import io
from dataclasses import replace

import polars as pl

from rlrf4rec import paths
from rlrf4rec.errors import InputError
from rlrf4rec.revisions.differences import FROZEN
from rlrf4rec.revisions.git import Revision
from rlrf4rec.revisions.state import Cell, State

TABLE = paths.PER_USER.as_posix()
KEYS = ["backbone", "knowledge", "seed", "user"]


def with_all_metrics(state: State) -> State:
    """The state with all metrics of its re-rankers; the reward rows stay those of the headline table."""
    try:
        frame = pl.read_parquet(io.BytesIO(_read(state.revision)))
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{state.revision.label}: {TABLE} is not a readable Parquet file ({error})") from None
    rewards = {key: cell for key, cell in state.cells.items() if key[1] == FROZEN}
    return replace(state, cells=_cells(state.revision, frame) | rewards)


def _read(revision: Revision) -> bytes:
    if revision.folder:
        raise InputError(f"{revision.label}: {TABLE} is not kept with a run; leave --full out, or compare its commit")
    if revision.commit is None:
        if not paths.PER_USER.is_file():
            raise InputError(f"{revision.name}: {TABLE} is missing; `dvc repro evaluate` makes it")
        return paths.PER_USER.read_bytes()
    import dvc.api
    from dvc.exceptions import DvcException

    try:
        with dvc.api.open(TABLE, rev=revision.commit, mode="rb") as file:
            content: bytes = file.read()
    except (DvcException, OSError):
        raise InputError(
            f"{revision.label}: {TABLE} is not in DVC's cache, and no remote has it; `git checkout "
            f"{revision.commit:.7} && dvc repro evaluate` makes it again; where there is a remote, "
            "`dvc pull --allow-missing` before it spares the stages that were pushed"
        ) from None
    return content


def _cells(revision: Revision, frame: pl.DataFrame) -> dict[tuple[str, str, str], Cell]:
    missing = [key for key in KEYS if key not in frame.columns]
    if missing:
        raise InputError(f"{revision.label}: {TABLE} has no column {', '.join(missing)}; run `dvc repro evaluate`")
    metrics = [column for column in frame.columns if column not in KEYS]
    cells = {}
    for (backbone, knowledge), part in frame.group_by("backbone", "knowledge", maintain_order=True):
        users = part["user"].unique().sort()
        seeds = part["seed"].n_unique()
        part = part.sort("user", "seed")
        if part.select("user", "seed").is_duplicated().any() or part.height != len(users) * seeds:
            raise InputError(
                f"{revision.label}: {TABLE}: {backbone} with {knowledge} has not one row for each user and seed; "
                "run `dvc repro evaluate`"
            )
        for metric in metrics:
            values = part[metric].to_numpy().reshape(len(users), seeds)
            cells[metric, str(backbone), str(knowledge)] = Cell(tuple(str(u) for u in users), values)
    return cells
