"""Training a re-ranker: the LightningModule, its data, and a function that runs both."""

from collections.abc import Callable

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from rlrf4rec import trainers
from rlrf4rec.checkpoints import Checkpoint
from rlrf4rec.metrics.ranking import log_likelihood, ndcg, ranked_labels
from rlrf4rec.ranking import nets
from rlrf4rec.ranking.lists import Lists


class ListData(L.LightningDataModule):
    """Shuffled batches of list rows; the last, smaller batch is kept."""

    def __init__(self, rows: int, batch: int, seed: int) -> None:
        super().__init__()
        self.rows, self.batch = rows, batch
        self.shuffle = torch.Generator().manual_seed(seed)

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Batches of row numbers."""
        rows: Dataset[Tensor] = torch.arange(self.rows)  # type: ignore[assignment]
        return DataLoader(rows, self.batch, shuffle=True, generator=self.shuffle)


class Ranker(L.LightningModule):
    """Trains a net on lists; each list is shown with one of its user's texts, drawn anew each time.

    `texts` [U, S, W]: with S > 1 the net meets all of a user's texts equally often and can't favour one.
    `name`: of the net in `nets.NETS`, whose loss it is trained by.
    `steps`: the learning rate falls linearly to 0 over so many steps; None keeps it constant.
    `losses`, the mean of each epoch, and `validation`, what is measured between epochs, are kept with a checkpoint.
    """

    def __init__(
        self,
        net: nn.Module,
        name: str,
        lists: Lists,
        texts: Tensor,
        learning_rate: float,
        weight_decay: float,
        seed: int,
        steps: int | None = None,
    ) -> None:
        super().__init__()
        self.steps = steps
        self.net, self.loss = net, nets.net(name).loss
        self.lists, self.texts = lists, texts
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.draw = torch.Generator().manual_seed(seed)
        self.losses: list[float] = []
        self.validation: list[float] = []
        self.epoch_losses: list[Tensor] = []
        self.done = 0  # steps that a killed training has made
        self.checkpoint: Checkpoint | None = None
        self.generators = {"torch": torch.default_generator, "draw": self.draw}

    def go_on(self, checkpoint: Checkpoint, data: ListData) -> None:
        """Begin where the checkpoint was made, and make others; at the beginning where there is none."""
        self.checkpoint = checkpoint
        self.generators["shuffle"] = data.shuffle
        if notes := checkpoint.notes():
            self.losses, self.validation = notes["losses"], notes["validation"]
            self.done = len(self.losses) * -(-data.rows // data.batch)
            checkpoint.restore_generator("shuffle", data.shuffle)

    def training_step(self, rows: Tensor) -> Tensor:
        """Loss of a batch of list rows."""
        lists = self.lists[rows]
        sample = torch.randint(self.texts.shape[1], (len(rows),), generator=self.draw)
        loss: Tensor = self.loss(self.net(lists, self.texts[lists.user, sample]), lists.label)
        self.epoch_losses.append(loss.detach())
        return loss

    def on_train_start(self) -> None:
        """Bring the random generators to where they were; that of the loader, which has begun, is there."""
        for name in ("torch", "draw"):
            if self.checkpoint:
                self.checkpoint.restore_generator(name, self.generators[name])

    def on_train_epoch_end(self) -> None:
        """Keep the epoch's mean loss, and a checkpoint when it is time."""
        self.losses.append(float(torch.stack(self.epoch_losses).mean()))
        self.epoch_losses.clear()
        if self.checkpoint and self.current_epoch + 1 < (self.trainer.max_epochs or 0):
            optimizer = self.optimizers().optimizer  # type: ignore[union-attr]
            notes = {"losses": self.losses, "validation": self.validation}
            self.checkpoint.keep(self.net, optimizer, self.generators, notes, len(self.losses))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW."""
        optimizer = torch.optim.AdamW(self.net.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        if self.checkpoint:
            self.checkpoint.restore(self.net, optimizer)
        steps, done = self.steps, self.done
        factor = (lambda step: max(0.0, 1 - (done + step) / steps)) if steps else (lambda step: 1.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class _EachEpoch(L.Callback):
    def __init__(self, call: Callable[[int], bool], done: int) -> None:
        self.call, self.done = call, done

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Call with the epoch's number, the net as it is when it predicts."""
        pl_module.eval()
        if self.call(self.done + trainer.current_epoch):
            trainer.should_stop = True
        pl_module.train()


def fit(
    ranker: Ranker,
    epochs: int,
    batch: int,
    seed: int,
    each_epoch: Callable[[int], bool] | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[float]:
    """Train for `epochs`; `each_epoch(epoch)` is called after each and may end the training by True.

    With a `checkpoint` a killed training goes on from it. Returns the mean loss of each epoch. Trains on the CPU: the
    nets are small and results stay byte-equal.
    """
    data = ListData(len(ranker.lists), batch, seed)
    if checkpoint:
        ranker.go_on(checkpoint, data)
    done = len(ranker.losses)
    callbacks: list[L.Callback] = [_EachEpoch(each_epoch, done)] if each_epoch else []
    trainer = trainers.trainer(max_epochs=epochs - done, accelerator="cpu", callbacks=callbacks)
    ranker.train()
    trainer.fit(ranker, datamodule=data)
    ranker.eval()
    return ranker.losses


@torch.inference_mode()
def predict(net: nn.Module, lists: Lists, text: Tensor, batch: int = 4096) -> Tensor:
    """Scores [L, C] of lists, each with its own text vector, text [L, W]."""
    net.eval()
    rows = torch.arange(len(lists)).split(batch)
    return torch.cat([net(lists[r], text[r]) for r in rows])


def mean_ndcg(net: nn.Module, lists: Lists, texts: Tensor, k: int) -> float:
    """NDCG@k averaged over a user's lists and texts, then over users; texts [U, S, W]."""
    values = torch.stack(
        [ndcg(ranked_labels(predict(net, lists, texts[lists.user, s]), lists.label), k) for s in range(texts.shape[1])]
    ).mean(0)
    return float(user_means(values, lists.user).mean())


def personal_part(net: nn.Module, lists: Lists, texts: Tensor, permuted: Tensor) -> float:
    """Mean log-probability of the positives with own texts less that with another user's, in nats.

    Averaged over a user's lists and texts [U, S, W], those of another user in `permuted`, then over users. How much the
    net makes of what is personal in a text; smooth, so that it tells apart what NDCG can't.
    """
    values = torch.stack(
        [
            log_likelihood(predict(net, lists, texts[lists.user, s]), lists.label)
            - log_likelihood(predict(net, lists, permuted[lists.user, s]), lists.label)
            for s in range(texts.shape[1])
        ]
    ).mean(0)
    return float(user_means(values, lists.user).mean())


def user_means(values: Tensor, user: Tensor) -> Tensor:
    """Means of per-list values [L, ...] over each user's lists; users in rising order, those with lists only."""
    users, place = torch.unique(user, return_inverse=True)
    total = torch.zeros(len(users), *values.shape[1:], dtype=values.dtype).index_add_(0, place, values)
    shape = (-1, *[1] * (values.dim() - 1))
    return total / torch.bincount(place).view(shape)
