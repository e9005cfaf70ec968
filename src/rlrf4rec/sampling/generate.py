"""Sampling N continuations of each prompt with everything shared that can be shared."""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlrf4rec.sampling import nucleus
from rlrf4rec.sampling.shared_attention import SharedCache


@dataclass(frozen=True)
class SamplingSettings:
    """Every setting of the sampler, none taken from a checkpoint's generation defaults.

    known: ids below it have a text in the tokenizer; an LLM's vocabulary can be longer, and those are never drawn.
    """

    temperature: float
    top_k: int
    top_p: float
    max_tokens: int
    stop: frozenset[int]
    known: int | None = None


def common_prefix(prompts: list[list[int]]) -> int:
    """Number of tokens that all prompts share at their start, at least one token left to each."""
    shortest, longest = min(prompts), max(prompts)
    limit = min(len(p) for p in prompts) - 1
    same = next((i for i, (a, b) in enumerate(zip(shortest, longest, strict=False)) if a != b), limit)
    return min(same, limit)


@torch.inference_mode()
def prefix_cache(model: PreTrainedModel, tokens: list[int], steps: int) -> SharedCache:
    """The cache of the common prefix `tokens` (may be empty), for `steps` new tokens at most."""
    cache = SharedCache(steps=steps)
    if tokens:
        _hidden(model, torch.tensor([tokens]), torch.arange(len(tokens))[None], cache)
    return cache


def _hidden(model: PreTrainedModel, tokens: Tensor, positions: Tensor, cache: SharedCache) -> Tensor:
    device = model.device
    out = model.base_model(input_ids=tokens.to(device), position_ids=positions.to(device), use_cache=False, cache=cache)
    return out.last_hidden_state


@dataclass(frozen=True)
class Drawn:
    """A sampled text with its log-probability, in nats, under the policy without temperature, top-k and top-p."""

    tokens: list[int]
    log_prob: float


@torch.inference_mode()
def generate(
    model: PreTrainedModel, prompts: list[list[int]], uniform: Tensor, prefix: SharedCache, settings: SamplingSettings
) -> list[list[Drawn]]:
    """Sample N continuations of each prompt.

    prompts: B token lists, each beginning with the tokens that `prefix` was computed from.
    uniform: [B, N, max_tokens, DRAWS], see `nucleus.uniforms`.
    Returns B lists of N continuations, each ending with its stop token unless cut at max_tokens.
    """
    batch, samples = uniform.shape[:2]
    start = next(iter(prefix.prefix.values()))[0].shape[2] if prefix.prefix else 0
    own = [p[start:] for p in prompts]
    lengths = torch.tensor([len(p) for p in own])
    width = int(lengths.max())
    tokens = torch.tensor([p + [0] * (width - len(p)) for p in own])
    cache = SharedCache(steps=settings.max_tokens, phase="own", samples=samples, prefix=prefix.prefix)
    if int(lengths.min()) < width:
        cache.own_padding = (torch.arange(width) >= lengths[:, None]).to(model.device)
    hidden = _hidden(model, tokens, start + torch.arange(width)[None].expand(batch, -1), cache)
    last = hidden[torch.arange(batch), lengths - 1].repeat_interleave(samples, dim=0)
    cache.phase = "new"
    positions = (start + lengths).repeat_interleave(samples)
    uniform = uniform.flatten(0, 1)
    head = model.get_output_embeddings()
    stop = torch.tensor(sorted(settings.stop))
    active = torch.arange(batch * samples)
    rows: list[list[int]] = [[] for _ in active]
    log_probs = torch.zeros(len(active), dtype=torch.float64)
    for step in range(settings.max_tokens):
        draw = uniform[active, step].to(model.device)
        logits = head(last)
        with_text = nucleus.below(logits, settings.known)
        drawn_tokens = nucleus.sample(with_text, draw, settings.temperature, settings.top_k, settings.top_p)
        log_probs[active] += nucleus.log_prob(logits, drawn_tokens).cpu()
        token = drawn_tokens.cpu()
        for row, drawn in zip(active.tolist(), token.tolist(), strict=True):
            rows[row].append(drawn)
        going = ~torch.isin(token, stop)
        active, token = active[going], token[going]
        if not len(active) or step + 1 == settings.max_tokens:
            break
        cache.step, cache.active = step, active.to(model.device)
        last = _hidden(model, token[:, None], (positions[active] + step)[:, None], cache)[:, 0]
    drawn_rows = [Drawn(tokens, value) for tokens, value in zip(rows, log_probs.tolist(), strict=True)]
    return [drawn_rows[i * samples : (i + 1) * samples] for i in range(batch)]
