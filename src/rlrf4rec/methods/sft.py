"""Supervised fine-tuning on the chosen texts (rejection sampling): the same pairs, without the rejected side."""

from dataclasses import replace

import torch
from torch import Tensor

from rlrf4rec.alignment.module import DpoModule, DpoSettings, Judged
from rlrf4rec.methods.method import Method
from rlrf4rec.params import TrainPolicy


class Sft(DpoModule):
    """Trains the adapter to write the chosen texts: mean negative log-likelihood of their tokens, in nats a token."""

    def judge(self, rows: Tensor) -> Judged:
        """The SFT losses of the pairs `rows`; margin, chosen and rejected are reported as in DPO."""
        policy, reference = self.log_probs(rows)
        tokens = torch.tensor([len(self.pairs[i].chosen) for i in rows.tolist()], device=policy.chosen.device)
        chosen, rejected = policy.chosen - reference.chosen, policy.rejected - reference.rejected
        return Judged(-(policy.chosen / tokens), (chosen - rejected) * self.settings.beta, chosen, rejected)


def settings(of_dpo: DpoSettings, p: TrainPolicy) -> DpoSettings:
    """Those of DPO with a rate and epochs of its own."""
    return replace(of_dpo, learning_rate=p.sft_learning_rate, epochs=p.sft_epochs)


METHOD = Method(loss=Sft, settings=settings)
