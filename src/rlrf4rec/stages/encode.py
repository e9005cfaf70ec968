"""Stage encode: vectors of a source of texts about users, or of the texts about items."""

import torch

from rlrf4rec import paths, store
from rlrf4rec.encoding.encoder import cut, encode_texts, reach
from rlrf4rec.encoding.making import load_making
from rlrf4rec.errors import InputError
from rlrf4rec.files import fingerprint, sha256
from rlrf4rec.llm.models import load_encoder
from rlrf4rec.llm.tokenizer import load_tokenizer
from rlrf4rec.params import Encode
from rlrf4rec.tables import vectors
from rlrf4rec.tables.interactions import ITEMS
from rlrf4rec.tables.split import FOLD_USERS
from rlrf4rec.tables.texts import ITEM_TEXTS, TEMPLATES, TEXTS

CONTRACTS = {"items": ITEM_TEXTS, "template": TEMPLATES, "none": TEMPLATES}  # texts of all; others are sampled


def run(encode: Encode, name: str) -> str:
    """Encode the texts `name`; returns the closing line. A user that has none gets NaN: nobody may read it."""
    model, tokenizer = load_encoder(paths.ENCODER), load_tokenizer(paths.ENCODER)
    making = load_making(paths.ENCODER, tokenizer, encode.prompt)
    rows = ITEMS.read(paths.ITEMS)["item"] if name == "items" else FOLD_USERS.read(paths.FOLD_USERS)["user"]
    texts = CONTRACTS.get(name, TEXTS).read(paths.texts(name)).select(rows.name, "sample", "text")
    there = rows.is_in(texts[rows.name].implode())
    ordered = (
        rows.filter(there)
        .to_frame()
        .join(texts.sort(rows.name, "sample"), on=rows.name, how="left", maintain_order="left_right")
    )
    if ordered.height != texts.height or (name in CONTRACTS and not there.all()):
        raise InputError(f"{paths.texts(name)}: names other {rows.name}s than the tables; run `dvc repro encode`")
    identity = fingerprint([sha256(paths.ENCODER), store.code("stages.encode", threads=1)])
    listed, what = ordered["text"].to_list(), f"encode {name}"
    flat = encode_texts(model, tokenizer, listed, encode.max_tokens, encode.batch, what, identity, making)
    found = flat.view(int(there.sum()), -1, flat.shape[1])
    encoded = torch.full((len(rows), *found.shape[1:]), torch.nan)
    encoded[torch.tensor(there.to_list())] = found
    vectors.write_texts(paths.vectors(name), encoded, rows)
    limit = reach(model, tokenizer, encode.max_tokens)
    longer = cut(tokenizer, listed, limit, making.prompt)
    cut_note = f", {longer} of them cut at {limit} tokens," if longer else ""
    return f"wrote {paths.vectors(name)}, {flat.shape[0]} texts{cut_note} of {len(found)} of {len(rows)} {rows.name}s"
