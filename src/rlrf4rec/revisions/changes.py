"""What differs between two revisions, and whether their metrics may be compared at all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlrf4rec import paths
from rlrf4rec.revisions import dag, git, hashes
from rlrf4rec.revisions.state import EVALUATE, KEEP_AGAIN, LOCK, PER_USER, State

LISTS = paths.lists("development").parent.as_posix()
FORMER_LISTS = "data/split/test"  # in revisions that called development users test users
JUDGES = "models/train_reward/"  # the frozen re-rankers behind the reward metrics
METRIC_CODE = "src/rlrf4rec/metrics/ranking.py"
TOLD = "src/", "studies/"  # elsewhere: code by its files, studies by their commits
SHOWN = 3
Row = dict[str, Any]


@dataclass(frozen=True)
class Changes:
    """Rows {key, old, new} (no `old` or `new` where one side has no such key) and, by stage, source files."""

    params: list[Row]
    code: dict[str, list[str]]
    libraries: list[Row]
    data: list[Row]
    arithmetic: list[Row]

    @property
    def none(self) -> bool:
        """True when both revisions hold the same run."""
        return not (self.params or self.code or self.libraries or self.data or self.arithmetic)


def changes(a: State, b: State) -> Changes:
    """Params, code of each stage, library versions, hashes of data and models, and what each stage computed in."""
    return Changes(
        _rows(a.params, b.params),
        _code(a, b),
        _rows(a.libraries, b.libraries),
        _rows(_artefacts(a), _artefacts(b)),
        _rows(a.arithmetic, b.arithmetic),
    )


def reasons(a: State, b: State) -> list[str]:
    """Why the two must not be compared; empty when they may."""
    found = []
    if a.definition != b.definition:
        rows = _rows(_flat(a.definition), _flat(b.definition))
        found.append(
            f"other metric definition ({EVALUATE}, metrics): "
            + "; ".join(f"{r['key']} {r.get('old', 'absent')} -> {r.get('new', 'absent')}" for r in rows)
        )
    lists = [_lists(s) for s in (a, b)]
    for state, md5 in zip((a, b), lists, strict=True):
        if md5 is None:
            found.append(f"{state.revision.label}: {LOCK} holds no hash of {LISTS}; `dvc repro evaluate` writes it")
    if None not in lists and lists[0] != lists[1]:
        found.append(f"other candidate lists: {LISTS} is {lists[0]:.8} in A and {lists[1]:.8} in B")
    users = [{u for cell in s.cells.values() for u in cell.users} for s in (a, b)]
    if users[0] != users[1]:
        only = [sorted(users[0] - users[1]), sorted(users[1] - users[0])]
        found.append(f"other development users ({PER_USER}): {_named(only[0])} only in A, {_named(only[1])} only in B")
    return found


def unfit(state: State) -> list[str]:
    """What of a revision's results was not made by its own params and code."""
    found = []
    mend = KEEP_AGAIN if state.revision.folder else "`dvc repro` mends it"
    if state.stale:
        shown = [f"{stage} ({_named(other, 2)})" for stage, other in _by_name(state.stale).items()]
        found.append(
            f"the results of {state.revision.label} are not of its own files; other than in {LOCK} are those of "
            f"{_named(shown)}. {mend}"
        )
    if overtaken := dag.overtaken(state.stages):
        shown = [f"{path} that {reader} has read ({writer})" for writer, path, reader in overtaken]
        found.append(f"{state.revision.label} holds no finished run: written again since is {_named(shown)}. {mend}")
    return found


def other_metric_code(a: State, b: State) -> list[str]:
    """A note when the metrics' code differs though both call them the same."""
    code = [s.stages["evaluate"].deps.get(METRIC_CODE) if "evaluate" in s.stages else None for s in (a, b)]
    if code[0] == code[1]:
        return []
    return [f"{METRIC_CODE} differs: read its changes before you trust a difference"]


def other_judges(a: State, b: State) -> bool:
    """True when the frozen re-rankers that give the rewards are not the same ones."""
    judges = [
        {p: md5 for p, md5 in s.stages["evaluate"].deps.items() if p.startswith(JUDGES)}
        if "evaluate" in s.stages
        else {}
        for s in (a, b)
    ]
    return judges[0] != judges[1]


def _rows(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Row]:
    rows = []
    for key in [*old, *(k for k in new if k not in old)]:
        if key not in old:
            rows.append({"key": key, "new": new[key]})
        elif key not in new:
            rows.append({"key": key, "old": old[key]})
        elif old[key] != new[key] or type(old[key]) is not type(new[key]):
            rows.append({"key": key, "old": old[key], "new": new[key]})
    return rows


def _code(a: State, b: State) -> dict[str, list[str]]:
    """By stage (entries of one `foreach` or `matrix` together): files under src/ that differ, and the command."""
    found: dict[str, set[str]] = {}
    for name in [*a.stages, *(n for n in b.stages if n not in a.stages)]:
        base = name.split("@")[0]
        old, new = a.stages.get(name), b.stages.get(name)
        if old is None or new is None:
            if not any(n.split("@")[0] == base for n in (b.stages if new is None else a.stages)):
                found.setdefault(base, set()).add(f"(stage only in {'A' if new is None else 'B'})")
            continue
        rows = _rows(*({p: h for p, h in s.deps.items() if p.startswith("src/")} for s in (old, new)))
        files = {file for row in rows for file in _files(a, b, row)}
        files |= {"dvc.yaml (cmd)"} if old.command != new.command else set()
        if files:
            found.setdefault(base, set()).update(files)
    return {stage: sorted(files) for stage, files in found.items()}


def _files(a: State, b: State, row: Row) -> list[str]:
    """Of a folder the files that differ, as Git knows them; of a file itself."""
    folder = any(str(row.get(side, "")).endswith(hashes.FOLDER) for side in ("old", "new"))
    found = git.changed(a.revision, b.revision, row["key"]) if folder else []
    return found or [row["key"]]


def _artefacts(state: State) -> dict[str, str]:
    """Hashes of what stages wrote under data/ and models/, and of what they read that none wrote, wherever it lies."""
    outs = {p: md5 for s in state.stages.values() for p, md5 in s.outs.items()}
    deps = {p: md5 for s in state.stages.values() for p, md5 in s.deps.items()}
    found = {p: md5 for p, md5 in deps.items() if not p.startswith(TOLD) and not any(_related(p, out) for out in outs)}
    found |= {p: md5 for p, md5 in outs.items() if p.startswith(("data/", "models/"))}
    return {p: found[p] for p in sorted(found)}


def _related(a: str, b: str) -> bool:
    return a == b or a.startswith(f"{b}/") or b.startswith(f"{a}/")


def _lists(state: State) -> str | None:
    """The lists that evaluate has read, not those that split has written since."""
    stage = state.stages.get("evaluate")
    return stage.deps.get(LISTS, stage.deps.get(FORMER_LISTS)) if stage else None


def _by_name(stale: Mapping[str, list[str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, other in stale.items():
        own = found.setdefault(name.split("@")[0], [])
        own += [o for o in other if o not in own]
    return found


def _named(items: list[str], shown: int = SHOWN) -> str:
    more = len(items) - shown
    return (", ".join(items[:shown]) or "no one") + (f" and {more} more" if more > 0 else "")


def _flat(definition: Any) -> dict[str, Any]:
    return definition if isinstance(definition, dict) else {"metrics": definition}
