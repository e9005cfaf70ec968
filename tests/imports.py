"""Which modules of the package a stage runs: its imports, followed to the end."""

import ast
from pathlib import Path

SRC = Path(__file__).parent.parent / "src"

# Plumbing that decides how outputs are named, written and reported, never what is in them; `machine` does decide on the
# arithmetic, but by the machine, which DVC can't see: metrics files tell it.
PLUMBING = {
    "cli",
    "cost",
    "estimate",
    "errors",
    "files",
    "interrupts",
    "logs",
    "machine",
    "param_data",
    "param_faults",
    "param_models",
    "param_study",
    "param_types",
    "params",
    "paths",
    "progress",
    "rounds",
    "store",
    "tables.contract",
    "versions",
}


def _file(module: str) -> Path | None:
    path = SRC / Path(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.exists():
            return candidate
    return None


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("rlrf4rec"):
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("rlrf4rec")}
    return {module for module in found if _file(module) and _file(module).name != "__init__.py"}


def code_deps(stage: str) -> list[str]:
    """Source files that `stage` depends on, as dvc.yaml lists them."""
    seen, todo = set(), [f"rlrf4rec.stages.{stage}"]
    while todo:
        module = todo.pop()
        if module in seen or module.removeprefix("rlrf4rec.") in PLUMBING:
            continue
        seen.add(module)
        todo.extend(_imports(_file(module)))
    return sorted(_file(module).relative_to(SRC.parent).as_posix() for module in seen)
