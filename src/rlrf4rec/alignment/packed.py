"""A batch of preference pairs in one row, what they share computed once.

The row is [prefix | prompt, chosen, rejected of pair 1 | of pair 2 | ...]: the tokens that all prompts begin with stand
once, each pair's prompt follows without them, and nothing is padded. All tokens attend to the prefix and to their own
pair's prompt up to themselves; completion tokens attend to their own completion besides, chosen never to rejected.
Chosen and rejected both continue at the position after the prompt. Log-probabilities and gradients equal those of two
separate rows per pair.

Shapes: T tokens of the row, L of the prefix, B pairs, M completion tokens.
"""

from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from rlrf4rec import machine
from rlrf4rec.alignment.loss import LogProbs
from rlrf4rec.llm.models import operations

NAME = "packed_pairs"
CHUNK = 128  # completion tokens whose logits over the vocabulary live at the same time


@dataclass(frozen=True)
class TokenPair:
    """Token ids of one preference pair."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]


@dataclass(frozen=True)
class Packed:
    """tokens, positions [1, T]; prefix = L; for each pair what its S tokens see of prefix and pair, bool [S, L + S];
    for each completion token the place whose output predicts it and its id, [M]; lengths of the completions, chosen
    and rejected in turn, 2B numbers that add up to M."""

    tokens: Tensor
    positions: Tensor
    prefix: int
    visible: tuple[Tensor, ...]
    places: Tensor
    targets: Tensor
    lengths: tuple[int, ...]

    def to(self, device: torch.device) -> "Packed":
        """The same batch on another device."""
        return replace(
            self,
            tokens=self.tokens.to(device),
            positions=self.positions.to(device),
            visible=tuple(mask.to(device) for mask in self.visible),
            places=self.places.to(device),
            targets=self.targets.to(device),
        )


def _shared_prefix(prompts: list[list[int]]) -> int:
    """How many tokens all prompts begin with."""
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*prompts, strict=False)))


def pack(pairs: list[TokenPair]) -> Packed:
    """Pack a batch of pairs; no prompt is empty."""
    prefix = _shared_prefix([pair.prompt for pair in pairs])
    tokens, positions = pairs[0].prompt[:prefix], list(range(prefix))
    visible: list[Tensor] = []
    places: list[int] = []
    for pair in pairs:
        rest = pair.prompt[prefix:]
        last = len(tokens) + len(rest) - 1 if rest else prefix - 1
        tokens = tokens + rest
        positions += range(prefix, len(pair.prompt))
        for completion in (pair.chosen, pair.rejected):
            places += [last, *range(len(tokens), len(tokens) + len(completion) - 1)]
            tokens = tokens + completion
            positions += range(len(pair.prompt), len(pair.prompt) + len(completion))
        visible.append(_visible(prefix, len(rest), len(pair.chosen), len(pair.rejected)))
    targets = [token for pair in pairs for token in pair.chosen + pair.rejected]
    lengths = tuple(len(ids) for pair in pairs for ids in (pair.chosen, pair.rejected))
    return Packed(
        torch.tensor([tokens]),
        torch.tensor([positions]),
        prefix,
        tuple(visible),
        torch.tensor(places),
        torch.tensor(targets),
        lengths,
    )


def _visible(prefix: int, rest: int, chosen: int, rejected: int) -> Tensor:
    """What a pair's tokens see of the prefix and of the pair, bool [S, L + S]."""
    size = rest + chosen + rejected
    seen = torch.ones(size, size, dtype=torch.bool).tril()
    seen[rest + chosen :, rest : rest + chosen] = False
    return torch.cat([torch.ones(size, prefix, dtype=torch.bool), seen], dim=1)


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    packed: Packed | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The attention function that transformers calls; without `packed` it is plain SDPA."""
    if packed is None:
        out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        return out, None
    groups = query.shape[1] // key.shape[1]
    query, key, value = query * scaling, key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    size = packed.prefix
    first_key, first_value = key[:, :, :size], value[:, :, :size]
    causal = torch.ones(size, size, dtype=torch.bool, device=query.device).tril()
    outs = [_attend(query[:, :, :size], first_key, first_value, causal)]
    begin = size
    for visible in packed.visible:
        own = slice(begin, begin + len(visible))
        keys = torch.cat([first_key, key[:, :, own]], dim=2)
        values = torch.cat([first_value, value[:, :, own]], dim=2)
        outs.append(_attend(query[:, :, own], keys, values, visible))
        begin = own.stop
    return torch.cat(outs, dim=2).transpose(1, 2).contiguous(), None


def _attend(query: Tensor, key: Tensor, value: Tensor, visible: Tensor) -> Tensor:
    """Attention by plain products: on CPUs in bf16 forward and backward take less than half of SDPA's time."""
    hidden = torch.zeros(visible.shape, dtype=query.dtype, device=query.device).masked_fill(~visible, float("-inf"))
    return torch.softmax(query @ key.transpose(2, 3) + hidden, dim=-1) @ value


ALL_ATTENTION_FUNCTIONS.register(NAME, packed_attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, sdpa_mask)


def completion_states(model: PreTrainedModel, batch: Packed) -> Tensor:
    """Last hidden states at the places that predict the completions' tokens, [M, hidden]: what the head takes.

    model: a causal LM loaded with the attention `NAME`, its adapter layers in place.
    """
    assert model.config._attn_implementation == NAME, "load the model with this module's attention"
    forward = operations(model, batch.tokens.shape[1], len(batch.targets))
    machine.count(forward * (2 if torch.is_grad_enabled() else 1))  # backward: the same, for the inputs alone
    states: Tensor = model.base_model(
        input_ids=batch.tokens, position_ids=batch.positions, use_cache=False, packed=batch
    ).last_hidden_state[0, batch.places]
    return states


def completion_log_probs(model: PreTrainedModel, batch: Packed) -> LogProbs:
    """Log-probabilities of a packed batch, [B] each; logits are computed at the completions alone.

    model: as of `completion_states`.
    """
    hidden, head = completion_states(model, batch), model.get_output_embeddings()
    chunks = zip(hidden.split(CHUNK), batch.targets.split(CHUNK), strict=True)
    each = torch.cat([checkpoint(_log_probs, head, h, t, use_reentrant=False) for h, t in chunks])
    sums = torch.stack([part.sum() for part in each.split(batch.lengths)])
    return LogProbs(sums[0::2], sums[1::2])


def _log_probs(head: nn.Module, hidden: Tensor, targets: Tensor) -> Tensor:
    """Log-probabilities of target tokens, [M]; computed again in the backward pass, not kept until then."""
    return torch.log_softmax(head(hidden).float(), dim=-1).gather(1, targets[:, None])[:, 0]
