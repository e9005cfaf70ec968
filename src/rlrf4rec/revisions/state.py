"""What a revision says about its run: params, dvc.lock, headline metrics; read from Git alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from rlrf4rec import machine, paths
from rlrf4rec.errors import InputError
from rlrf4rec.metrics.statistics import Array
from rlrf4rec.revisions import dag, git, hashes
from rlrf4rec.revisions.dag import Defined, Stage
from rlrf4rec.revisions.documents import mapping, of_json, of_yaml
from rlrf4rec.revisions.git import Revision

PARAMS, LOCK, DAG, LIBRARIES = dag.PARAMS, "dvc.lock", "dvc.yaml", "constraints.txt"
SUMMARY, EVALUATE = paths.SUMMARY.as_posix(), paths.EVALUATE.as_posix()
PER_USER = paths.HEADLINE.as_posix()
KEYS = ["metric", "backbone", "knowledge", "user"]
KEEP_AGAIN = "`git checkout` gives it back, or keep the run again with --replace"


@dataclass(frozen=True)
class Cell:
    """One re-ranker's headline metric: users (sorted) and values [users, seeds]."""

    users: tuple[str, ...]
    values: Array


@dataclass(frozen=True)
class State:
    """A revision. `params` by dotted key; `definition` is what evaluate.json says about its metrics;
    `cells` by (metric, backbone, knowledge); `arithmetic`: what each stage says it computed in; `stale` names what does
    not fit dvc.lock, by stage."""

    revision: Revision
    params: dict[str, Any]
    stages: dict[str, Stage]
    libraries: dict[str, str]
    summary: dict[str, float | str]
    definition: Any
    cells: dict[tuple[str, str, str], Cell]
    arithmetic: dict[str, str]
    stale: dict[str, list[str]]


def load(revision: Revision) -> State:
    """Read a revision; InputError that names revision and file when one is missing or broken."""
    found = git.read(revision, [PARAMS, LOCK, DAG, SUMMARY, EVALUATE, PER_USER, LIBRARIES])
    files = {path: _there(revision, path, content) for path, content in found.items() if path != LIBRARIES}
    at = {path: f"{revision.label}: {path}" for path in files}
    params = mapping(of_yaml(files[PARAMS], at[PARAMS]), at[PARAMS])
    ran = _stages(revision, of_yaml(files[LOCK], at[LOCK]))
    defined = _defined(revision, mapping(of_yaml(files[DAG], at[DAG]), at[DAG]), params, ran)
    # DVC leaves stages that dvc.yaml no longer has, and entries of removed rounds, in dvc.lock.
    stages = {name: stage for name, stage in ran.items() if name in defined}
    summary = of_json(files[SUMMARY], at[SUMMARY])
    return State(
        revision=revision,
        params=flatten(params),
        stages=stages,
        libraries=_libraries(found[LIBRARIES] or b""),
        summary={
            k: v if isinstance(v, str) else float(v) for k, v in summary.items() if isinstance(v, int | float | str)
        },
        definition=of_json(files[EVALUATE], at[EVALUATE]).get("metrics"),
        cells=_cells(revision, files[PER_USER]),
        arithmetic=_arithmetic(revision, stages),
        stale=_stale(revision, params, defined, stages),
    )


def flatten(content: Mapping[str, Any], head: str = "") -> dict[str, Any]:
    """Nested blocks by dotted key; lists and empty blocks stay values.

    >>> flatten({"a": {"b": 1, "c": [2]}, "d": {}})
    {'a.b': 1, 'a.c': [2], 'd': {}}
    """
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= flatten(value, f"{head}{key}.") if isinstance(value, Mapping) and value else {f"{head}{key}": value}
    return flat


def _there(revision: Revision, path: str, content: bytes | None) -> bytes:
    if content is not None:
        return content
    if revision.folder:
        raise InputError(f"{revision.label}: {path} is missing in {revision.folder}; {KEEP_AGAIN}")
    if revision.commit is None:
        raise InputError(f"{revision.name}: {path} is missing; `dvc repro` writes it")
    raise InputError(
        f"{revision.label}: {path} is not in this commit, so it can't be compared; check it out "
        f"(an experiment: `dvc exp apply`), run `dvc repro evaluate` and commit what it writes"
    )


def _stages(revision: Revision, lock: Any) -> dict[str, Stage]:
    try:
        return dag.stages(lock)
    except dag.WRONG as error:
        raise InputError(f"{revision.label}: {LOCK} has not the form that DVC writes ({error!r})") from None


def _defined(
    revision: Revision, content: dict[str, Any], params: dict[str, Any], ran: dict[str, Stage]
) -> dict[str, Defined]:
    try:
        return dag.defined(content, params, ran)
    except dag.WRONG as error:
        raise InputError(f"{revision.label}: {DAG} has not the form that DVC reads ({error!r})") from None


def _libraries(content: bytes) -> dict[str, str]:
    lines = [line.split("#")[0].strip() for line in content.decode(errors="replace").splitlines()]
    return dict(line.split("==", 1) for line in lines if "==" in line)  # type: ignore[misc]


def _arithmetic(revision: Revision, stages: dict[str, Stage]) -> dict[str, str]:
    """What each stage computed in, as its metrics file says; by stage."""
    of = {p: name for name, s in stages.items() for p in s.outs if p.startswith("metrics/") and p.endswith(".json")}
    found = {}
    for path, content in git.read(revision, sorted(of)).items():
        said = machine.said(of_json(content, f"{revision.label}: {path}")) if content is not None else None
        if said:
            found[of[path]] = said
    return found


def _stale(
    revision: Revision, params: dict[str, Any], defined: dict[str, Defined], stages: dict[str, Stage]
) -> dict[str, list[str]]:
    """Per stage: params, command, code and metric files of the revision that are not those of the run in dvc.lock.

    A kept run holds no code: that it was the run's own was asked before.
    """
    known = {name: {**s.deps, **s.outs} for name, s in stages.items()}
    small = {
        p: md5 for h in known.values() for p, md5 in h.items() if p.startswith((dag.CODE, "metrics/")) and dag.inside(p)
    }
    kept = {p: md5 for p, md5 in small.items() if revision.folder and p.startswith(dag.CODE)}
    asked = sorted((p, md5) for p, md5 in small.items() if p not in kept)
    now = {**hashes.now(revision, asked), **kept}
    found = dag.behind(defined, stages, params, now.get)
    for name, files in known.items():
        other = [p for p, md5 in files.items() if p.startswith("metrics/") and p in now and now[p] != md5]
        if other:
            found[name] = [*found.get(name, []), *other]
    return found


def _cells(revision: Revision, content: bytes) -> dict[tuple[str, str, str], Cell]:
    """Values of per_user.csv; empty seeds at the end of a row are seeds that its re-ranker does not have."""
    where = f"{revision.label}: {PER_USER}"
    advice = "run `dvc repro evaluate`, it writes this file"
    try:
        frame = pl.read_csv(content, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{where} is not a readable CSV file ({error}); {advice}") from None
    seeds = [c for c in frame.columns if c not in KEYS]
    if frame.columns != [*KEYS, *(f"seed{i}" for i in range(len(seeds)))] or not seeds or not frame.height:
        raise InputError(
            f"{where} has columns {frame.columns}, expected {KEYS} and seed0, seed1 ... with rows; {advice}"
        )
    numbers = frame.select(pl.col(s).cast(pl.Float64, strict=False) for s in seeds)
    for seed in seeds:
        wrong = (frame[seed].is_not_null() & ~numbers[seed].is_finite().fill_null(False)).arg_true()
        if len(wrong):
            row = int(wrong[0])
            raise InputError(f"{where}: column {seed}, line {row + 2}: {frame[seed][row]!r} is not a number; {advice}")
    cells = {}
    for (metric, backbone, knowledge), part in pl.concat([frame.select(KEYS), numbers], how="horizontal").group_by(
        KEYS[:3], maintain_order=True
    ):
        part = part.sort("user")
        what = f"{where}: {metric} of {backbone} with {knowledge}"
        if part["user"].n_unique() != part.height:
            raise InputError(f"{what}: column user names a user twice; {advice}")
        values = part.select(seeds).to_numpy()
        filled = ~np.isnan(values)
        count = int(filled[0].sum())
        if count == 0 or not (filled == (np.arange(len(seeds)) < count)).all():
            raise InputError(f"{what}: columns {seeds[0]} ... {seeds[-1]} are not filled alike for all users; {advice}")
        cells[str(metric), str(backbone), str(knowledge)] = Cell(tuple(part["user"]), values[:, :count])
    return cells
