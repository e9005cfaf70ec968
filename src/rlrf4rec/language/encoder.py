"""Encoding texts as a LightningModule run with `Trainer.predict`: mean pooling over tokens, unit length."""

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from rlrf4rec.progress import Progress


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

    def __init__(self, model: PreTrainedModel, tokenizer: object, texts: list[str], max_tokens: int) -> None:
        super().__init__()
        self.model, self.tokenizer, self.texts, self.max_tokens = model, tokenizer, texts, max_tokens
        self.progress: Progress | None = None

    def predict_step(self, batch: list[int]) -> Tensor:
        """Vectors [rows, width] of the batch's texts."""
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
        if self.progress:
            self.progress.advance(len(batch))
        return torch.nn.functional.normalize(pooled, dim=-1).cpu()


def encode_texts(
    model: PreTrainedModel, tokenizer: object, texts: list[str], max_tokens: int, batch: int, what: str
) -> Tensor:
    """Vectors of `texts`, float32 [texts, width]; equal texts are encoded once."""
    distinct = sorted(set(texts))
    data = TextData(distinct, batch)
    encoder = Encoder(model, tokenizer, distinct, max_tokens)
    encoder.progress = Progress(len(distinct), what)
    trainer = L.Trainer(
        logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="auto", devices=1
    )
    pieces = trainer.predict(encoder, datamodule=data)
    encoder.progress.close()
    vectors = torch.cat(pieces)  # type: ignore[arg-type]
    place = {distinct[row]: i for i, row in enumerate(r for rows in data.batches for r in rows)}
    return vectors[torch.tensor([place[text] for text in texts])]
