"""Finished pieces of long work, named by their content, outside of the stages' outputs.

DVC deletes a stage's outputs before it runs, so what a killed stage had finished has to lie elsewhere:
in `.rlrf4rec/` under the repository (`DVC_ROOT`, shared by queued and temporary runs), ignored by Git.
"""

import os
from pathlib import Path

import polars as pl

from rlrf4rec.files import atomic, fingerprint, sha256


def folder() -> Path:
    """The state folder of this repository; made when missing."""
    path = Path(os.environ.get("DVC_ROOT") or ".") / ".rlrf4rec"
    path.mkdir(parents=True, exist_ok=True)
    return path


def load(kind: str, key: str) -> pl.DataFrame | None:
    """The finished piece `key`, or None."""
    path = folder() / kind / f"{key}.parquet"
    return pl.read_parquet(path) if path.exists() else None


def save(kind: str, key: str, piece: pl.DataFrame) -> None:
    """Keep a finished piece; whole or not at all."""
    with atomic(folder() / kind / f"{key}.parquet") as temporary:
        piece.write_parquet(temporary)


def code(*modules: str) -> str:
    """Identity of the source of some modules: what other code has made must not pass for the work of this."""
    package = Path(__file__).parent
    files = [
        file for name in modules for file in sorted(package.glob(f"{name}.py")) + sorted(package.glob(f"{name}/*.py"))
    ]
    return fingerprint([[file.relative_to(package).as_posix(), sha256(file)] for file in files])
