"""What dvc.yaml lists of the code that a stage runs."""

from pathlib import Path

from ruamel.yaml import YAML

from rlrf4rec import closure

SRC = Path(__file__).parent.parent / "src"

# Packages whose modules do not run again together: dvc.yaml lists these one by one.
SINGLE = {"metrics", "stages", "tables"}


def code_deps(stage: str) -> list[str]:
    """Rooms (folders) and single files that `stage` depends on, as dvc.yaml lists them."""
    return sorted({_listed(path) for path in code_files(stage)})


def _listed(path: str) -> str:
    inside = Path(path).relative_to("src/rlrf4rec").parts
    return path if len(inside) == 1 or inside[0] in SINGLE else f"src/rlrf4rec/{inside[0]}"


def code_files(stage: str) -> list[str]:
    """Source files that `stage` imports, all of their imports among them."""
    return [f"src/rlrf4rec/{path.relative_to(closure.PACKAGE).as_posix()}" for path in closure.files(f"stages.{stage}")]


WIDTH = 120
PIPELINES = (
    "dvc.yaml",
    *(
        f"studies/{name}/dvc.yaml"
        for name in (
            "arms",
            "arms/base",
            "arms/second",
            "bench",
            "controls",
            "final",
            "final_arms",
            "final_arms/base",
            "learning_curve",
        )
    ),
)


def rewritten(text: str) -> str:
    """The text of a dvc.yaml with the code deps of every stage as they are now; its other lines stay."""
    lines, made, stage = text.splitlines(), [], ""
    while lines:
        line = lines.pop(0)
        indent = len(line) - len(line.lstrip())
        if indent == 2 and line.rstrip().endswith(":"):
            stage = line.strip().rstrip(":")
        if not line.strip().startswith("deps:"):
            made.append(line)
            continue
        block = [line]
        while lines and lines[0].strip() and len(lines[0]) - len(lines[0].lstrip()) > indent:
            block.append(lines.pop(0))
        listed = YAML(typ="safe").load("\n".join(block))["deps"]
        others = [dep for dep in listed if not _is_code(dep)]
        made += _flow(f"{' ' * indent}deps: [", [others, code_deps(stage)])
    return "\n".join(made) + "\n"


def _is_code(dep: str) -> bool:
    return dep.startswith("src/rlrf4rec/") and "/templates" not in dep and "${" not in dep


def _flow(begin: str, groups: list[list[str]]) -> list[str]:
    """A YAML list over several lines, each group beginning a new one."""
    lines, row = [], begin
    for number, group in enumerate(groups):
        for place, dep in enumerate(group):
            word = f"'{dep}'" if "{" in dep else dep
            last = number == len(groups) - 1 and place == len(group) - 1
            word += "]" if last else ","
            first = row.endswith("[") or not row.strip()
            if (place == 0 and not first) or len(row) + len(word) + 1 > WIDTH:
                lines.append(row)
                row, first = " " * len(begin), True
            row += word if first else f" {word}"
    return [*lines, row]


if __name__ == "__main__":  # after imports have changed: python tests/imports.py
    for name in PIPELINES:
        path = SRC.parent / name
        path.write_text(rewritten(path.read_text(encoding="utf-8")), encoding="utf-8")
