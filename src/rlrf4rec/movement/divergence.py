"""How far two models are apart on texts that one of them wrote: KL per token, exact over the whole vocabulary.

KL(P || Q) of whole texts is the mean, over texts of P, of the sum over their tokens of KL(P || Q) of the next token.
Only the texts are drawn; the mean over the next token is exact, so that an estimate is never below zero and varies less
than log P - log Q of the drawn tokens, of which it is the conditional mean (Rao-Blackwell). Texts that were drawn with
a top-p below 1 leave out what the tail begins; what would follow a text that was cut at its most tokens is left out.
"""

from dataclasses import asdict, dataclass
from typing import cast

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax
from transformers import PreTrainedModel

from rlrf4rec.alignment.packed import Packed, TokenPair, completion_states, pack
from rlrf4rec.progress import Progress

CHUNK = 32  # tokens whose distributions over the vocabulary live at the same time, in float64


@dataclass(frozen=True)
class Reading:
    """What a model says of texts: its last hidden states of each batch, [tokens, hidden], and the head behind them."""

    head: nn.Module
    states: list[Tensor]


@dataclass(frozen=True)
class Moved:
    """How far apart two models are, in nats a text, with standard errors over prompts, whose two texts go together.

    kl: KL(who wrote the texts || the other); shift: mean |log p of the text - log p under the other|.
    """

    kl: float
    kl_standard_error: float
    shift: float
    shift_standard_error: float

    def report(self) -> dict[str, float]:
        """Its numbers by name."""
        return asdict(self)


@dataclass(frozen=True)
class Apart:
    """Of each text, two for each prompt: KL and |log p - log p under the other|, in nats, [prompts, 2] each."""

    kl: Tensor
    shift: Tensor

    def mean(self) -> Moved:
        """Over all texts."""
        return Moved(*mean_and_error(self.kl), *mean_and_error(self.shift))


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Mean of [prompts, 2] and its standard error over prompts; 0 with a single prompt, of which nothing is known."""
    of_prompts = values.mean(dim=1)
    error = float(of_prompts.std()) / len(of_prompts) ** 0.5 if len(of_prompts) > 1 else 0.0
    return float(of_prompts.mean()), error


@dataclass(frozen=True)
class Texts:
    """Two texts behind each prompt; `batch` prompts go through a model at once, in `precision`."""

    pairs: list[TokenPair]
    batch: int
    precision: str

    def _batches(self) -> list[Packed]:
        numbers = range(0, len(self.pairs), self.batch)
        return [pack(self.pairs[first : first + self.batch]) for first in numbers]

    @torch.no_grad()
    def read(self, model: PeftModel | PreTrainedModel, what: str) -> Reading:
        """What the model says of the texts, as it stands; it was loaded with the attention `packed.NAME`."""
        model.eval()
        plain = cast(PreTrainedModel, model.get_base_model() if isinstance(model, PeftModel) else model)
        progress = Progress(len(self.pairs), what)
        states: list[Tensor] = []
        with torch.autocast(plain.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            for batch in self._batches():
                states.append(completion_states(plain, batch.to(plain.device)))
                progress.advance(len(batch.lengths) // 2)
        progress.close()
        return Reading(cast(nn.Module, plain.get_output_embeddings()), states)

    @torch.no_grad()
    def apart(self, writer: Reading, other: Reading) -> Apart:
        """How far `other` is from the model that wrote the texts."""
        found: list[Tensor] = []
        for batch, own, others in zip(self._batches(), writer.states, other.states, strict=True):
            parts = zip(own.split(CHUNK), others.split(CHUNK), batch.targets.to(own.device).split(CHUNK), strict=True)
            each = torch.cat([_apart(writer.head(p), other.head(q), targets) for p, q, targets in parts])
            found += [torch.stack([text[:, 0].sum(), text[:, 1].sum().abs()]) for text in each.split(batch.lengths)]
        values = torch.stack(found).view(-1, 2, 2)
        return Apart(values[:, :, 0], values[:, :, 1])


def _apart(own: Tensor, others: Tensor, targets: Tensor) -> Tensor:
    """KL of the next token and the log-ratio of the token that is there, [tokens, 2], on the CPU; from logits."""
    p, q = log_softmax(own.double(), dim=-1), log_softmax(others.double(), dim=-1)
    kl = kl_div(q, p, reduction="none", log_target=True).sum(dim=-1).clamp(min=0)  # below zero by rounding alone
    return torch.stack([kl, (p - q).gather(1, targets[:, None])[:, 0]], dim=1).cpu()
