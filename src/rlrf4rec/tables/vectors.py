"""Vectors of texts: safetensors with shapes checked against their tables."""

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from rlrf4rec.errors import InputError, explain
from rlrf4rec.files import atomic, fingerprint


def keys_hash(column: pl.Series) -> str:
    """Names the rows that vectors belong to, in their order."""
    return fingerprint(column.to_list())


def write_texts(path: Path, texts: Tensor, rows: pl.Series) -> None:
    """Write vectors [rows, samples, width], NaN where there is none, with the identity of the rows (users or items)."""
    assert texts.shape[0] == len(rows)
    save_tensors(path, {"texts": texts}, {"rows": keys_hash(rows)})


def read_texts(path: Path, rows: pl.Series, wanted: Sequence[int] | None = None) -> Tensor:
    """Read vectors [rows, samples, width] that belong to `rows` (users or items of the tables).

    InputError unless those of the row numbers `wanted` (None: of all) are there; the others may be NaN.
    """
    tensors, metadata = load_tensors(path)
    tensor, identity = tensors.get("texts"), metadata.get("rows")
    if tensor is None or tensor.dim() != 3 or tensor.shape[0] != len(rows) or identity != keys_hash(rows):
        shape = "missing" if tensor is None else tuple(tensor.shape)
        raise InputError(
            f"{path}: texts {shape} do not belong to the {len(rows)} {rows.name}s of the tables; "
            f"run `dvc repro {path.parent.parent.name}`"
        )
    finite = tensor.flatten(1).isfinite().all(dim=1)
    lacking = [row for row in (range(len(rows)) if wanted is None else wanted) if not finite[row]]
    if lacking:
        raise InputError(
            f"{path}: texts holds values that are not finite, those of {rows.name} {rows[lacking[0]]!r} and "
            f"{len(lacking) - 1} more; run `dvc repro {path.parent.parent.name}`"
        )
    return tensor


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file; InputError when it is missing or broken."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return tensors, json.loads((file.metadata() or {}).get("about", "{}"))
    except FileNotFoundError:
        raise InputError(f"{path}: missing; run `dvc repro` (or `dvc pull --allow-missing`)") from None
    except SafetensorError as error:
        broken = InputError(f"{path}: not a readable safetensors file ({error}); run `dvc repro`")
        raise explain(error, path) or broken from None


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors and what they are, whole or not at all.

    The metadata is one JSON text: safetensors writes several keys in an order that changes from run to run.
    """
    with atomic(path) as temporary:
        save_file(
            {k: v.detach().cpu().contiguous() for k, v in tensors.items()},
            temporary,
            {"about": json.dumps(metadata, sort_keys=True)},
        )
