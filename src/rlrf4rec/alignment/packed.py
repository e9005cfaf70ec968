"""Prompt, chosen and rejected in one row, the prompt computed once.

A row is [prompt, padded | chosen, padded | rejected, padded]. Prompt tokens attend causally among themselves,
which needs no mask; completion tokens attend to their prompt and to the tokens before them, chosen never to
rejected; both continue at the position after the prompt. Log-probabilities equal those of two separate rows.

Shapes: B pairs, P tokens of the longest prompt, K tokens of the longest completion, H heads, D head width.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from rlrf4rec.alignment.loss import LogProbs

NAME = "packed_pairs"
IGNORED = -100


@dataclass(frozen=True)
class TokenPair:
    """Token ids of one preference pair."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]


@dataclass(frozen=True)
class Packed:
    """tokens, positions [B, P + 2K]; visible bool [B, 1, 2K, P + 2K] of the completions; for each completion
    token the place whose output predicts it and its id, [B, 2, K], ids IGNORED where padded; prompt = P."""

    tokens: Tensor
    positions: Tensor
    visible: Tensor
    places: Tensor
    targets: Tensor
    prompt: int

    def to(self, device: torch.device) -> "Packed":
        """The same batch on another device."""
        return replace(
            self,
            tokens=self.tokens.to(device),
            positions=self.positions.to(device),
            visible=self.visible.to(device),
            places=self.places.to(device),
            targets=self.targets.to(device),
        )


def pack(pairs: list[TokenPair]) -> Packed:
    """Pack a batch of pairs."""
    prompt = max(len(p.prompt) for p in pairs)
    longest = max(max(len(p.chosen), len(p.rejected)) for p in pairs)
    width = prompt + 2 * longest
    tokens = torch.zeros(len(pairs), width, dtype=torch.long)
    positions = torch.zeros(len(pairs), width, dtype=torch.long)
    visible = torch.zeros(len(pairs), 1, 2 * longest, width, dtype=torch.bool)
    places = torch.zeros(len(pairs), 2, longest, dtype=torch.long)
    targets = torch.full((len(pairs), 2, longest), IGNORED)
    causal = torch.ones(longest, longest, dtype=torch.bool).tril()
    for row, pair in enumerate(pairs):
        n = len(pair.prompt)
        tokens[row, :n] = torch.tensor(pair.prompt)
        positions[row, :n] = torch.arange(n)
        visible[row, 0, :, :n] = True
        for side, ids in enumerate((pair.chosen, pair.rejected)):
            begin = prompt + side * longest
            own = slice(begin, begin + longest)
            tokens[row, begin : begin + len(ids)] = torch.tensor(ids)
            positions[row, own] = n + torch.arange(longest)
            visible[row, 0, side * longest : (side + 1) * longest, own] = causal
            places[row, side, : len(ids)] = torch.tensor([n - 1, *range(begin, begin + len(ids) - 1)])
            targets[row, side, : len(ids)] = torch.tensor(ids)
    return Packed(tokens, positions, visible, places, targets, prompt)


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
    p = packed.prompt
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    causal = torch.ones(p, p, dtype=torch.bool, device=query.device).tril()
    first = _attend(query[:, :, :p] * scaling, key[:, :, :p], value[:, :, :p], causal)
    second = _attend(query[:, :, p:] * scaling, key, value, packed.visible)
    return torch.cat([first, second], dim=2).transpose(1, 2).contiguous(), None


def _attend(query: Tensor, key: Tensor, value: Tensor, visible: Tensor) -> Tensor:
    """Attention by plain products: on CPUs in bf16 forward and backward take less than half of SDPA's time."""
    hidden = torch.zeros(visible.shape, dtype=query.dtype, device=query.device).masked_fill(~visible, float("-inf"))
    return torch.softmax(query @ key.transpose(2, 3) + hidden, dim=-1) @ value


ALL_ATTENTION_FUNCTIONS.register(NAME, packed_attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, sdpa_mask)


def completion_log_probs(model: PreTrainedModel, batch: Packed) -> LogProbs:
    """Log-probabilities of a packed batch; logits are computed at the completions alone.

    model: a causal LM loaded with the attention `NAME`, its adapter layers in place.
    """
    assert model.config._attn_implementation == NAME, "load the model with this module's attention"
    hidden = model.base_model(
        input_ids=batch.tokens, position_ids=batch.positions, use_cache=False, packed=batch
    ).last_hidden_state
    real = batch.targets != IGNORED
    pair = torch.arange(len(hidden), device=hidden.device)[:, None, None].expand_as(batch.places)
    logits = model.get_output_embeddings()(hidden[pair[real], batch.places[real]]).float()
    each = torch.log_softmax(logits, dim=-1).gather(1, batch.targets[real][:, None])[:, 0]
    sums = torch.zeros(batch.targets.shape, device=hidden.device, dtype=each.dtype).masked_scatter(real, each).sum(-1)
    return LogProbs(sums[:, 0], sums[:, 1])
