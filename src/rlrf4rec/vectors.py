"""Vectors of texts, and what re-rankers are told: safetensors with shapes checked against their tables."""

import json
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from rlrf4rec.errors import InputError
from rlrf4rec.files import atomic, fingerprint


@dataclass(frozen=True)
class Knowledge:
    """What a re-ranker is told.

    `texts` [users, samples, parts * width]: vectors about a user, rows as in the users table, side by side when
    there are several parts; `items` [items, width]: vectors about the items.
    """

    texts: Tensor
    items: Tensor


def keys_hash(column: pl.Series) -> str:
    """Names the rows that vectors belong to, in their order."""
    return fingerprint(column.to_list())


def write_texts(path: Path, texts: Tensor, rows: pl.Series) -> None:
    """Write vectors [rows, samples, width] with the identity of their rows (users or items)."""
    assert texts.shape[0] == len(rows)
    save_tensors(path, {"texts": texts}, {"rows": keys_hash(rows)})


def read_texts(path: Path, rows: pl.Series) -> Tensor:
    """Read vectors [rows, samples, width] that belong to `rows` (users or items of the tables)."""
    tensors, metadata = load_tensors(path)
    return _checked(path, tensors, "texts", 3, metadata.get("rows"), rows)


def write_knowledge(path: Path, knowledge: Knowledge, users: pl.Series, items: pl.Series) -> None:
    """Write what a re-ranker is told, with the identity of users and items."""
    tensors = {"texts": knowledge.texts, "items": knowledge.items}
    save_tensors(path, tensors, {"users": keys_hash(users), "items": keys_hash(items)})


def read_knowledge(path: Path, users: pl.Series, items: pl.Series) -> Knowledge:
    """Read what a re-ranker is told, checked against users and items of the tables."""
    tensors, metadata = load_tensors(path)
    texts = _checked(path, tensors, "texts", 3, metadata.get("users"), users)
    described = _checked(path, tensors, "items", 2, metadata.get("items"), items)
    if texts.shape[2] % described.shape[1]:
        raise InputError(f"{path}: shapes {tuple(texts.shape)} and {tuple(described.shape)} do not fit together")
    return Knowledge(texts, described)


def _checked(
    path: Path, tensors: dict[str, Tensor], name: str, dimensions: int, identity: str | None, rows: pl.Series
) -> Tensor:
    tensor = tensors.get(name)
    if tensor is None or tensor.dim() != dimensions or tensor.shape[0] != len(rows) or identity != keys_hash(rows):
        shape = "missing" if tensor is None else tuple(tensor.shape)
        raise InputError(
            f"{path}: {name} {shape} do not belong to the {len(rows)} {rows.name}s of the tables; "
            f"run `dvc repro {path.parent.parent.name}`"
        )
    if not torch.isfinite(tensor).all():
        raise InputError(f"{path}: {name} holds values that are not finite; run `dvc repro {path.parent.parent.name}`")
    return tensor


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file; InputError when it is missing or broken."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return tensors, json.loads((file.metadata() or {}).get("about", "{}"))
    except FileNotFoundError:
        raise InputError(f"{path}: missing; run `dvc repro` (or `dvc pull`)") from None
    except SafetensorError as error:
        raise InputError(f"{path}: not a readable safetensors file ({error}); run `dvc repro`") from None


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
