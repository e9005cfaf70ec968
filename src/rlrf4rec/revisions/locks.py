"""What the lock files of DVC say of the code, params and metrics files that lie beside them in the workspace."""

import functools
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlrf4rec.errors import InputError
from rlrf4rec.files import contents, dvc_hash
from rlrf4rec.revisions import dag
from rlrf4rec.revisions.documents import mapping, of_yaml

DEFAULT = "dvc.yaml"
STUDIES = (
    "controls",
    "arms/base",
    "arms/second",
    "arms",
    "learning_curve",
    "final",
    "final_arms/base",
    "final_arms",
    "bench",
)
PIPELINES = (DEFAULT, *(f"studies/{name}/dvc.yaml" for name in STUDIES))
# Written by no stage, or outside of what DVC hashes: what a run cost differs from run to run, kept runs have own locks.
# Looks are added by two stages.
UNHASHED = ("metrics/cost/", "metrics/kept/", "metrics/reproduced.json", "metrics/looks.csv")


@dataclass(frozen=True)
class Behind:
    """Code, a command or a block of params that is not what a stage of a pipeline has run with, or the whole stage."""

    pipeline: str
    stage: str
    what: str

    def __str__(self) -> str:
        of = f"{self.stage} of {self.pipeline}"
        return f"{of} has never run" if self.what == dag.NEVER else f"{self.what} is not what {of} ran with"


def locks(root: Path) -> dict[str, dict[str, Any]]:
    """The stages in the lock of each pipeline that has been run, by the path of its dvc.yaml.

    Without entries of stages and rounds that dvc.yaml no longer has: DVC leaves them in the lock. InputError for a
    file that is broken, or whose form is not DVC's.
    """
    found = {}
    for name in PIPELINES:
        path = (root / name).with_suffix(".lock")
        if path.exists() and (root / name).exists():
            ran = entries(path.read_bytes(), path.relative_to(root).as_posix())
            now = _defined(root, name, ran)
            if not ran:  # the report reads the lock of the final users, which is there before anyone has looked
                continue
            found[name] = {stage: entry for stage, entry in ran.items() if stage in now}
    return found


def _defined(root: Path, name: str, ran: Collection[str]) -> dict[str, dag.Defined]:
    """The stages of a dvc.yaml with today's params."""
    content, params = mapping(_yaml(root, name), name), mapping(_yaml(root, dag.PARAMS), dag.PARAMS)
    try:
        return dag.defined(content, params, ran)
    except dag.WRONG as error:
        raise InputError(f"{name} has not the form that DVC reads ({error!r})") from None


@functools.cache
def entries(content: bytes, name: str) -> dict[str, Any]:
    """The stages in a lock as DVC writes them; InputError that begins with `name` where it has another form."""
    found = of_yaml(content, name)
    try:
        dag.stages(found)
    except dag.WRONG as error:
        raise InputError(f"{name} has not the form that DVC writes ({error!r})") from None
    return {str(stage): entry for stage, entry in found["stages"].items()}


def _yaml(root: Path, name: str) -> Any:
    return of_yaml((root / name).read_bytes(), name)


def behind(root: Path) -> list[Behind]:
    """Stages, commands, code and params of each dvc.yaml that are not what its lock says they were."""
    params = _yaml(root, dag.PARAMS)
    hashed = functools.cache(lambda path: dvc_hash(contents(root / path)))
    found = []
    for name, known in locks(root).items():
        ran = dag.stages({"stages": known})
        for stage, other in dag.behind(_defined(root, name, ran), ran, params, hashed).items():
            found += [Behind(name, stage, what) for what in other]
    return found


def metrics_files(root: Path) -> list[Path]:
    """All files below the folders of metrics, those that DVC does not hash too."""
    folders = [root / "metrics", *sorted((root / "studies").glob("*/metrics"))]
    return sorted(p for folder in folders for p in folder.rglob("*") if p.is_file() and p.name != ".gitignore")


def written(root: Path) -> dict[str, tuple[str, str, str]]:
    """Hash, stage and pipeline of every metrics file that a lock knows, by its path."""
    return {
        path: (md5, stage, name)
        for name, known in locks(root).items()
        for stage, ran in dag.stages({"stages": known}).items()
        for path, md5 in ran.outs.items()
        if "metrics/" in path
    }


def other_metrics(root: Path) -> list[str]:
    """Sentences on metrics files that no lock knows, or knows with another content, or that are missing."""
    faults, known = [], written(root)
    for place, (expected, stage, name) in known.items():
        if not (root / place).exists():
            faults.append(f"{place}: missing; {stage} of {name} has written it: {_again(place, stage, name)}")
        elif (found := dvc_hash(contents(root / place))) != expected:
            faults.append(
                f"{place}: edited, its content is {found:.8}, but {stage} of {name} wrote {expected:.8}: "
                f"{_again(place, stage, name)}"
            )
    for path in metrics_files(root):
        if (place := path.relative_to(root).as_posix()) not in known and not place.startswith(UNHASHED):
            faults.append(f"{place}: no stage of any dvc.lock has written it: remove it, or run the stage that does")
    return faults


def _again(place: str, stage: str, name: str) -> str:
    """How a metrics file comes back; DVC finds the stage of a study by its dvc.yaml."""
    return f"`git checkout {place}`, or `dvc repro {stage if name == DEFAULT else f'{name}:{stage}'}`"
