"""Metrics of a finished run: of a commit, or of a folder in which one was made."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlrf4rec import machine, paths
from rlrf4rec.errors import InputError
from rlrf4rec.reproducing.headlines import Headline, headlines
from rlrf4rec.revisions import dag, git, locks
from rlrf4rec.revisions.documents import of_json
from rlrf4rec.revisions.git import Revision

LOCK = "dvc.lock"
EVALUATE, SUMMARY = paths.EVALUATE.as_posix(), paths.SUMMARY.as_posix()
OUTPUTS = ("data/", "models/", "metrics/")


@dataclass(frozen=True)
class Run:
    """Headline numbers by name; what its stages computed in, each once; hashes of outputs by path."""

    numbers: dict[str, Headline]
    arithmetic: list[str]
    outputs: dict[str, set[str]]


def of_commit(revision: Revision) -> Run:
    """The committed run; InputError where a file of it is missing or broken."""
    names = [name for name in git.files(revision, "metrics") if _of_a_stage(name)]
    return _run(git.read(revision, [*names, LOCK]), revision.label)


def of_folder(folder: Path) -> Run:
    """The run whose metrics lie in a folder."""
    names = [path for path in sorted((folder / "metrics").rglob("*")) if path.is_file()]
    names += [folder / LOCK] if (folder / LOCK).exists() else []
    there = {path.relative_to(folder).as_posix(): path.read_bytes() for path in names}
    return _run({name: there[name] for name in there if _of_a_stage(name) or name == LOCK}, str(folder))


def _of_a_stage(name: str) -> bool:
    return name.endswith(".json") and not name.startswith(locks.UNHASHED)


def _run(files: Mapping[str, bytes | None], label: str) -> Run:
    if missing := [name for name in (EVALUATE, SUMMARY, LOCK) if files.get(name) is None]:
        raise InputError(f"{label}: {missing[0]} is missing, so there is no finished run to hold numbers against")
    found: dict[str, dict[str, Any]] = {}
    for name, content in files.items():
        if content is not None and name != LOCK:
            found[name] = of_json(content, f"{label}: {name}")
    lock: dict[str, set[str]] = {}
    for stage in dag.stages({"stages": locks.entries(files[LOCK] or b"", f"{label}: {LOCK}")}).values():
        for path, md5 in [*stage.deps.items(), *stage.outs.items()]:
            lock.setdefault(path, set()).add(md5)
    try:
        numbers = headlines(found[EVALUATE], found[SUMMARY])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{label}: {EVALUATE} has not the form that `evaluate` writes ({error!r})") from None
    if not numbers:
        raise InputError(f"{label}: {EVALUATE} holds no headline number")
    # What other pipelines have left beside it, as the probe, may have been computed elsewhere.
    said = {machine.said(content) for name, content in found.items() if name in lock} - {None}
    outputs = {path: hashes for path, hashes in lock.items() if path.startswith(OUTPUTS)}
    return Run(numbers, sorted(word for word in said if word), outputs)
