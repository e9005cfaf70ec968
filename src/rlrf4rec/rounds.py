"""Writing the loop of T feedback rounds into params.yaml; comments and all other values stay."""

from pathlib import Path

from ruamel.yaml import YAML

from rlrf4rec.errors import RLRFError
from rlrf4rec.files import atomic
from rlrf4rec.params import load


def write_rounds(path: Path, t: int) -> str:
    """Rewrite rounds, policies, texts and variants.knowledge for T = `t`; returns what was done."""
    if t < 1:
        raise RLRFError(f"rounds: T = {t}, but at least one round is needed")
    load(path)
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 200
    content = yaml.load(path.read_text(encoding="utf-8"))
    names = [f"round{i + 1}" for i in range(t)]
    for block in ("rounds", "policies", "texts"):
        for name in [key for key in content[block] if str(key).startswith("round")]:
            del content[block][name]
    knowledge = [k for k in content["variants"]["knowledge"] if not k.startswith("round")]
    before = "base"
    for name in names:
        content["rounds"][name] = {"policy": before, "adapter": content["policies"][before]}
        content["policies"][name] = f"models/train_dpo/{name}"
        content["texts"][name] = f"data/sample/{name}/texts.parquet"
        before = name
    content["variants"]["knowledge"][:] = [*knowledge, names[-1]]
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
    load(path)
    return f"{path}: T = {t}; `dvc repro` runs what is new"
