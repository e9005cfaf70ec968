"""What dvc.yaml lists of the code that a stage runs."""

from pathlib import Path

from rlrf4rec import closure

SRC = Path(__file__).parent.parent / "src"

# Packages whose modules do not run again together: dvc.yaml lists these one by one.
SINGLE = {"metrics", "stages", "tables"}


def code_deps(stage: str) -> list[str]:
    """Rooms (folders) and single files that `stage` depends on, as dvc.yaml lists them."""
    return sorted({_listed(path) for path in code_files(stage)})


def _listed(path: str) -> str:
    room = Path(path).parent.name
    return path if room in {*SINGLE, "rlrf4rec"} else f"src/rlrf4rec/{room}"


def code_files(stage: str) -> list[str]:
    """Source files that `stage` imports, all of their imports among them."""
    return [f"src/rlrf4rec/{path.relative_to(closure.PACKAGE).as_posix()}" for path in closure.files(f"stages.{stage}")]
