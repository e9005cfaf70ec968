"""Shuffled preferences, matched: trained on swapped pairs until the policy has moved as far as the tuned one.

After one pass over pairs that contradict each other a policy has hardly moved, so that what it lacks against the tuned
one could be the way it went or the feedback; this one has gone the same way, in directions that nobody preferred.
"""

from collections.abc import Callable
from dataclasses import replace

from rlrf4rec.alignment.module import DpoModule, DpoSettings
from rlrf4rec.methods import shuffled
from rlrf4rec.methods.method import Method
from rlrf4rec.params import TrainPolicy

LOOKS = 4  # in an epoch, at how far the policy has moved


class Matched(DpoModule):
    """DPO that ends before the last step as soon as the policy has moved far enough.

    The rate falls as if all epochs were trained: where a training ends is not known before.
    """

    far_enough: Callable[[], bool] | None = None

    def on_train_batch_start(self, *args: object) -> int | None:
        """-1, which ends the training, when it is far enough: asked `LOOKS` times an epoch, after a step."""
        done, epoch = len(self.steps), self.total // self.settings.epochs
        if self.far_enough is None or not done or done % max(1, epoch // LOOKS):
            return None
        ended = self.far_enough()
        self.policy.train()
        return -1 if ended else None


def settings(of_dpo: DpoSettings, p: TrainPolicy) -> DpoSettings:
    """Those of DPO with the most epochs that it may take, each in an order of its own."""
    return replace(of_dpo, epochs=p.matched_epochs)


METHOD = Method(loss=Matched, pairs=shuffled.of_round, settings=settings)
