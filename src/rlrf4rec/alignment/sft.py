"""Supervised fine-tuning on the chosen texts (rejection sampling): the same pairs, without the rejected side."""

import torch
from torch import Tensor

from rlrf4rec.alignment.loss import LogProbs
from rlrf4rec.alignment.module import Dpo, Step
from rlrf4rec.alignment.packed import completion_log_probs, pack


class Sft(Dpo):
    """Trains the adapter to write the chosen texts: mean negative log-likelihood of their tokens, in nats a token."""

    def training_step(self, rows: Tensor) -> Tensor:
        """SFT loss of a batch; margin, chosen and rejected are reported as in DPO."""
        pairs = [self.pairs[i] for i in rows.tolist()]
        policy = completion_log_probs(self.policy.get_base_model(), pack(pairs).to(self.device))  # type: ignore[arg-type]
        tokens = torch.tensor([len(pair.chosen) for pair in pairs], device=policy.chosen.device)
        loss = -(policy.chosen / tokens).mean()
        rows = rows.cpu()
        moved = LogProbs(policy.chosen.detach().cpu(), policy.rejected.detach().cpu())
        chosen, rejected = moved.chosen - self.reference.chosen[rows], moved.rejected - self.reference.rejected[rows]
        margin = (chosen - rejected) * self.settings.beta
        self.steps.append(
            Step(
                len(self.steps),
                float(loss.detach()),
                float(margin.mean()),
                float((margin > 0).float().mean()),
                float(chosen.mean()),
                float(rejected.mean()),
            )
        )
        if self.progress:
            self.progress.advance(len(rows), f"loss {self.steps[-1].loss:.3f}")
        return loss
