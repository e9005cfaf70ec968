"""Which modules of the package a module runs: its imports, followed to the end."""

import ast
import functools
from pathlib import Path

PACKAGE = Path(__file__).parent
# Plumbing that decides how outputs are named, written and reported, never what is in them; `machine` does decide on the
# arithmetic, but by the machine, which DVC can't see: metrics files tell it.
PLUMBING = {
    "checkpoints",
    "cli",
    "closure",
    "cost",
    "estimate",
    "errors",
    "files",
    "interrupts",
    "leftovers",
    "logs",
    "machine",
    "params",
    "paths",
    "progress",
    "revisions.git",
    "store",
    "tables.contract",
    "tables.parquet",
    "trainers",
    "versions",
}


@functools.cache
def files(module: str) -> tuple[Path, ...]:
    """Source files that decide what a module (`sampling.sampler`) gives: its own and those of all its imports.

    ValueError when there is no such module: an identity must not leave out what it names.
    """
    if _file(module) is None:
        raise ValueError(f"rlrf4rec has no module {module}")
    seen: dict[str, Path] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        path = _file(name)
        if name in seen or _plumbing(name) or path is None:
            continue
        seen[name] = path
        todo.extend(_imports(path))
    return tuple(sorted(seen.values()))


def _plumbing(module: str) -> bool:
    """Whether a module or a package that it lies in is plumbing."""
    parts = module.split(".")
    return any(".".join(parts[:end]) in PLUMBING for end in range(1, len(parts) + 1))


def _file(module: str) -> Path | None:
    """Its source; None for a package: no `__init__` but that of plumbing decides anything (`tests/test_dag.py`)."""
    path = (PACKAGE / Path(*module.split("."))).with_suffix(".py")
    return path if path.exists() else None


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE.name:
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == PACKAGE.name}
    return {name.removeprefix(f"{PACKAGE.name}.") for name in found}
