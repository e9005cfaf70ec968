"""The commit that a final look is of: all that decides the result has to be in it."""

import json
import subprocess
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from rlrf4rec.errors import RLRFError
from rlrf4rec.params.recipes import DVC
from rlrf4rec.revisions import git

PARAMS, REPORT = "params.yaml", "report"
COPIES = ".dvc", "tmp", "exps"  # where DVC runs an experiment apart from the workspace


@dataclass(frozen=True)
class Looked:
    """What a look is of.

    make: its target of make; repeat: what makes all of `runs`, the pipelines that have to have run; record: what of
    them is committed; by: the pipelines of the look itself.
    """

    make: str
    repeat: str
    record: str
    runs: tuple[str, ...]
    by: tuple[str, ...]

    @property
    def decides(self) -> tuple[str, ...]:
        """All files and folders that decide on what is seen."""
        locks = [Path(run).with_suffix(".lock").as_posix() for run in self.runs]
        return ("src", PARAMS, "constraints.txt", *self.runs, *locks, *self.by)


ARMS = "studies/arms/base/dvc.yaml", "studies/arms/second/dvc.yaml", "studies/arms/dvc.yaml"
FINAL = "studies/final/dvc.yaml"
OF_RUN = Looked("final", "dvc repro", "dvc.lock, metrics", ("dvc.yaml",), (FINAL,))
OF_ARMS = Looked(
    "final-arms",
    "make repro arms",
    "dvc.lock, metrics, studies/arms",
    ("dvc.yaml", *ARMS),
    (FINAL, "studies/final_arms/base/dvc.yaml", "studies/final_arms/dvc.yaml"),
)


def clean(of: Looked) -> str:
    """HEAD's full hash; RLRFError unless code, params and the record of what ran are as HEAD has them."""
    if any(Path.cwd().parts[at : at + len(COPIES)] == COPIES for at in range(len(Path.cwd().parts))):
        raise RLRFError(
            f"{of.make}: DVC runs an experiment in this copy, which knows no looks of other branches and goes with its "
            f"row: final users are looked at in the workspace, by `make {of.make}`"
        )
    head = git.commit("HEAD")
    if head is None:
        raise RLRFError(
            f"{of.make}: no commit here, and a final look is of one: commit code, params and the finished run"
        )
    at = git.Revision("HEAD", head), git.Revision(git.WORKSPACE, None)
    other = [path for place in of.decides for path in git.changed(*at, place)] + git.untracked(of.decides)
    if other:
        more = f" and {len(other) - 1} more" if len(other) > 1 else ""
        raise RLRFError(
            f"{of.make}: {other[0]}{more} is not as HEAD has it, and users are looked at once, by what is committed: "
            f"commit code, params and the finished run ({of.record}), then `make {of.make}`"
        )
    return head


def up_to_date(of: Looked) -> None:
    """RLRFError unless every output of what ran is there and is that of its code, data and params, by `dvc status`.

    But for the report: it shows looks and decides on none, and a look that failed half way leaves it behind.
    """
    asked = subprocess.run([*DVC, "status", "--json", *of.runs], capture_output=True, text=True)
    if asked.returncode:
        raise RLRFError(f"{of.make}: dvc status failed: {asked.stderr.strip()}")
    if stale := [stage for stage in json.loads(asked.stdout) if stage != REPORT]:
        more = f" and {len(stale) - 1} more" if len(stale) > 1 else ""
        raise RLRFError(
            f"{of.make}: {stale[0]}{more} of the run is not up to date: `{of.repeat}` (or `dvc checkout`, where "
            f"outputs are missing), commit {of.record}, then `make {of.make}`"
        )


def changed(since: str | None) -> str:
    """Params that are others now than at the commit of the look before, as JSON: old and new value by dotted key.

    Empty when there was no look; a sentence where this clone does not have that commit.
    """
    if since is None:
        return ""
    if git.commit(since) is None:
        return f"commit {since:.7} is not in this clone"
    before = git.read(git.Revision(since, since), [PARAMS])[PARAMS] or b""
    old, new = (_flat(YAML(typ="safe").load(BytesIO(text)) or {}) for text in (before, Path(PARAMS).read_bytes()))
    keys = [key for key in {**old, **new} if key not in old or key not in new or old[key] != new[key]]
    return json.dumps({key: [old.get(key), new.get(key)] for key in keys}, default=str)


def _flat(params: Any, above: str = "") -> dict[str, Any]:
    """Values by dotted key."""
    if not isinstance(params, dict) or not params:
        return {above: params}
    return {key: value for name, inner in params.items() for key, value in _flat(inner, _dotted(above, name)).items()}


def _dotted(above: str, name: Any) -> str:
    return f"{above}.{name}" if above else str(name)
