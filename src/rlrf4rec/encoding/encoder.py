"""Encoding texts: vectors of length 1."""

from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlrf4rec import store
from rlrf4rec.encoding.making import MEAN, Making
from rlrf4rec.errors import InputError
from rlrf4rec.files import fingerprint
from rlrf4rec.llm.predict import predict
from rlrf4rec.llm.tokenizer import load_tokenizer
from rlrf4rec.progress import Progress

SCHEMA: dict[str, Any] = {"text": pl.String, "vector": pl.List(pl.Float32)}
Row = tuple[str, list[float]]  # of SCHEMA
CONFIG = "tokenizer_config.json"


def load_tokenizer_of(folder: Path) -> Any:
    """The tokenizer of an encoder's folder; InputError when nothing there says how long a text may be.

    transformers would go by the defaults of its kind, and texts would be cut elsewhere.
    """
    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder / CONFIG}: missing; run `dvc repro fetch_models`")
    return load_tokenizer(folder)


def positions(model: PreTrainedModel) -> int | None:
    """Tokens of a text that the encoder has positions for; None where there is no end to them."""
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    if isinstance(table, torch.nn.Embedding):  # RoBERTa's kind counts from behind the position of padding
        return table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
    size = getattr(model.config, "max_position_embeddings", None)
    return size if size and size > 0 else None


def reach(model: PreTrainedModel, tokenizer: Any, max_tokens: int) -> int:
    """Tokens of a text that are read: `max_tokens`, or the encoder's own length: of its tokenizer, of its positions."""
    return min(max_tokens, int(tokenizer.model_max_length), positions(model) or max_tokens)


def cut(tokenizer: Any, texts: list[str], limit: int, prompt: str = "") -> int:
    """How many of the texts have more than `limit` tokens, of which the rest isn't read; equal texts count each.

    prompt: stands before each of them, and counts.
    """
    tokens = tokenizer([prompt + text for text in texts], add_special_tokens=True)["input_ids"] if texts else []
    return sum(len(row) > limit for row in tokens)


def batches_of(texts: list[str], batch: int) -> list[list[int]]:
    """Batches of rows, texts of like length together."""
    order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), texts[i]))
    return [order[i : i + batch] for i in range(0, len(order), batch)]


class Encoder:
    """Sentence vectors of the last hidden states, as `making` says."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: object,
        texts: list[str],
        max_tokens: int,
        shelf: store.Rows | None,
        making: Making = MEAN,
    ) -> None:
        self.shelf, self.making = shelf, making
        self.model, self.tokenizer, self.texts, self.max_tokens = model, tokenizer, texts, max_tokens
        self.progress: Progress | None = None
        self.vectors: dict[str, Tensor] = {}

    def take(self, rows: list[Row]) -> None:
        """Keep and count what was encoded."""
        if self.shelf:
            self.shelf.add(pl.DataFrame(rows, SCHEMA, orient="row"))
        if self.progress:
            self.progress.advance(len(rows))
        self.vectors.update({text: torch.tensor(vector) for text, vector in rows})

    @torch.inference_mode()
    def encode(self, batch: list[int]) -> list[Row]:
        """Texts of a batch with their vectors; uses no library with threads of its own: a forked worker can run it."""
        tokens = self.tokenizer(  # type: ignore[operator]
            [self.making.prompt + self.texts[row] for row in batch],
            padding=True,
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        ).to(self.model.device)
        hidden = self.model(**tokens).last_hidden_state.float()
        vectors = self.making.vectors(hidden, tokens["attention_mask"]).cpu()
        return list(zip((self.texts[row] for row in batch), vectors.tolist(), strict=True))


def encode_texts(
    model: PreTrainedModel,
    tokenizer: object,
    texts: list[str],
    max_tokens: int,
    batch: int,
    what: str,
    identity: str | None,
    making: Making = MEAN,
) -> Tensor:
    """Vectors of `texts`, float32 [texts, width]; equal texts are encoded once, longer ones cut at `reach`.

    InputError when the encoder's prompt leaves no room for a text.

    `identity` names the encoder in the store, where vectors are kept as batches finish; None keeps nothing. They
    are kept for these texts alone: a vector's last bits depend on the texts beside it in its batch, so vectors of
    other work would make the result depend on what ran before.
    """
    distinct = sorted(set(texts))
    max_tokens = reach(model, tokenizer, max_tokens)
    if making.prompt and cut(tokenizer, [""], max_tokens - 1, making.prompt):
        raise InputError(
            f"encode.max_tokens: the encoder's prompt {making.prompt!r} alone fills the {max_tokens} tokens that are "
            "read; raise it, or take another encode.prompt"
        )
    key = fingerprint([identity, max_tokens, batch, distinct, making.prompt])
    shelf = store.Rows("encode", key, ["text"]) if identity else None
    found = shelf.load() if shelf else None
    vectors = {} if found is None else {text: torch.tensor(vector) for text, vector in found.iter_rows()}
    missing = [text for text in distinct if text not in vectors]
    if missing:
        model = model.to("cuda" if torch.cuda.is_available() else "cpu")  # type: ignore[arg-type]
        for module in making.modules:
            module.to(model.device)
        encoder = Encoder(model, tokenizer, missing, max_tokens, shelf, making)
        encoder.progress = Progress(len(missing), what)
        predict(model, encoder.encode, batches_of(missing, batch), encoder.take)
        vectors |= encoder.vectors
        encoder.progress.close()
    if shelf:
        shelf.flush()
    return torch.stack([vectors[text] for text in texts])
