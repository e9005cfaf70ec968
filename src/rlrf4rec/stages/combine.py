"""Stage combine: what a kind of re-ranker is told: a source of texts about users, one beside it, and the items' side.

Every kind has the same two places for the user, so that the nets of all kinds are equally large; a place that
is not used holds a constant. Which sources stand where is written in params.yaml.
"""

from pathlib import Path

import torch

from rlrf4rec import paths, vectors
from rlrf4rec.errors import InputError
from rlrf4rec.tables.interactions import ITEMS
from rlrf4rec.tables.split import FOLD_USERS
from rlrf4rec.vectors import Knowledge


def run(name: str, text: str, beside: str, items_from: str) -> str:
    """Join the vectors of the folders `text`, `beside` and `items_from`; returns the closing line."""
    return write(paths.knowledge(name), text, beside, items_from)


def write(path: Path, text: str, beside: str, items_from: str) -> str:
    """Join the vectors of three folders into `path`; RLRFError when their texts can't be paired."""
    users, items = FOLD_USERS.read(paths.FOLD_USERS)["user"], ITEMS.read(paths.ITEMS)["item"]
    first, second = (vectors.read_texts(Path(folder) / paths.VECTORS, users) for folder in (text, beside))
    samples = max(first.shape[1], second.shape[1])
    for part, folder in ((first, text), (second, beside)):
        if part.shape[1] not in (1, samples):
            raise InputError(f"{path}: {folder} has {part.shape[1]} texts of a user where the other has {samples}")
    both = torch.cat([part.expand(-1, samples, -1) for part in (first, second)], dim=2)
    described = vectors.read_texts(Path(items_from) / paths.VECTORS, items)[:, 0]
    vectors.write_knowledge(path, Knowledge(both, described), users, items)
    return f"wrote {path}, {samples} x {both.shape[2]} numbers for each of {len(users)} users"
