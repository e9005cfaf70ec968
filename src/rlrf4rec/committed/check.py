"""Everything that `rlrf4rec check` looks at, in sentences."""

import html
import re
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlrf4rec import cost, paths
from rlrf4rec.committed import findings, line, reproduced
from rlrf4rec.committed.figures import Numbers, figures
from rlrf4rec.errors import RLRFError
from rlrf4rec.files import read_json
from rlrf4rec.looking import looks
from rlrf4rec.looking.known import JOURNAL
from rlrf4rec.reproducing import records, runs
from rlrf4rec.revisions import git, kept, locks
from rlrf4rec.revisions.documents import of_json, of_yaml
from rlrf4rec.revisions.git import Revision
from rlrf4rec.revisions.words import listed

LOG = Path("docs/findings.md")
RELEASE = "v"  # how a tag of a release begins
PART = re.compile(rf"{findings.PARAGRAPH.pattern}|\n(?=\|)")
BLOCK = re.compile(r"```.*?```", re.DOTALL)
QUOTE = (
    f"quote a number of theirs (those of {records.REPRODUCED} count where it is named), or leave it out (text in "
    "backticks is not looked at)"
)
MEND = "`dvc repro` and a commit of its lock mend it"


@dataclass
class Found:
    """What is well, by what was looked at; warnings; faults."""

    said: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def everything(root: Path = Path()) -> Found:
    """Look at all of it; `root` is the top of the repository and the working folder. Nothing is fetched."""
    found = Found()
    _metrics(root, found)
    _docs(root, found)
    _log(root, found)
    _run(root, found)
    _page(root, found)
    _reproduced(root, found)
    _kept(found)
    _looks(root, found)
    return found


def _metrics(root: Path, found: Found) -> None:
    faults, known = locks.other_metrics(root), locks.written(root)
    found.faults += faults
    if not faults:
        found.said.append(("metrics", f"{len(known)} files are what a run wrote; metrics/cost DVC does not hash"))


def present(root: Path) -> Numbers:
    """Numbers of the metrics files that stages have written in the workspace, and of params.yaml.

    What a run cost has so many numbers that nearly every short figure would be among them.
    """
    known = Numbers()
    for path in locks.metrics_files(root):
        if path.suffix != ".json" or path.relative_to(root).as_posix().startswith(locks.UNHASHED):
            continue
        known.add(of_json(path.read_bytes(), str(path)))
    known.add(of_yaml((root / "params.yaml").read_bytes(), "params.yaml"))
    return known


def _docs(root: Path, found: Found) -> None:
    """README and docs but the log quote numbers of the workspace's own files alone.

    Those of metrics/reproduced.json, another run's, only where a paragraph, an item or a row of a table names it.
    """
    known, count = present(root), 0
    again = deepcopy(known)
    if (root / records.REPRODUCED).exists():
        again.add(read_json(root / records.REPRODUCED))
    for path in [root / line.README, *sorted((root / LOG.parent).glob("*.md"))]:
        if path.relative_to(root) == LOG:
            continue
        missing = []
        for part in PART.split(BLOCK.sub(" ", path.read_text(encoding="utf-8"))):
            numbers, quoted = again if records.REPRODUCED.as_posix() in part else known, figures(part)
            missing += [figure for figure in quoted if not numbers.has(figure)]
            count += len(quoted)
        count -= len(missing)
        if missing:
            name = path.relative_to(root)
            found.faults.append(f"{name}: {listed(missing)}: in no metrics file and no param; {QUOTE}")
    found.said.append(("docs", f"{count} figures of README.md and docs stand in metrics files or params"))


def _log(root: Path, found: Found) -> None:
    """Each entry of the log of findings."""
    entries = findings.entries((root / LOG).read_text(encoding="utf-8"), read)
    found.faults += [f"{LOG}: {entry.title!r}: {fault}" for entry in entries for fault in entry.faults]
    held = sum(entry.found for entry in entries)
    found.said.append(("findings", f"{held} figures of {LOG} stand in the files that its entries name"))
    marked = [entry for entry in entries if entry.marked]
    if marked:
        found.said.append(("", f"{sum(e.marked for e in marked)} more are marked `not reproducible`:"))
    found.said += [("", f"  {entry.marked} in {entry.title!r}") for entry in marked]
    for entry in (entry for entry in entries if entry.unread):
        found.warnings.append(
            f"{LOG}: {entry.title!r} is not looked at: {', '.join(entry.unread)} is not in this shallow clone; "
            "`git fetch --unshallow` brings it"
        )


def read(commit: str | None, path: str) -> bytes | None:
    """A file of a commit, or of the workspace; NoCommitError where a shallow clone lacks the commit."""
    known = git.commit(commit) if commit else None
    if commit and known is None:
        if git.shallow():
            raise findings.NoCommitError(commit)
        return None
    return git.read(Revision(commit or git.WORKSPACE, known), [path])[path]


def _run(root: Path, found: Found) -> None:
    """Locks against code and params, and what the README says of it."""
    behind = locks.behind(root)
    old = line.stages(behind)
    releases = [tag for tag in git.tags() if tag.startswith(RELEASE)]
    if old and releases:
        first = next(one for one in behind if one.pipeline == locks.DEFAULT)
        found.faults.append(f"dvc.lock: release {releases[0]} holds a run of other code or params: {first}; {MEND}")
    elif old:
        found.warnings.append(f"dvc.lock is older than code or params of {', '.join(old)}; {MEND}")
    else:
        found.said.append(("run", "dvc.lock is of this code and these params"))
    for name in dict.fromkeys(one.pipeline for one in behind if one.pipeline != locks.DEFAULT):
        stages = dict.fromkeys(one.stage.partition("@")[0] for one in behind if one.pipeline == name)
        study = name.removeprefix("studies/").removesuffix("/dvc.yaml")
        found.said.append(("study", f"{study}, run less often, is older than code or params of {', '.join(stages)}"))
    if line.written((root / line.README).read_text(encoding="utf-8")) != readme_line(root):
        found.faults.append(f"{line.README}: its line on the run is not true; `rlrf4rec check --write` mends it")


def _page(root: Path, found: Found) -> None:
    """The page of costs, which the report shows in a frame, has no sentence on the run or the right one."""
    path, said = root / cost.PAGE, line.plain(readme_line(root))
    text = html.unescape(path.read_text(encoding="utf-8")) if path.exists() else ""
    if line.TITLE in text and said not in text:
        found.faults.append(f"{cost.PAGE}: its sentence on the run is not true; `rlrf4rec check --write` mends it")


def write(root: Path, stages: tuple[str, ...]) -> None:
    """Write what README and the report's page of costs say of the committed run; `stages` in the order of a run."""
    said = readme_line(root)
    line.write(root / line.README, said)
    if (root / cost.PAGE).exists():
        cost.write_page(stages, line.plain(said))


def readme_line(root: Path) -> str:
    """What the README's line has to be."""
    known = records.read(root).items()
    of_it = {kind: record for kind, record in known if reproduced.same(record, runs.of_folder(root))}
    looked = looks.read(root / paths.LOOKS)
    return line.text(locks.behind(root), of_it, looked[-1].look if looked else 0)


def _reproduced(root: Path, found: Found) -> None:
    """The last `rlrf4rec reproduce` of each kind, where it is in Git."""
    known = records.read(root)
    if not known:
        found.said.append(("again", "no `rlrf4rec reproduce` of the committed run is in Git"))
    for kind, record in known.items():
        where = f"{records.REPRODUCED}, {kind}"
        found.faults += reproduced.faults(record)
        if git.shallow() and git.commit(record["commit"]) is None:
            found.warnings.append(f"{where}: its commit is not in this shallow clone, so it is not looked at")
        if reproduced.same(record, runs.of_folder(root)):
            found.said.append(("again", line.again(kind, record)))
        else:
            found.warnings.append(f"{where}: of an older run than that which is committed")


def _looks(root: Path, found: Found) -> None:
    """What a look has found against the list of looks: DVC has no hash of that, as two stages add to it."""
    rows = {(look.look, look.commit) for look in looks.read(root / paths.LOOKS)}
    for path in (paths.metrics(name) for name in ("final", "final_arms")):
        if (root / path).exists() and (of := _look(root / path)) not in rows:
            found.faults.append(
                f"{path}: of look {of[0]} at commit {of[1]!s:.7}, and {paths.LOOKS} has no such row: "
                f"`git checkout {paths.LOOKS}`, or take it from {JOURNAL} in Git's own folder"
            )
    if rows:
        found.said.append(("looks", f"{len(rows)} at final users, the last number {max(rows)[0]} of all"))


def _look(path: Path) -> tuple[Any, Any]:
    found = read_json(path)
    return found.get("look"), found.get("commit")


def _kept(found: Found) -> None:
    """Each kept run against its own lock."""
    names = kept.names()
    for name in names:
        try:
            found.faults += kept.faults(name)
        except RLRFError as error:
            found.faults.append(str(error))
    if names:
        found.said.append(("kept", f"{len(names)} kept run{'' if len(names) == 1 else 's'}: {listed(names)}"))
