"""Writing the loop of T feedback rounds into params.yaml, and what the study of controls asks of each.

Comments and all other values stay.
"""

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from rlrf4rec.errors import ParamsError
from rlrf4rec.files import atomic
from rlrf4rec.params import load

BLOCKS = ("loop", "controls")


def write_rounds(path: Path, t: int) -> str:
    """Rewrite the blocks `loop` and `controls` for T = `t`; returns what was done."""
    if t < 1:
        raise ParamsError(f"rounds: T = {t}, but at least one round is needed")
    load(path)
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 200
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    places = {block: _place(lines, block) for block in BLOCKS}
    content = {block: yaml.load("".join(lines[begin:end]))[block] for block, (begin, end) in places.items()}
    set_rounds(content, t)
    for block, (begin, end) in sorted(places.items(), key=lambda of: -of[1][0]):  # from the last on: lines keep numbers
        written = io.StringIO()
        yaml.dump({block: content[block]}, written)
        lines[begin:end] = written.getvalue().splitlines(keepends=True)
    with atomic(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")
    load(path)
    return f"{path}: T = {t}; `dvc repro` runs what is new"


def _place(lines: list[str], block: str) -> tuple[int, int]:
    """Where a block of the file begins and ends, without the blank lines after it."""
    begin = next(i for i, line in enumerate(lines) if line.startswith(f"{block}:"))
    end = next((i for i, line in enumerate(lines) if i > begin and line[:1].strip()), len(lines))
    return begin, next(i for i in range(end, begin, -1) if lines[i - 1].strip())


def set_rounds(content: dict[str, Any], t: int) -> None:
    """The same in a mapping of the params."""
    loop, controls = content["loop"], content["controls"]
    for block in (loop["rounds"], loop["samples"], loop["rankers"], controls):
        for name in [key for key in block if str(key).startswith("round")]:
            del block[name]
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
            controls[knowledge] = _line(inputs)
        before = name


def _line(values: dict[str, str]) -> CommentedMap:
    """A mapping that is written on one line."""
    line = CommentedMap(values)
    line.fa.set_flow_style()
    return line
