"""Writing the loop of T feedback rounds into params.yaml; comments and all other values stay."""

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from rlrf4rec.errors import ParamsError
from rlrf4rec.files import atomic
from rlrf4rec.params import load


def write_rounds(path: Path, t: int) -> str:
    """Rewrite the block `loop` for T = `t`; returns what was done."""
    if t < 1:
        raise ParamsError(f"rounds: T = {t}, but at least one round is needed")
    load(path)
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 200
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    begin = next(i for i, line in enumerate(lines) if line.startswith("loop:"))
    end = next((i for i, line in enumerate(lines) if i > begin and line[:1].strip()), len(lines))
    content = yaml.load("".join(lines[begin:end]))
    set_rounds(content, t)
    block = io.StringIO()
    yaml.dump(content, block)
    with atomic(path) as temporary:
        temporary.write_text("".join([*lines[:begin], block.getvalue(), *lines[end:]]), encoding="utf-8")
    load(path)
    return f"{path}: T = {t}; `dvc repro` runs what is new"


def set_rounds(content: dict[str, Any], t: int) -> None:
    """The same in a mapping of the params."""
    loop = content["loop"]
    for block in ("rounds", "samples", "rankers"):
        for name in [key for key in loop[block] if str(key).startswith("round")]:
            del loop[block][name]
    loop["texts"][:] = [name for name in loop["texts"] if not name.startswith("round")]
    before, texts = "base", "base"
    for name in (f"round{i + 1}" for i in range(t)):
        if before != "base":
            texts = f"{before}_tuning"
            loop["samples"][texts] = _line({"policy": before, "users": "tuning"})
            loop["texts"].append(texts)
        loop["rounds"][name] = _line({"policy": before, "texts": texts})
        loop["samples"][name] = _line({"policy": name, "users": "evaluated"})
        loop["texts"].append(name)
        for knowledge, beside in ((name, "none"), (f"{name}_template", "template")):
            inputs = {"text": f"encode/{name}", "beside": f"encode/{beside}", "items": "encode/items"}
            loop["rankers"][knowledge] = _line(inputs)
        before = name


def _line(values: dict[str, str]) -> CommentedMap:
    """A mapping that is written on one line."""
    line = CommentedMap(values)
    line.fa.set_flow_style()
    return line
