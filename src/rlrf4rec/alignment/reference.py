"""Log-probabilities of the pairs' texts under the reference policy: the sampler's own, or computed."""

import polars as pl
import torch
from peft import PeftModel

from rlrf4rec.alignment import module
from rlrf4rec.alignment.loss import LogProbs
from rlrf4rec.alignment.packed import TokenPair


def sampler_log_probs(frame: pl.DataFrame) -> LogProbs:
    """What the sampler said of the texts under the policy that wrote them, [pairs]."""
    columns = frame["chosen_log_prob"], frame["rejected_log_prob"]
    return LogProbs(*(torch.tensor(column.to_list(), dtype=torch.float32) for column in columns))


def reference(
    policy: PeftModel,
    frame: pl.DataFrame,
    pairs: list[TokenPair],
    wrote: bool,
    batch: int,
    precision: str,
    what: str,
    identity: str | None,
) -> LogProbs:
    """Log-probabilities of all pairs under the policy as it stands, [pairs].

    frame: the table of the pairs. `wrote`: that policy wrote the texts, in this precision. In float32 the sampler's own
    values are taken then, and nothing is computed again. In bfloat16 they are not: a forward of another shape rounds
    elsewhere, by tenths of a nat over a text, and DPO would begin with margins where policy and reference are equal.
    """
    if wrote and precision == "float32":
        return sampler_log_probs(frame)
    return module.reference_log_probs(policy, pairs, batch, precision, what, identity)
