"""Encoding texts, mean pooling over tokens, unit length: by Lightning on a GPU, in workers of one thread on a CPU."""

from collections.abc import Iterator
from typing import Any

import lightning as L
import polars as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from rlrf4rec import store, workers
from rlrf4rec.files import fingerprint
from rlrf4rec.progress import Progress

SCHEMA: dict[str, Any] = {"text": pl.String, "vector": pl.List(pl.Float32)}
Row = tuple[str, list[float]]  # of SCHEMA


class TextData(L.LightningDataModule):
    """Batches of texts of like length; each batch is a list of rows."""

    def __init__(self, texts: list[str], batch: int) -> None:
        super().__init__()
        order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), texts[i]))
        self.batches = [order[i : i + batch] for i in range(0, len(order), batch)]

    def predict_dataloader(self) -> DataLoader[list[int]]:
        """One element per batch, as it is: no collation."""
        return DataLoader(self.batches, batch_size=None, collate_fn=list)  # type: ignore[arg-type]


class Encoder(L.LightningModule):
    """Sentence vectors: mean of the last hidden states over the tokens, scaled to length 1."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: object, texts: list[str], max_tokens: int, shelf: store.Rows | None
    ) -> None:
        super().__init__()
        self.shelf = shelf
        self.model, self.tokenizer, self.texts, self.max_tokens = model, tokenizer, texts, max_tokens
        self.progress: Progress | None = None

    def predict_step(self, batch: list[int]) -> list[Row]:
        """Rows of the batch's texts."""
        rows = self.encode(batch)
        self.take(rows)
        return rows

    def take(self, rows: list[Row]) -> None:
        """Keep and count what was encoded."""
        if self.shelf:
            self.shelf.add(pl.DataFrame(rows, SCHEMA, orient="row"))
        if self.progress:
            self.progress.advance(len(rows))

    @torch.inference_mode()
    def encode(self, batch: list[int]) -> list[Row]:
        """Texts of a batch with their vectors; uses no library with threads of its own: a forked worker can run it."""
        tokens = self.tokenizer(  # type: ignore[operator]
            [self.texts[row] for row in batch],
            padding=True,
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        ).to(self.device)
        hidden = self.model(**tokens).last_hidden_state.float()
        mask = tokens["attention_mask"][..., None].float()
        pooled = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        vectors = torch.nn.functional.normalize(pooled, dim=-1).cpu()
        return list(zip((self.texts[row] for row in batch), vectors.tolist(), strict=True))


def encode_texts(
    model: PreTrainedModel,
    tokenizer: object,
    texts: list[str],
    max_tokens: int,
    batch: int,
    what: str,
    identity: str | None,
) -> Tensor:
    """Vectors of `texts`, float32 [texts, width]; equal texts are encoded once.

    `identity` names the encoder in the store, where vectors are kept as batches finish; None keeps nothing. They
    are kept for these texts alone: a vector's last bits depend on the texts beside it in its batch, so vectors of
    other work would make the result depend on what ran before.
    """
    distinct = sorted(set(texts))
    key = fingerprint([identity, max_tokens, batch, distinct])
    shelf = store.Rows("encode", key, ["text"]) if identity else None
    found = shelf.load() if shelf else None
    vectors = {} if found is None else {text: torch.tensor(vector) for text, vector in found.iter_rows()}
    missing = [text for text in distinct if text not in vectors]
    if missing:
        encoder = Encoder(model, tokenizer, missing, max_tokens, shelf)
        encoder.progress = Progress(len(missing), what)
        for rows in _predict(encoder, TextData(missing, batch)):
            vectors.update({text: torch.tensor(vector) for text, vector in rows})
        encoder.progress.close()
    if shelf:
        shelf.flush()
    return torch.stack([vectors[text] for text in texts])


def _predict(encoder: Encoder, data: TextData) -> Iterator[list[Row]]:
    """Rows of all batches as they are finished."""
    if not torch.cuda.is_available():
        for rows in workers.spread(encoder.encode, data.batches):
            encoder.take(rows)
            yield rows
        return
    trainer = L.Trainer(
        logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="gpu", devices=1
    )
    yield from trainer.predict(encoder, datamodule=data) or []  # type: ignore[misc]
