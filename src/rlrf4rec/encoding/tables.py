"""Vectors of the texts about all rows of a table: users, or items."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch

from rlrf4rec import paths
from rlrf4rec.encoding.encoder import cut, encode_texts, load_tokenizer_of, reach
from rlrf4rec.encoding.making import load_making
from rlrf4rec.encoding.phrases import exploded
from rlrf4rec.errors import InputError
from rlrf4rec.files import fingerprint, sha256
from rlrf4rec.llm.models import load_encoder
from rlrf4rec.params import Encode
from rlrf4rec.tables import vectors

PHRASES, N = 6, 5  # of a text, of this trial; a source with one text for each user has the phrases of N of it


@dataclass(frozen=True)
class TextTable:
    """Texts (columns of the rows' name, sample, text) about `rows`; complete: all of these have to have one."""

    name: str
    texts: pl.DataFrame
    rows: pl.Series
    path: Path
    complete: bool


def write(table: TextTable, encode: Encode, code: str) -> str:
    """Encode and write the vectors; returns what was done. A row that has no text gets NaN: nobody may read it.

    code: of what encodes, part of the identity of what is kept of it.
    """
    rows, texts = table.rows, table.texts.select(table.rows.name, "sample", "text")
    if rows.name == "user" and table.name != "none":  # of this trial
        texts = exploded(texts, PHRASES * N // texts["sample"].n_unique())
    model, tokenizer = load_encoder(paths.ENCODER), load_tokenizer_of(paths.ENCODER)
    making = load_making(paths.ENCODER, tokenizer, encode.prompt)
    there = rows.is_in(texts[rows.name].implode())
    ordered = (
        rows.filter(there)
        .to_frame()
        .join(texts.sort(rows.name, "sample"), on=rows.name, how="left", maintain_order="left_right")
    )
    if ordered.height != texts.height or (table.complete and not there.all()):
        raise InputError(f"{table.path}: names other {rows.name}s than the tables; run `dvc repro encode`")
    if not texts.height:
        raise InputError(f"{table.path}: no text of any {rows.name}; run `dvc repro sample`")
    identity = fingerprint([sha256(paths.ENCODER), code])
    listed, what = ordered["text"].to_list(), f"encode {table.name}"
    places = {text: place for place, text in enumerate(dict.fromkeys(listed))}
    flat = encode_texts(model, tokenizer, list(places), encode.max_tokens, encode.batch, what, identity, making)
    flat = flat[[places[text] for text in listed]]
    found = flat.view(int(there.sum()), -1, flat.shape[1])
    encoded = torch.full((len(rows), *found.shape[1:]), torch.nan)
    encoded[torch.tensor(there.to_list())] = found
    vectors.write_texts(paths.vectors(table.name), encoded, rows)
    limit = reach(model, tokenizer, encode.max_tokens)
    longer = cut(tokenizer, listed, limit, making.prompt)
    cut_note = f", {longer} of them cut at {limit} tokens," if longer else ""
    vectors_of = f"{len(found)} of {len(rows)} {rows.name}s"
    return f"wrote {paths.vectors(table.name)}, {flat.shape[0]} texts{cut_note} of {vectors_of}"
