"""Prompt, chosen and rejected in one row, the prompt computed once.

A block mask hides chosen from rejected; both continue at the position after the prompt. Log-probabilities
equal those of two separate rows. Shapes: B pairs, T tokens of the longest row, K tokens of a completion.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from rlrf4rec.alignment.loss import LogProbs

IGNORED = -100


@dataclass(frozen=True)
class TokenPair:
    """Token ids of one preference pair."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]


@dataclass(frozen=True)
class Packed:
    """tokens, positions [B, T]; visible bool [B, 1, T, T]; for each completion token: the place whose output
    predicts it and its id, [B, 2, K], ids IGNORED where padded."""

    tokens: Tensor
    positions: Tensor
    visible: Tensor
    places: Tensor
    targets: Tensor


def pack(pairs: list[TokenPair]) -> Packed:
    """Pack a batch of pairs."""
    tokens = [torch.tensor([*p.prompt, *p.chosen, *p.rejected]) for p in pairs]
    width = max(len(t) for t in tokens)
    longest = max(max(len(p.chosen), len(p.rejected)) for p in pairs)
    positions = torch.zeros(len(pairs), width, dtype=torch.long)
    visible = torch.eye(width, dtype=torch.bool).repeat(len(pairs), 1, 1, 1)
    places = torch.zeros(len(pairs), 2, longest, dtype=torch.long)
    targets = torch.full((len(pairs), 2, longest), IGNORED)
    for row, pair in enumerate(pairs):
        n, c, r = len(pair.prompt), len(pair.chosen), len(pair.rejected)
        positions[row, : n + c + r] = torch.cat([torch.arange(n), n + torch.arange(c), n + torch.arange(r)])
        causal = torch.ones(n + c + r, n + c + r, dtype=torch.bool).tril()
        causal[n + c :, n : n + c] = False
        visible[row, 0, : n + c + r, : n + c + r] = causal
        for side, (begin, ids) in enumerate(((n, pair.chosen), (n + c, pair.rejected))):
            before = torch.arange(begin - 1, begin + len(ids) - 1)
            before[0] = n - 1
            places[row, side, : len(ids)] = before
            targets[row, side, : len(ids)] = torch.tensor(ids)
    return Packed(pad_sequence(tokens, batch_first=True), positions, visible, places, targets)


def completion_log_probs(model: PreTrainedModel, batch: Packed) -> LogProbs:
    """Log-probabilities of a packed batch; logits are computed at the completions alone.

    model: a causal LM, its adapter layers in place.
    """
    device = batch.tokens.device
    # A mask added to the scores in the dtype of the computation; SDPA wants it to match.
    dtype = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else model.dtype
    mask = torch.zeros(batch.visible.shape, dtype=dtype, device=device).masked_fill(
        ~batch.visible, torch.finfo(dtype).min
    )
    hidden = model.base_model(
        input_ids=batch.tokens, attention_mask=mask, position_ids=batch.positions, use_cache=False
    ).last_hidden_state
    real = batch.targets != IGNORED
    pair = torch.arange(len(hidden), device=device)[:, None, None].expand_as(batch.places)
    logits = model.get_output_embeddings()(hidden[pair[real], batch.places[real]]).float()
    each = torch.log_softmax(logits, dim=-1).gather(1, batch.targets[real][:, None])[:, 0]
    sums = torch.zeros(batch.targets.shape, device=device, dtype=each.dtype).masked_scatter(real, each).sum(-1)
    return LogProbs(sums[:, 0], sums[:, 1])
