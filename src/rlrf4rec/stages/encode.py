"""Stage encode: vectors of a source of texts and of the item descriptions."""

import polars as pl
import torch

from rlrf4rec import paths, vectors
from rlrf4rec.errors import RLRFError
from rlrf4rec.language.encoder import encode_texts
from rlrf4rec.language.models import load_encoder, load_tokenizer
from rlrf4rec.language.prompts import item_description
from rlrf4rec.params import Encode
from rlrf4rec.tables.interactions import ITEMS
from rlrf4rec.tables.split import FOLD_USERS
from rlrf4rec.tables.texts import TEMPLATES, TEXTS


def run(encode: Encode, name: str) -> str:
    """Encode the texts `name`: none (zeros: a constant user), template, or a policy's samples."""
    users, items = FOLD_USERS.read(paths.FOLD_USERS)["user"], ITEMS.read(paths.ITEMS)
    model, tokenizer = load_encoder(paths.ENCODER), load_tokenizer(paths.ENCODER)
    described = [item_description(r["title"], r["year"], r["genres"]) for r in items.iter_rows(named=True)]
    item_vectors = encode_texts(model, tokenizer, described, encode.max_tokens, encode.batch, f"encode {name} items")
    if name == "none":
        text_vectors = torch.zeros(len(users), 1, item_vectors.shape[1])
    else:
        texts = TEMPLATES.read(paths.TEMPLATES) if name == "template" else TEXTS.read(paths.texts(name))
        rows = _in_order(texts, users)
        flat = encode_texts(model, tokenizer, rows, encode.max_tokens, encode.batch, f"encode {name}")
        text_vectors = flat.view(len(users), -1, flat.shape[1])
    vectors.write(paths.vectors(name), vectors.Vectors(text_vectors, item_vectors), users, items["item"])
    return f"wrote {paths.vectors(name)}, {text_vectors.shape[0] * text_vectors.shape[1]} texts, {len(items)} items"


def _in_order(texts: pl.DataFrame, users: pl.Series) -> list[str]:
    """Texts ordered by the users table, then by sample; RLRFError when users differ."""
    ordered = pl.DataFrame({"user": users}).join(
        texts.sort("user", "sample"), on="user", how="left", maintain_order="left_right"
    )
    if ordered["text"].null_count() or ordered.height != texts.height:
        raise RLRFError("encode: texts and data/split/users.parquet name different users; run `dvc repro encode`")
    return ordered["text"].to_list()
