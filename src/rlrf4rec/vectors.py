"""Vectors of texts and items: safetensors with shapes checked against their tables."""

import json
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from rlrf4rec.errors import RLRFError
from rlrf4rec.files import atomic, fingerprint


@dataclass(frozen=True)
class Vectors:
    """`texts` [users, samples, width], rows in the order of the users table; `items` [items, width]."""

    texts: Tensor
    items: Tensor


def keys_hash(column: pl.Series) -> str:
    """Names the rows that vectors belong to, in their order."""
    return fingerprint(column.to_list())


def write(path: Path, vectors: Vectors, users: pl.Series, items: pl.Series) -> None:
    """Write vectors with the identity of their rows."""
    assert vectors.texts.shape[0] == len(users)
    assert vectors.items.shape[0] == len(items)
    save_tensors(
        path, {"texts": vectors.texts, "items": vectors.items}, {"users": keys_hash(users), "items": keys_hash(items)}
    )


def read(path: Path, users: pl.Series, items: pl.Series) -> Vectors:
    """Read vectors and check their rows and shapes against the tables' users and items."""
    tensors, metadata = load_tensors(path)
    for name, column in (("texts", users), ("items", items)):
        kind = "users" if name == "texts" else "items"
        if name not in tensors or tensors[name].shape[0] != len(column) or metadata.get(kind) != keys_hash(column):
            raise RLRFError(
                f"{path}: {name} {tuple(tensors[name].shape) if name in tensors else 'missing'} do not belong to "
                f"the {len(column)} {kind} of the tables; run `dvc repro encode`"
            )
    texts, described = tensors["texts"], tensors["items"]
    if texts.dim() != 3 or described.dim() != 2 or texts.shape[2] != described.shape[1]:
        raise RLRFError(f"{path}: shapes {tuple(texts.shape)} and {tuple(described.shape)} do not fit together")
    if not (torch.isfinite(texts).all() and torch.isfinite(described).all()):
        raise RLRFError(f"{path}: holds values that are not finite; run `dvc repro encode`")
    return Vectors(texts, described)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file; RLRFError when it is missing or broken."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return tensors, json.loads((file.metadata() or {}).get("about", "{}"))
    except FileNotFoundError:
        raise RLRFError(f"{path}: missing; run `dvc repro` (or `dvc pull`)") from None
    except SafetensorError as error:
        raise RLRFError(f"{path}: not a readable safetensors file ({error}); run `dvc repro`") from None


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
