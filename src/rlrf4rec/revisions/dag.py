"""Stages as a dvc.yaml has them, as its lock has them, and where the two or the code beside them differ."""

import itertools
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

PARAMS = "params.yaml"
CODE = "src/"
COMMAND, NEVER = "dvc.yaml (cmd)", "never run"
WRONG = (AttributeError, KeyError, TypeError, ValueError)  # what `stages` and `defined` raise for another form
VARIABLE = re.compile(r"\$\{\s*([\w.]+)\s*\}")


@dataclass(frozen=True)
class Stage:
    """A stage of a lock: command, hash of each file that it read and wrote, params by dotted key."""

    command: str
    deps: dict[str, str]
    outs: dict[str, str]
    params: dict[str, Any]


@dataclass(frozen=True)
class Defined:
    """A stage of dvc.yaml: command (None where params don't tell it), deps below src/, dotted keys of params.yaml."""

    command: str | None
    code: list[str] = field(default_factory=list)
    params: list[str] = field(default_factory=list)


def stages(lock: Any) -> dict[str, Stage]:
    """The stages of a lock; one of WRONG where it has not the form that DVC writes."""
    found = {
        str(name): Stage(
            command=str(entry["cmd"]),
            deps={str(d["path"]): str(d.get("md5")) for d in entry.get("deps", [])},
            outs={str(o["path"]): str(o.get("md5")) for o in entry.get("outs", [])},
            params=dict(entry.get("params", {}).get(PARAMS, {})),
        )
        for name, entry in lock["stages"].items()
    }
    if outside := [path for stage in found.values() for path in stage.outs if not inside(path)]:
        raise ValueError(f"the output {outside[0]!r} lies outside of the repository")
    return found


def inside(path: str) -> bool:
    """Whether a path of a lock names something below the folder that it is taken from.

    >>> inside("metrics/a.json"), inside("metrics/../../a.json"), inside("/a.json")
    (True, False, False)
    """
    return not path.startswith("/") and ".." not in path.split("/") and not {"\n", "\0"} & set(path)


def defined(dag: Any, params: Mapping[str, Any], ran: Collection[str]) -> dict[str, Defined]:
    """The stages of a dvc.yaml by name, each entry of a `foreach` or `matrix` for itself.

    Entries that params.yaml does not tell are those that have run. One of WRONG where DVC would not read it.
    """
    found = {}
    for base, body in (dag.get("stages") or {}).items():
        if not isinstance(body, Mapping):
            continue
        if "foreach" not in body and "matrix" not in body:
            found[base] = _defined(body, params)
            continue
        entries = _entries(body, params)
        if entries is None:
            entries = {name.partition("@")[2]: None for name in ran if name.startswith(f"{base}@")}
        for key, item in entries.items():
            found[f"{base}@{key}"] = _defined(body.get("do", body), {**params, "key": key, "item": item})
    return found


def _defined(body: Mapping[str, Any], known: Mapping[str, Any]) -> Defined:
    deps = [_filled(dep, known) for dep in body.get("deps") or [] if isinstance(dep, str)]
    keys = [key for key in body.get("params") or [] if isinstance(key, str)]
    return Defined(
        _filled(str(body.get("cmd")), known),
        [d for d in dict.fromkeys(deps) if d and d.startswith(CODE) and inside(d)],
        keys,
    )


def _entries(body: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any] | None:
    """What `${item}` stands for in each entry, by the entry's key; None where params.yaml does not tell."""
    if "matrix" in body:
        axes = {axis: _inserted(values, params) for axis, values in body["matrix"].items()}
        if not all(isinstance(values, list) for values in axes.values()):
            return None
        rows = [dict(zip(axes, row, strict=True)) for row in itertools.product(*axes.values())]
        return {"-".join(str(value) for value in row.values()): row for row in rows}
    entries = _inserted(body["foreach"], params)
    if isinstance(entries, Mapping):
        return {str(key): item for key, item in entries.items()}
    if not isinstance(entries, list):
        return None
    counted = any(isinstance(item, list | Mapping) for item in entries)  # then DVC names them by their place
    return {str(place if counted else item): item for place, item in enumerate(entries)}


def _inserted(value: Any, params: Mapping[str, Any]) -> Any:
    """`${a.b}` as DVC fills it in from params.yaml."""
    match = VARIABLE.fullmatch(value) if isinstance(value, str) else None
    return lookup(params, match[1]) if match else value


def _filled(text: str, known: Mapping[str, Any]) -> str | None:
    """A text with its `${a.b}` filled in; None where one is not known, or no plain text or number."""
    values = {name: lookup(known, name) for name in VARIABLE.findall(text)}
    if any(isinstance(value, bool) or not isinstance(value, str | int | float) for value in values.values()):
        return None
    found = VARIABLE.sub(lambda match: str(values[match[1]]), text)
    return None if "${" in found else found


def lookup(params: Any, key: str) -> Any:
    """The value at a dotted key, None where there is none."""
    for part in key.split("."):
        params = params.get(part) if isinstance(params, Mapping) else None
    return params


def behind(
    now: Mapping[str, Defined],
    ran: Mapping[str, Stage],
    params: Mapping[str, Any],
    hashed: Callable[[str], str | None],
) -> dict[str, list[str]]:
    """By stage of dvc.yaml what is not what its lock says it ran with: keys of params.yaml, the command, code.

    hashed: the hash that code has now, by its path; it is asked only for what the lock knows.
    """
    found = {}
    for name, stage in now.items():
        if other := _other(stage, ran[name], params, hashed) if name in ran else [NEVER]:
            found[name] = other
    return found


def overtaken(ran: Mapping[str, Stage]) -> list[tuple[str, str, str]]:
    """(writer, path, reader): what a stage has written since another one read it. A run that was finished has none."""
    wrote = {path: (name, md5) for name, stage in ran.items() for path, md5 in stage.outs.items()}
    return [
        (wrote[path][0], path, name)
        for name, stage in ran.items()
        for path, md5 in stage.deps.items()
        if path in wrote and wrote[path][1] != md5
    ]


def _other(stage: Defined, ran: Stage, params: Mapping[str, Any], hashed: Callable[[str], str | None]) -> list[str]:
    other = [f"{PARAMS}: {k}" for k in stage.params if k not in ran.params or lookup(params, k) != ran.params[k]]
    other += [COMMAND] if stage.command not in (None, ran.command) else []
    return other + [dep for dep in stage.code if dep not in ran.deps or hashed(dep) != ran.deps[dep]]
