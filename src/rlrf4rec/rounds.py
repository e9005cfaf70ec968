"""Writing the loop of T feedback rounds into params.yaml; comments and all other values stay."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from rlrf4rec.errors import ParamsError
from rlrf4rec.files import atomic
from rlrf4rec.params import load


def write_rounds(path: Path, t: int) -> str:
    """Rewrite rounds, policies, texts, combine and variants.knowledge for T = `t`; returns what was done."""
    if t < 1:
        raise ParamsError(f"rounds: T = {t}, but at least one round is needed")
    load(path)
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 200
    yaml.representer.add_representer(type(None), lambda r, _: r.represent_scalar("tag:yaml.org,2002:null", "null"))
    content = yaml.load(path.read_text(encoding="utf-8"))
    set_rounds(content, t)
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
    load(path)
    return f"{path}: T = {t}; `dvc repro` runs what is new"


def set_rounds(content: dict[str, Any], t: int) -> None:
    """The same in a mapping of the params."""
    names = [f"round{i + 1}" for i in range(t)]
    for block in ("rounds", "policies", "texts", "combine"):
        for name in [key for key in content[block] if str(key).startswith("round")]:
            del content[block][name]
    knowledge = [k for k in content["variants"]["knowledge"] if not k.startswith("round")]
    before = "base"
    for name in names:
        content["rounds"][name] = _line({"policy": before, "adapter": content["policies"][before]})
        content["policies"][name] = f"models/train_dpo/{name}"
        content["texts"][name] = f"data/sample/{name}/texts.parquet"
        for kind, beside in ((name, "none"), (f"{name}_template", "template")):
            vectors = {"text": f"data/encode/{name}", "beside": f"data/encode/{beside}", "items": "data/encode/items"}
            content["combine"][kind] = _line(vectors)
        before = name
    content["variants"]["knowledge"][:] = [*knowledge, names[-1], f"{names[-1]}_template"]


def _line(values: dict[str, str]) -> CommentedMap:
    """A mapping that is written on one line."""
    line = CommentedMap(values)
    line.fa.set_flow_style()
    return line
