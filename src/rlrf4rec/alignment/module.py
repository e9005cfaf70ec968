"""DPO as a LightningModule on packed pairs, with reference log-probabilities computed once before."""

from collections.abc import Callable
from dataclasses import dataclass

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from peft import PeftModel
from torch import Tensor
from torch.utils.data import DataLoader

from rlrf4rec.alignment.loss import LogProbs, dpo_loss
from rlrf4rec.alignment.packed import TokenPair, completion_log_probs, pack
from rlrf4rec.progress import Progress


@dataclass(frozen=True)
class Settings:
    """How DPO trains; `warmup` is the share of steps with a rising rate, after which it falls linearly to 0."""

    beta: float
    learning_rate: float
    batch: int
    epochs: int
    warmup: float
    weight_decay: float
    max_grad_norm: float
    precision: str
    seed: int


@dataclass(frozen=True)
class Step:
    """What one optimiser step saw, averaged over its pairs."""

    step: int
    loss: float
    margin: float
    accuracy: float
    chosen: float
    rejected: float


class PairData(L.LightningDataModule):
    """Shuffled batches of pair numbers."""

    def __init__(self, pairs: int, batch: int, seed: int) -> None:
        super().__init__()
        self.pairs, self.batch, self.seed = pairs, batch, seed

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Batches of row numbers."""
        generator = torch.Generator().manual_seed(self.seed)
        return DataLoader(torch.arange(self.pairs), self.batch, shuffle=True, generator=generator)  # type: ignore[arg-type]


class Dpo(L.LightningModule):
    """Trains the adapter of `policy`; `reference` holds the log-probabilities of all pairs, [pairs]."""

    def __init__(
        self,
        policy: PeftModel,
        pairs: list[TokenPair],
        reference: LogProbs,
        settings: Settings,
        halfway: Callable[[], None] | None = None,
    ) -> None:
        """`halfway` is called once after half of the steps; an exception of it ends the training."""
        super().__init__()
        self.halfway = halfway
        self.policy, self.pairs, self.reference, self.settings = policy, pairs, reference, settings
        self.steps: list[Step] = []
        self.progress: Progress | None = None
        self.total = -(-len(pairs) // settings.batch) * settings.epochs

    def training_step(self, rows: Tensor) -> Tensor:
        """DPO loss of a batch of pairs."""
        batch = pack([self.pairs[i] for i in rows.tolist()]).to(self.device)
        policy = completion_log_probs(self.policy.get_base_model(), batch)  # type: ignore[arg-type]
        rows = rows.cpu()
        reference = LogProbs(self.reference.chosen[rows].to(self.device), self.reference.rejected[rows].to(self.device))
        losses, margins = dpo_loss(policy, reference, self.settings.beta)
        loss = losses.mean()
        self.steps.append(
            Step(
                len(self.steps),
                float(loss.detach()),
                float(margins.detach().mean()),
                float((margins.detach() > 0).float().mean()),
                float((policy.chosen - reference.chosen).detach().mean()),
                float((policy.rejected - reference.rejected).detach().mean()),
            )
        )
        if self.progress:
            self.progress.advance(len(rows), f"loss {self.steps[-1].loss:.3f}, margin {self.steps[-1].margin:+.3f}")
        return loss

    def on_train_batch_end(self, *args: object) -> None:
        """Call `halfway` when it is time."""
        if self.halfway and len(self.steps) == self.total // 2:
            self.halfway()
            self.policy.train()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with linear warm-up and decay, stepped with every batch."""
        s = self.settings
        optimizer = torch.optim.AdamW(
            [p for p in self.policy.parameters() if p.requires_grad], lr=s.learning_rate, weight_decay=s.weight_decay
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate(self.total, s.warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def rate(total: int, warmup: float) -> Callable[[int], float]:
    """Factor of the learning rate at a step: linear warm-up over `warmup` of the steps, then linear to 0."""
    rising = max(1, round(total * warmup)) if warmup else 0

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return max(0.0, (total - step) / max(1, total - rising))

    return factor


@torch.no_grad()
def reference_log_probs(policy: PeftModel, pairs: list[TokenPair], batch: int, precision: str, what: str) -> LogProbs:
    """Log-probabilities of all pairs under the policy as it stands, [pairs], on the CPU."""
    policy.eval()
    if torch.cuda.is_available():
        policy.cuda()
    progress = Progress(len(pairs), what)
    parts = []
    with torch.autocast(policy.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        for begin in range(0, len(pairs), batch):
            some = pairs[begin : begin + batch]
            parts.append(completion_log_probs(policy.get_base_model(), pack(some).to(policy.device)))  # type: ignore[arg-type]
            progress.advance(len(some))
    progress.close()
    return LogProbs(torch.cat([p.chosen.cpu() for p in parts]), torch.cat([p.rejected.cpu() for p in parts]))


def train(module: Dpo, what: str) -> list[Step]:
    """Run DPO with Lightning; the policy is changed in place."""
    s = module.settings
    module.progress = Progress(len(module.pairs) * s.epochs, what)
    module.policy.train()
    trainer = L.Trainer(
        max_epochs=s.epochs,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        precision="bf16-mixed" if s.precision == "bfloat16" else "32-true",
        gradient_clip_val=s.max_grad_norm,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(s.seed)
        trainer.fit(module, datamodule=PairData(len(module.pairs), s.batch, s.seed))
    module.progress.close()
    module.policy.eval()
    return module.steps
