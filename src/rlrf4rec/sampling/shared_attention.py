"""Attention over a key-value cache whose common parts are stored once.

The instruction at the start is shared by all prompts, a user's prompt by all of the user's samples. The
cache keeps each part once; scores against the parts are joined before one softmax, so the result is that
of plain causal attention. It works for every transformers model that takes its attention function from
`ALL_ATTENTION_FUNCTIONS`.

Rows that have ended take no part any more: only `active` rows come in, and only in here they stand beside the others.

Shapes: B prompts, N samples each, R of the B * N rows active, H query heads, K key heads, G = H / K, D head width,
P tokens of common prefix, U tokens of the longest own part, T tokens generated at most.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "shared_prefix"


@dataclass
class SharedCache:
    """Keys and values per layer: `prefix` [1, K, P, D], `own` [B, K, U, D], `new` [B * N, K, T, D]."""

    steps: int
    phase: str = "prefix"
    step: int = 0
    samples: int = 1
    active: Tensor | None = None  # int64 [R], rows of the B * N that come in
    own_padding: Tensor | None = None  # bool [B, U], True where a shorter prompt is padded
    prefix: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    own: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    new: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)


def _prefill(query: Tensor, key: Tensor, value: Tensor, scaling: float, prefix: tuple[Tensor, Tensor] | None) -> Tensor:
    """Plain causal attention of [B, H, L, D] queries over an optional shared prefix and themselves."""
    rows, length = query.shape[0], query.shape[2]
    if prefix is not None:
        key = torch.cat([prefix[0].expand(rows, -1, -1, -1), key], dim=2)
        value = torch.cat([prefix[1].expand(rows, -1, -1, -1), value], dim=2)
    visible = torch.ones(length, key.shape[2], dtype=torch.bool, device=query.device).tril(key.shape[2] - length)
    return scaled_dot_product_attention(query, key, value, visible, scale=scaling, enable_gqa=True)


def _decode(query: Tensor, layer: int, cache: SharedCache, scaling: float) -> Tensor:
    """One new token per row: [R, H, 1, D] queries over prefix, own prompt and the tokens so far."""
    own_key, own_value = cache.own[layer]
    new_key, new_value = (x[:, :, : cache.step + 1] for x in cache.new[layer])
    batch, kv_heads, own_length, width = own_key.shape
    assert cache.active is not None
    rows, heads = batch * cache.samples, query.shape[1]
    group = heads // kv_heads
    query = query.new_zeros(rows, heads, 1, width).index_copy_(0, cache.active, query)
    q = query.view(batch, cache.samples, kv_heads, group, width) * scaling
    q_own = q.transpose(1, 2).reshape(batch, kv_heads, cache.samples * group, width)
    q_new = q.reshape(rows, kv_heads, group, width)
    parts = []
    if layer in cache.prefix:
        q_prefix = q_own.transpose(0, 1).reshape(kv_heads, -1, width)
        scores = q_prefix @ cache.prefix[layer][0][0].transpose(1, 2)
        parts.append(scores.view(kv_heads, batch, cache.samples * group, -1).transpose(0, 1))
    scores = q_own @ own_key.transpose(2, 3)
    if cache.own_padding is not None:
        scores = scores.masked_fill(cache.own_padding[:, None, None], float("-inf"))
    parts.append(scores)
    scores = (q_new @ new_key.transpose(2, 3)).view(batch, cache.samples, kv_heads, group, -1)
    parts.append(scores.transpose(1, 2).reshape(batch, kv_heads, cache.samples * group, -1))
    weights = torch.softmax(torch.cat(parts, dim=-1).float(), dim=-1).to(query.dtype)
    prefix_length = weights.shape[-1] - own_length - cache.step - 1
    w_prefix, w_own, w_new = weights.split([prefix_length, own_length, cache.step + 1], dim=-1)
    out = w_own @ own_value
    w_new = w_new.view(batch, kv_heads, cache.samples, group, -1).transpose(1, 2).reshape(rows, kv_heads, group, -1)
    new = (w_new @ new_value).view(batch, cache.samples, kv_heads, group, width)
    out = out + new.transpose(1, 2).reshape(batch, kv_heads, cache.samples * group, width)
    if prefix_length:
        shared = w_prefix.transpose(0, 1).reshape(kv_heads, -1, prefix_length) @ cache.prefix[layer][1][0]
        out = out + shared.view(kv_heads, batch, cache.samples * group, width).transpose(0, 1)
    out = out.view(batch, kv_heads, cache.samples, group, width).transpose(1, 2)
    return out.reshape(rows, heads, 1, width)[cache.active]


def shared_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    cache: SharedCache | None = None,
    **kwargs: object,
) -> tuple[Tensor, None]:
    """The attention function that transformers calls; `cache` is passed through the model's forward."""
    assert cache is not None, "the sampler passes its cache"
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    if cache.phase == "prefix":
        cache.prefix[layer] = (key, value)
        out = _prefill(query, key, value, scaling, None)
    elif cache.phase == "own":
        cache.own[layer] = (key, value)
        out = _prefill(query, key, value, scaling, cache.prefix.get(layer))
    else:
        if layer not in cache.new:
            shape = (len(cache.own[layer][0]) * cache.samples, key.shape[1], cache.steps, key.shape[3])
            cache.new[layer] = (key.new_zeros(shape), value.new_zeros(shape))
        cache.new[layer][0][cache.active, :, cache.step] = key[:, :, 0]
        cache.new[layer][1][cache.active, :, cache.step] = value[:, :, 0]
        out = _decode(query, layer, cache, scaling)
    return out.transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register(NAME, shared_attention)
