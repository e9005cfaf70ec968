"""The commit that a final look is of: all that decides the result has to be in it."""

import json
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from rlrf4rec.errors import RLRFError
from rlrf4rec.params.recipes import DVC
from rlrf4rec.revisions import git

PARAMS, LOCK, REPORT = "params.yaml", "dvc.lock", "report"
COPIES = ".dvc", "tmp", "exps"  # where DVC runs an experiment apart from the workspace
DECIDES = ("src", PARAMS, "dvc.yaml", LOCK, "constraints.txt", "studies/final/dvc.yaml")


def clean() -> str:
    """HEAD's full hash; RLRFError unless code, params and the record of the run are as HEAD has them."""
    if any(Path.cwd().parts[at : at + len(COPIES)] == COPIES for at in range(len(Path.cwd().parts))):
        raise RLRFError(
            "final: DVC runs an experiment in this copy, which knows no looks of other branches and goes with its row: "
            "final users are looked at in the workspace, by `make final`"
        )
    head = git.commit("HEAD")
    if head is None:
        raise RLRFError("final: no commit here, and a final look is of one: commit code, params and the finished run")
    at = git.Revision("HEAD", head), git.Revision(git.WORKSPACE, None)
    other = [path for place in DECIDES for path in git.changed(*at, place)] + git.untracked(DECIDES)
    if other:
        more = f" and {len(other) - 1} more" if len(other) > 1 else ""
        raise RLRFError(
            f"final: {other[0]}{more} is not as HEAD has it, and users are looked at once, by what is committed: "
            "commit code, params and the finished run (dvc.lock, metrics), then `make final`"
        )
    return head


def up_to_date() -> None:
    """RLRFError unless every output of the run is there and is that of its code, data and params, by `dvc status`.

    But for the report: it shows looks and decides on none, and a look that failed half way leaves it behind.
    """
    asked = subprocess.run([*DVC, "status", "--json", "dvc.yaml"], capture_output=True, text=True)
    if asked.returncode:
        raise RLRFError(f"final: dvc status failed: {asked.stderr.strip()}")
    if stale := [stage for stage in json.loads(asked.stdout) if stage != REPORT]:
        more = f" and {len(stale) - 1} more" if len(stale) > 1 else ""
        raise RLRFError(
            f"final: {stale[0]}{more} of the run is not up to date: `dvc repro` (or `dvc checkout`, where outputs are "
            "missing), commit its dvc.lock and metrics, then `make final`"
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
