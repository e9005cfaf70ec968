"""Whether the run of the workspace may stand for a run of a commit again."""

import time
from pathlib import Path

from rlrf4rec import store
from rlrf4rec.committed import locks
from rlrf4rec.committed.findings import listed
from rlrf4rec.errors import InputError
from rlrf4rec.logs import Log
from rlrf4rec.revisions import git
from rlrf4rec.revisions.git import Revision

DECIDES = ("src", "params.yaml", "dvc.yaml")


def check(revision: Revision) -> None:
    """InputError where the workspace holds no finished run of its own of the commit's code and params."""
    workspace = Revision(git.WORKSPACE, None)
    other = [name for path in DECIDES for name in git.changed(revision, workspace, path)] + git.untracked(DECIDES)
    if other:
        raise InputError(
            f"the workspace is not {revision.label}: {listed(other)} differ; commit or put away what was changed, or "
            "leave --take out, which runs the commit in a clone"
        )
    root = Path()
    behind = [str(one) for one in locks.behind(root) if one.pipeline == locks.DEFAULT]
    faults = behind + [fault for fault in locks.other_metrics(root) if f" {locks.DEFAULT}" in fault]
    if faults:
        raise InputError(f"the workspace holds no finished run: {listed(faults)}; run `dvc repro` to its end")
    _own(revision)


def _own(revision: Revision) -> None:
    """Each stage has run in this workspace since the commit's own run was committed: its log says when.

    But for those that write only files of Git: with equal inputs DVC has no reason to run them in a new clone.
    """
    since = git.time_of_last_change(revision, "dvc.lock")
    for name, stage in locks.locks(Path())[locks.DEFAULT].items():
        if all(out["path"].startswith("metrics/") for out in stage.get("outs", [])):
            continue
        words = str(stage["cmd"]).split()[1:]
        log = store.place() / "logs" / f"{Log(words[0], words[1:]).name}.log"
        if not log.exists():
            raise InputError(f"{name} has not run in this workspace ({log} is missing): leave --take out")
        if log.stat().st_mtime < since:
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(log.stat().st_mtime))
            raise InputError(
                f"{name} last ran here at {when}, before {revision.label} had its dvc.lock: that is the committed run "
                "itself or an older one, and no proof; leave --take out, or `dvc repro --force --no-run-cache`"
            )
