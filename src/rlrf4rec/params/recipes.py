"""Recipes: named sets of overrides for `dvc exp run`, in `recipes/*.yaml`.

A recipe has `about` (a sentence) and `set` (values by dotted key of the params), and may have `rounds` (T), and for
estimates of what it costs before anything is fetched `model` (numbers of its LLM) and `work` (users, tokens of a prompt
and those of them that all prompts share, width of the encoder's vectors).
"""

import copy
import re
import subprocess
import sys
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from rlrf4rec.errors import ParamsError
from rlrf4rec.files import atomic
from rlrf4rec.params import Params, check
from rlrf4rec.params.rounds import set_rounds

FOLDER = Path("recipes")
KEYS = "about", "set", "rounds", "model", "work"
MODEL = "parameters", "layers", "hidden", "key_values", "vocabulary"
DVC = sys.executable, "-m", "dvc"
WORK = "users", "tokens", "shared", "width"
NULL = "tag:yaml.org,2002:null"


@dataclass(frozen=True)
class Recipe:
    """What a recipe changes, and what is known of its LLM and of how much there is to do."""

    name: str
    about: str
    changes: dict[str, Any]
    rounds: int | None = None
    model: dict[str, int] | None = None
    work: dict[str, int] | None = None
    path: Path = field(default=FOLDER)


def names() -> list[str]:
    """All recipes."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read(name: str) -> Recipe:
    """Read a recipe; ParamsError names what is wrong with it."""
    path = FOLDER / f"{name}.yaml"
    if name not in names():
        raise ParamsError(f"recipe {name!r} is not there; there are {', '.join(names()) or 'none'}")
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (YAMLError, ValueError, RecursionError) as error:
        raise ParamsError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("set"), dict) or not content.get("about"):
        raise ParamsError(f"{path}: a recipe has `about` and a mapping `set`")
    for key in content:
        if key not in KEYS:
            raise ParamsError(f"{path}: {key}: unknown key; the nearest is {get_close_matches(key, KEYS, 1, 0.0)[0]}")
    for key, names_ in (("model", MODEL), ("work", WORK)):
        known = content.get(key)
        if known is not None and (not isinstance(known, dict) or set(known) != set(names_)):
            raise ParamsError(f"{path}: {key} is {known}, but must have {', '.join(names_)}")
    about, changes = str(content["about"]), dict(content["set"])
    return Recipe(name, about, changes, content.get("rounds"), content.get("model"), content.get("work"), path)


def plain(path: Path = Path("params.yaml")) -> dict[str, Any]:
    """The params as they stand, as plain values."""
    return dict(YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8")))


def resolve(recipe: Recipe, content: dict[str, Any]) -> tuple[dict[str, Any], Params]:
    """The params with the recipe's changes, checked to the last one; `content` stays as it is."""
    made = copy.deepcopy(content)
    if recipe.rounds is not None:
        set_rounds(made, recipe.rounds)
    for key, value in recipe.changes.items():
        *blocks, last = key.split(".")
        place = made
        for block in blocks:
            place = place.get(block) if isinstance(place, dict) else None  # type: ignore[assignment]
        if not isinstance(place, dict) or last not in place:
            raise ParamsError(f"{recipe.path}: {key}: no such param")
        place[last] = value
    return made, check(made, recipe.path)


def overrides(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """What leads from the one params to the other, as `dvc exp run -S` takes it.

    >>> overrides({"a": {"b": 1, "c": [1]}, "d": "x"}, {"a": {"b": None, "c": [1]}, "d": "it's", "e": {"f": True}})
    ['a.b=null', "d='it\\\\'s'", '+e={f: true}']
    """
    found = [f"~{prefix}{key}" for key in old if key not in new]
    for key, value in new.items():
        name = f"{prefix}{key}"
        if key not in old:
            found.append(f"+{name}={_hydra(value)}")
        elif isinstance(value, dict) and isinstance(old[key], dict):
            found += overrides(old[key], value, f"{name}.")
        elif value != old[key]:
            found.append(f"{name}={_hydra(value)}")
    return found


def _hydra(value: Any) -> str:
    """A value in the grammar of overrides."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_hydra(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_hydra(inner) for inner in value) + "]"
    if isinstance(value, str):
        quoted = re.sub(r"(\\*)'", r"\1\1\\'", value)  # a backslash counts as itself but for those before a quote
        return "'" + re.sub(r"(\\+)$", r"\1\1", quoted) + "'"
    return repr(value)


def write(name: str, path: Path = Path("params.yaml")) -> str:
    """Write the recipe's values into the params, whose other lines stay, and run nothing; returns a sentence.

    Not as DVC writes them for `exp run`: it writes the whole file anew, and comments end up beside other keys.
    """
    old = plain(path)
    new = resolve(read(name), old)[0]
    changes = overrides(old, new)
    if changes:
        yaml = YAML()
        yaml.preserve_quotes, yaml.width = True, 10_000
        yaml.representer.add_representer(type(None), lambda to, _: to.represent_scalar(NULL, "null"))
        content = yaml.load(path.read_text(encoding="utf-8"))
        _replace(content, new)
        with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            yaml.dump(content, file)
    return f"{path}: the recipe {name}, {len(changes)} values are new; `dvc repro` runs what depends on them"


def _replace(content: dict[str, Any], new: dict[str, Any]) -> None:
    """Give a mapping the values of another one, in place; what is equal is not touched."""
    for key in [key for key in content if key not in new]:
        del content[key]
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(content.get(key), dict):
            _replace(content[key], value)
        elif isinstance(value, list) and isinstance(content.get(key), list):
            content[key].clear()  # the same list, which stays on its line
            content[key].extend(value)
        elif key not in content or content[key] != value:
            content[key] = value


def run(name: str) -> int:
    """Run a recipe as the experiment of its name, or of `name-2` where there is one; returns DVC's exit code."""
    recipe, old = read(name), plain()
    new, _ = resolve(recipe, old)
    changes = [part for change in overrides(old, new) for part in ("--set-param", change)]
    print(f"{name}: {recipe.about}", flush=True)
    return subprocess.run([*DVC, "exp", "run", "--name", free_name(name), *changes]).returncode


def free_name(name: str) -> str:
    """The name with the lowest number that no experiment from HEAD has; results of former runs stay."""
    listed = subprocess.run([*DVC, "exp", "list", "--name-only"], capture_output=True, text=True)
    taken = set(listed.stdout.split())
    return next(free for free in (name, *(f"{name}-{i}" for i in range(2, len(taken) + 3))) if free not in taken)
