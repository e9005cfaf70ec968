"""Whether the run of the workspace may stand for a run of a commit again."""

import re
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rlrf4rec import store
from rlrf4rec.errors import InputError
from rlrf4rec.logs import Log
from rlrf4rec.revisions import git, locks
from rlrf4rec.revisions.git import Revision
from rlrf4rec.revisions.words import listed

DECIDES = ("src", "params.yaml", "dvc.yaml")
AGAIN = "leave --take out, or `rlrf4rec store --gc --max-gb 0 && dvc repro --force --no-run-cache`"
STARTED = re.compile(r'"datetime_start": ?"([^"]+)"')  # of a trial, in a line of a journal of Optuna


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
    ran = locks.locks(root).get(locks.DEFAULT)
    if ran is None:
        raise InputError("dvc.lock is missing: the workspace holds no finished run; run `dvc repro` to its end")
    behind = [str(one) for one in locks.behind(root) if one.pipeline == locks.DEFAULT]
    faults = behind + [fault for fault in locks.other_metrics(root) if f" {locks.DEFAULT}" in fault]
    if faults:
        raise InputError(f"the workspace holds no finished run: {listed(faults)}; run `dvc repro` to its end")
    since = git.time_of_last_change(revision, "dvc.lock")
    _own(revision, ran, since)
    _computed(revision, since)


def _own(revision: Revision, ran: Mapping[str, Any], since: float) -> None:
    """Each stage has run in this workspace since the commit's own run was committed: its log says when.

    But for those that write only files of Git: with equal inputs DVC has no reason to run them in a new clone.
    """
    for name, stage in ran.items():
        if all(out["path"].startswith("metrics/") for out in stage.get("outs", [])):
            continue
        words = str(stage["cmd"]).split()[1:]
        log = store.place() / "logs" / f"{Log(words[0], words[1:]).name}.log"
        if not log.exists():
            raise InputError(f"{name} has not run in this workspace ({log} is missing): leave --take out")
        if log.stat().st_mtime < since:
            raise InputError(
                f"{name} last ran here at {_minute(log.stat().st_mtime)}, before {revision.label} had its dvc.lock: "
                f"that is the committed run itself or an older one, and no proof; {AGAIN}"
            )


def _computed(revision: Revision, since: float) -> None:
    """No stage can have taken over what was kept of the commit's own run or an older one: nothing of it lies here.

    Downloads may be older, they are known by their hash.
    """
    for path, made in _kept():
        if made < since:
            raise InputError(
                f"{path} was made at {_minute(made)}, before {revision.label} had its dvc.lock: a stage that takes "
                f"kept work over computes nothing, and is no proof; {AGAIN}"
            )


def _kept() -> Iterator[tuple[Path, float]]:
    """Each kept piece of work and when it was made; of a search, when its first trial began."""
    for shelf in store.shelves():
        if shelf.kind == store.STUDIES:
            said = STARTED.findall(shelf.path.read_text(encoding="utf-8", errors="replace"))
            yield shelf.path, min([shelf.used, *(datetime.fromisoformat(each).timestamp() for each in said)])
        elif shelf.kind != store.DOWNLOADS:
            yield from ((piece, piece.stat().st_mtime) for piece in sorted(shelf.path.iterdir()))


def _minute(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(when))
