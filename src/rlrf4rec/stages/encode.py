"""Stage encode: vectors of a source of texts about users, or of the texts about items."""

import polars as pl
import torch

from rlrf4rec import paths, store, vectors
from rlrf4rec.errors import InputError
from rlrf4rec.files import fingerprint, sha256
from rlrf4rec.language.encoder import CODE, encode_texts
from rlrf4rec.language.models import load_encoder
from rlrf4rec.language.tokenizer import load_tokenizer
from rlrf4rec.params import Encode
from rlrf4rec.tables.interactions import ITEMS
from rlrf4rec.tables.split import FOLD_USERS
from rlrf4rec.tables.texts import ITEM_TEXTS, TEMPLATES, TEXTS


def run(encode: Encode, name: str) -> str:
    """Encode the texts `name`: none (zeros: a constant user), template, items, or a policy's samples."""
    model, tokenizer = load_encoder(paths.ENCODER), load_tokenizer(paths.ENCODER)
    rows = ITEMS.read(paths.ITEMS)["item"] if name == "items" else FOLD_USERS.read(paths.FOLD_USERS)["user"]
    if name == "none":
        encoded = torch.zeros(len(rows), 1, model.config.hidden_size)
    else:
        texts = _read(name, rows)
        identity = fingerprint([sha256(paths.ENCODER), store.code(*CODE, threads=1)])
        flat = encode_texts(model, tokenizer, texts, encode.max_tokens, encode.batch, f"encode {name}", identity)
        encoded = flat.view(len(rows), -1, flat.shape[1])
    vectors.write_texts(paths.vectors(name), encoded, rows)
    return f"wrote {paths.vectors(name)}, {encoded.shape[0] * encoded.shape[1]} texts of {len(rows)} {rows.name}s"


def _read(name: str, rows: pl.Series) -> list[str]:
    """Texts in the order of `rows` (users or items), then by sample."""
    if name == "items":
        return _in_order(ITEM_TEXTS.read(paths.ITEM_TEXTS), rows)
    return _in_order(TEMPLATES.read(paths.TEMPLATES) if name == "template" else TEXTS.read(paths.texts(name)), rows)


def _in_order(texts: pl.DataFrame, rows: pl.Series) -> list[str]:
    ordered = rows.to_frame().join(
        texts.sort(rows.name, "sample"), on=rows.name, how="left", maintain_order="left_right"
    )
    if ordered["text"].null_count() or ordered.height != texts.height:
        raise InputError(f"encode: texts and tables name different {rows.name}s; run `dvc repro encode`")
    return ordered["text"].to_list()
