"""Exact top-k and top-p sampling without sorting the vocabulary.

A token drawn from the full distribution is kept if it lies in the nucleus and drawn again if not.
That is rejection sampling, so kept tokens follow the renormalised nucleus exactly; at least top_p of
the draws are kept. Whether a token lies in the nucleus is one masked sum over the vocabulary.
"""

import numpy as np
import torch
from torch import Tensor

DRAWS = 8  # 8 rejected draws in a row are at most (1 - top_p) ** 8 likely; then the most likely token is taken


def uniforms(keys: list[tuple[int, ...]], steps: int) -> Tensor:
    """Random numbers that depend on nothing but their own key.

    keys: one tuple of non-negative integers per row (seed, prompt hash, sample index, ...).
    Returns float64 [rows, steps, DRAWS] in [0, 1).
    """
    rows = [np.random.Generator(np.random.Philox(np.random.SeedSequence(key))).random((steps, DRAWS)) for key in keys]
    return torch.from_numpy(np.stack(rows))


def below(logits: Tensor, known: int | None) -> Tensor:
    """Logits of which those from index `known` on are minus infinity: never drawn by `sample`. None: as they are.

    logits: [rows, vocabulary].
    """
    if known is None or known >= logits.shape[1]:
        return logits
    return logits.masked_fill(torch.arange(logits.shape[1], device=logits.device) >= known, -torch.inf)


def sample(logits: Tensor, uniform: Tensor, temperature: float, top_k: int, top_p: float) -> Tensor:
    """Draw one token per row from softmax(logits / temperature) restricted to its top k, and those to their nucleus.

    The top k (Fan et al. 2018) are the k most likely tokens; 0 keeps all. The nucleus (Holtzman et al. 2020) holds
    the tokens before which less than top_p of the top k's probability lies. Tokens stand in order of falling
    probability, equal ones by index.

    logits: [rows, vocabulary]; uniform: [rows, DRAWS] in [0, 1); temperature > 0; top_k >= 0; 0 < top_p <= 1.
    Returns int64 [rows].
    """
    probability = torch.softmax(logits.float() / temperature, dim=-1)
    if 0 < top_k < probability.shape[1]:
        probability = _top(probability, top_k)
    token = _draw(probability, uniform[:, 0])
    if top_p == 1.0:
        return token
    waiting = torch.arange(len(token), device=token.device)
    for draw in range(1, DRAWS + 1):
        waiting = waiting[~_in_nucleus(probability[waiting] if draw > 1 else probability, token[waiting], top_p)]
        if not len(waiting):
            break
        rest = probability[waiting]
        token[waiting] = _draw(rest, uniform[waiting, draw]) if draw < DRAWS else rest.argmax(dim=-1)
    return token


def log_prob(logits: Tensor, token: Tensor) -> Tensor:
    """log softmax(logits) at each row's token, float32 [rows]: of the whole distribution at temperature 1.

    logits: [rows, vocabulary]; token: int64 [rows].
    """
    logits = logits.float()
    return (logits.gather(1, token[:, None])[:, 0] - logits.logsumexp(dim=-1)).clamp(max=0.0)


def _top(probability: Tensor, k: int) -> Tensor:
    """The k largest of each row, equal ones by index, scaled to a sum of 1; the others are 0."""
    least = probability.topk(k, dim=1, sorted=False).values.amin(dim=1, keepdim=True)
    kept = probability > least
    room = k - kept.sum(dim=1, keepdim=True)
    equal = probability == least
    kept |= equal & (equal.cumsum(dim=1) <= room)
    top = torch.where(kept, probability, 0.0)
    return top / top.sum(dim=1, keepdim=True)


def _draw(probability: Tensor, uniform: Tensor) -> Tensor:
    """Inverse of the cumulative distribution at `uniform`, found in two steps to sum in float64 cheaply.

    A token of probability 0 is never drawn.
    """
    rows, vocabulary = probability.shape
    chunk = next(size for size in (256, 128, 64, 32, 16, 8, 4, 2, 1) if vocabulary % size == 0)
    chunks = probability.view(rows, -1, chunk)
    ends = chunks.sum(dim=2).double().cumsum(dim=1)
    target = uniform.to(ends)[:, None] * ends[:, -1:]
    which = torch.searchsorted(ends, target, right=True).clamp(max=ends.shape[1] - 1)
    begin = torch.where(which > 0, ends.gather(1, (which - 1).clamp(min=0)), 0.0)
    inside = chunks[torch.arange(rows, device=which.device), which[:, 0]].double().cumsum(dim=1)
    end = inside[:, -1:]  # less than the chunk's sum in float32 can be; the last token that has a share ends there
    offset = torch.searchsorted(inside, torch.minimum(target - begin, end.nextafter(torch.zeros_like(end))), right=True)
    return (which * chunk + offset)[:, 0]


def _in_nucleus(probability: Tensor, token: Tensor, top_p: float) -> Tensor:
    """True where less than top_p of the probability stands before `token`, bool [rows]."""
    own = probability.gather(1, token[:, None])
    at_least = torch.where(probability >= own, probability, 0.0).sum(dim=1)
    kept = at_least - own[:, 0] < top_p  # sure to be in; ties can let in some of the others
    unsure = torch.nonzero(~kept)[:, 0]
    if len(unsure):
        part, own, token = probability[unsure], own[unsure], token[unsure]
        index = torch.arange(part.shape[1], device=part.device)
        before = (part > own) | ((part == own) & (index < token[:, None]))
        kept[unsure] = torch.where(before, part, 0.0).sum(dim=1) < top_p
    return kept
