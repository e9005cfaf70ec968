"""SASRec (Kang & McAuley, ICDM 2018), small: the next item from the last ones by causal self-attention.

Full softmax cross-entropy in place of the paper's one sampled negative: on small catalogues it is cheap and better.
"""

from dataclasses import dataclass

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from rlrf4rec import trainers
from rlrf4rec.seeds import seeded
from rlrf4rec.workers import one_thread


@dataclass(frozen=True)
class SASRecSettings:
    """Size and training of the net; `length` is how many of a user's last items it reads."""

    width: int = 64
    blocks: int = 2
    heads: int = 2
    dropout: float = 0.2
    length: int = 50
    learning_rate: float = 0.002
    batch: int = 64
    epochs: int = 10


class SASRec(L.LightningModule):
    """Logits over the catalogue for the item after each place; the item embeddings are also the output layer.

    sequences [S, T]: item places 0..I-1 in time order, padded at the end with I.
    Differs from the paper in PyTorch's block: queries, keys and values are all normalised.
    """

    def __init__(self, items: int, settings: SASRecSettings = SASRecSettings()) -> None:
        super().__init__()
        self.items, self.settings = items, settings
        self.item = nn.Embedding(items + 1, settings.width, padding_idx=items)
        self.place = nn.Embedding(settings.length, settings.width)
        for table in (self.item, self.place):
            nn.init.normal_(table.weight, std=settings.width**-0.5)
        self.item.weight.data[items] = 0.0
        self.dropout = nn.Dropout(settings.dropout)
        block = nn.TransformerEncoderLayer(
            settings.width, settings.heads, settings.width, settings.dropout, batch_first=True, norm_first=True
        )
        last = nn.LayerNorm(settings.width)
        self.blocks = nn.TransformerEncoder(block, settings.blocks, last, enable_nested_tensor=False)
        self.losses: list[float] = []
        self.epoch_losses: list[Tensor] = []

    def forward(self, sequences: Tensor) -> Tensor:
        """States [S, T, W]; padding comes last, so the causal mask alone hides it from every real place."""
        length = sequences.shape[1]
        x = self.dropout(self.item(sequences) + self.place.weight[:length])
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        states: Tensor = self.blocks(x, mask=mask, is_causal=True)
        return states

    def training_step(self, batch: Tensor) -> Tensor:
        """Cross-entropy of the item after each place; batch [B, T + 1]."""
        before, after = batch[:, :-1], batch[:, 1:]
        known = after != self.items
        logits = self(before)[known] @ self.item.weight[: self.items].T
        loss = cross_entropy(logits, after[known])
        self.epoch_losses.append(loss.detach())
        return loss

    def on_train_epoch_end(self) -> None:
        """Keep the epoch's mean loss."""
        self.losses.append(float(torch.stack(self.epoch_losses).mean()))
        self.epoch_losses.clear()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam, as in the paper."""
        return torch.optim.Adam(self.parameters(), lr=self.settings.learning_rate)

    @one_thread()
    @torch.inference_mode()
    def score(self, queries: list[NDArray[np.int64]]) -> NDArray[np.float64]:
        """Scores [Q, I] of every item as the next one; a query's last `length` items are read."""
        length = self.settings.length
        self.eval()
        sequences = padded([query[-length:] for query in queries], length, self.items)
        last = torch.tensor([min(len(query), length) - 1 for query in queries])
        states = self(sequences)[torch.arange(len(queries)), last]
        return (states @ self.item.weight[: self.items].T).double().numpy()


def padded(sequences: list[NDArray[np.int64]], length: int, padding: int) -> Tensor:
    """Sequences [S, length], padded at the end."""
    rows = np.full((len(sequences), length), padding)
    for row, sequence in zip(rows, sequences, strict=True):
        row[: len(sequence)] = sequence
    return torch.from_numpy(rows)


def pieces(sequence: NDArray[np.int64], length: int) -> list[NDArray[np.int64]]:
    """Cut a sequence, from its end, into pieces of up to `length` + 1 items; all but its first are a target once."""
    ends = range(len(sequence), 1, -length)
    return [sequence[max(0, end - length - 1) : end] for end in ends]


@one_thread()
def fit(
    sequences: list[NDArray[np.int64]], items: int, seed: int, settings: SASRecSettings = SASRecSettings()
) -> SASRec:
    """Train on users' time-ordered item places; on the CPU, deterministic given the seed."""
    cut = [piece for sequence in sequences for piece in pieces(sequence, settings.length)]
    rows: Dataset[Tensor] = padded(cut, settings.length + 1, items)  # type: ignore[assignment]
    trainer = trainers.trainer(max_epochs=settings.epochs, accelerator="cpu")
    with seeded(seed):
        net = SASRec(items, settings)
        generator = torch.Generator().manual_seed(seed)
        trainer.fit(net, DataLoader(rows, settings.batch, shuffle=True, generator=generator))
    return net.eval()
