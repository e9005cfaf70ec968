"""DPO as a LightningModule on packed pairs, with reference log-probabilities computed once before."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import lightning as L
import polars as pl
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from peft import PeftModel
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from rlrf4rec import store, trainers
from rlrf4rec.alignment.loss import LogProbs, dpo_loss
from rlrf4rec.alignment.packed import TokenPair, completion_log_probs, pack
from rlrf4rec.alignment.steps import Step
from rlrf4rec.checkpoints import STEPS, Checkpoint
from rlrf4rec.progress import Progress

LOG_PROBS = {"pair": pl.Int64, "chosen": pl.Float32, "rejected": pl.Float32}


@dataclass(frozen=True)
class DpoSettings:
    """How DPO trains.

    `batch` pairs go through the LLM at once, and a step of the optimiser takes `accumulate` such batches. `warmup` is
    the share of steps with a rising rate, after which it falls linearly to 0.
    """

    beta: float
    learning_rate: float
    batch: int
    epochs: int
    warmup: float
    weight_decay: float
    max_grad_norm: float
    precision: str
    seed: int
    device: str = "cpu"
    accumulate: int = 1

    @property
    def step_pairs(self) -> int:
        """Pairs of a step of the optimiser."""
        return self.batch * self.accumulate


@dataclass(frozen=True)
class Judged:
    """Losses and margins of pairs, and how far their texts moved from the reference, in nats; [pairs] each."""

    loss: Tensor
    margin: Tensor
    chosen: Tensor
    rejected: Tensor

    def detached(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The four without their graph."""
        return self.loss.detach(), self.margin.detach(), self.chosen.detach(), self.rejected.detach()


class PairData(L.LightningDataModule):
    """Pair numbers of each step, shuffled anew in each epoch; the steps of all epochs in a row, from `begin` on."""

    def __init__(self, pairs: int, step_pairs: int, epochs: int, seed: int, begin: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        orders = [torch.randperm(pairs, generator=generator) for _ in range(epochs)]
        self.batches = [rows for order in orders for rows in order.split(step_pairs)][begin:]

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Batches of row numbers."""
        return DataLoader(self.batches, batch_size=None)  # type: ignore[arg-type]


class DpoModule(L.LightningModule):
    """Trains the adapter of `policy`; `reference` holds the log-probabilities of all pairs, [pairs]."""

    def __init__(
        self,
        policy: PeftModel,
        pairs: list[TokenPair],
        reference: LogProbs,
        settings: DpoSettings,
        halfway: Callable[[], None] | None = None,
    ) -> None:
        """`halfway` is called once after half of the steps; an exception of it ends the training."""
        super().__init__()
        self.automatic_optimization = False
        self.halfway = halfway
        self.policy, self.pairs, self.reference, self.settings = policy, pairs, reference, settings
        self.steps: list[Step] = []
        self.checkpoint: Checkpoint | None = None
        self.progress: Progress | None = None
        self.total = -(-len(pairs) // settings.step_pairs) * settings.epochs

    def training_step(self, rows: Tensor) -> None:
        """One step of the optimiser on the mean loss of its pairs, which go through the LLM in batches."""
        optimizer = cast(LightningOptimizer, self.optimizers())
        optimizer.zero_grad()
        seen = []
        for batch in rows.split(self.settings.batch):
            judged = self.judge(batch.cpu())
            self.manual_backward(judged.loss.sum() / len(rows))
            seen.append(judged.detached())
        self.clip_gradients(optimizer.optimizer, self.settings.max_grad_norm, "norm")
        optimizer.step()
        cast(LambdaLR, self.lr_schedulers()).step()
        loss, margin, chosen, rejected = (torch.cat(values) for values in zip(*seen, strict=True))
        accuracy = (margin > 0).float()
        means = [float(values.mean()) for values in (loss, margin, accuracy, chosen, rejected)]
        self.steps.append(Step(len(self.steps), *means))
        if self.progress:
            self.progress.advance(len(rows), f"loss {means[0]:.3f}, margin {means[1]:+.3f}")

    def log_probs(self, rows: Tensor) -> tuple[LogProbs, LogProbs]:
        """Log-probabilities of the pairs `rows` under the policy and, as they were before, under the reference."""
        batch = pack([self.pairs[i] for i in rows.tolist()]).to(self.device)
        policy = completion_log_probs(self.policy.get_base_model(), batch)  # type: ignore[arg-type]
        chosen, rejected = (values[rows].to(self.device) for values in (self.reference.chosen, self.reference.rejected))
        return policy, LogProbs(chosen, rejected)

    def judge(self, rows: Tensor) -> Judged:
        """The DPO losses of the pairs `rows`."""
        policy, reference = self.log_probs(rows)
        losses, margins = dpo_loss(policy, reference, self.settings.beta)
        return Judged(losses, margins, policy.chosen - reference.chosen, policy.rejected - reference.rejected)

    def on_train_start(self) -> None:
        """Bring the random generators to where they were, after the loader has drawn its own numbers from it."""
        if self.checkpoint:
            for name, generator in self._generators().items():
                self.checkpoint.restore_generator(name, generator)

    def on_train_batch_end(self, *args: object) -> None:
        """Keep a checkpoint and call `halfway` when it is time."""
        if self.checkpoint and len(self.steps) < self.total:
            optimizer = self.optimizers().optimizer  # type: ignore[union-attr]
            notes = [vars(step) for step in self.steps]
            self.checkpoint.keep(self.policy, optimizer, self._generators(), notes, len(notes))
        if self.halfway and len(self.steps) == self.total // 2:
            self.halfway()
            self.policy.train()

    def _generators(self) -> dict[str, torch.Generator]:
        """Those that dropout may draw from: of a policy on a GPU, that GPU's."""
        device = self.policy.device
        gpu = {"gpu": torch.cuda.default_generators[device.index or 0]} if device.type == "cuda" else {}
        return {"torch": torch.default_generator, **gpu}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with linear warm-up and decay."""
        s = self.settings
        optimizer = torch.optim.AdamW(
            [p for p in self.policy.parameters() if p.requires_grad], lr=s.learning_rate, weight_decay=s.weight_decay
        )
        if self.checkpoint:
            self.checkpoint.restore(self.policy, optimizer)
        factor, done = rate(self.total, s.warmup), len(self.steps)
        schedule = LambdaLR(optimizer, lambda step: factor(done + step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule}}


def rate(total: int, warmup: float) -> Callable[[int], float]:
    """Factor of the learning rate at a step: linear warm-up over `warmup` of the steps, then linear to 0."""
    rising = max(1, round(total * warmup)) if warmup else 0

    def factor(step: int) -> float:
        """From 0 to 1."""
        if step < rising:
            return (step + 1) / rising
        return max(0.0, (total - step) / max(1, total - rising))

    return factor


@torch.no_grad()
def reference_log_probs(
    policy: PeftModel | PreTrainedModel,
    pairs: list[TokenPair],
    batch: int,
    precision: str,
    what: str,
    identity: str | None,
) -> LogProbs:
    """Log-probabilities of all pairs under the policy as it stands, [pairs], on the CPU.

    `identity` names the policy in the store, where they are kept as batches finish; None keeps nothing.
    """
    policy.eval()
    model = cast(PreTrainedModel, policy.get_base_model() if isinstance(policy, PeftModel) else policy)
    key = store.digest(store.code("alignment.module"), identity, pairs, batch, precision)
    shelf = store.Rows("log_probs", key, ["pair"]) if identity else None
    found = shelf.load() if shelf else None
    known = {} if found is None else {pair: (chosen, rejected) for pair, chosen, rejected in found.iter_rows()}
    progress = Progress(len(pairs), what)
    with torch.autocast(policy.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        for rows in torch.arange(len(pairs)).split(batch):
            if int(rows[0]) not in known:
                packed = pack([pairs[row] for row in rows]).to(policy.device)
                some = completion_log_probs(model, packed)
                columns = {"pair": rows.tolist(), "chosen": some.chosen.tolist(), "rejected": some.rejected.tolist()}
                fresh = pl.DataFrame(columns, schema=LOG_PROBS)
                known.update({pair: (chosen, rejected) for pair, chosen, rejected in fresh.iter_rows()})
                if shelf:
                    shelf.add(fresh)
            progress.advance(len(rows))
    progress.close()
    if shelf:
        shelf.flush()
    values = torch.tensor([known[pair] for pair in range(len(pairs))])
    return LogProbs(values[:, 0], values[:, 1])


def train(module: DpoModule, what: str, identity: str | None) -> list[Step]:
    """Run DPO with Lightning; the policy is changed in place.

    `identity` names the LLM below the adapter; with it a killed training goes on from its last checkpoint in the
    store. None keeps no checkpoints.
    """
    s, device = module.settings, module.policy.device
    if identity:
        kind = type(module).__name__
        begin = [p for p in module.policy.parameters() if p.requires_grad]
        key = store.digest(store.code("alignment.module"), identity, kind, begin, module.pairs, module.reference, s)
        module.checkpoint = Checkpoint(STEPS, key)
        module.steps = [Step(**step) for step in module.checkpoint.notes() or []]
    data = PairData(len(module.pairs), s.step_pairs, s.epochs, s.seed, len(module.steps))
    module.progress = Progress(sum(len(rows) for rows in data.batches), what)
    module.policy.train()
    trainer = trainers.trainer(
        max_epochs=1,
        accelerator="gpu" if s.device == "cuda" else "cpu",
        precision="bf16-mixed" if s.precision == "bfloat16" else "32-true",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(s.seed)
        trainer.fit(module, datamodule=data)
    module.policy.to(device)  # Lightning leaves it on the CPU
    module.progress.close()
    module.policy.eval()
    return module.steps
