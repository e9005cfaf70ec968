"""What the LLM computes here against transformers' own forward, in every arithmetic that the machine has.

In bfloat16 both are rounded: ours may be no further from the values in float32 than twice transformers' own.
"""

import math
from dataclasses import replace

import polars as pl
import pytest
import torch

from rlrf4rec.alignment import module
from rlrf4rec.alignment.loss import LogProbs, dpo_loss
from rlrf4rec.alignment.module import DpoModule, DpoSettings, reference_log_probs
from rlrf4rec.alignment.packed import NAME as PACKED
from rlrf4rec.alignment.packed import TokenPair, completion_log_probs, pack
from rlrf4rec.alignment.policy import new_policy
from rlrf4rec.alignment.reference import reference
from rlrf4rec.llm.models import DTYPES
from rlrf4rec.sampling import nucleus
from rlrf4rec.sampling.generate import SamplingSettings, generate, prefix_cache
from rlrf4rec.sampling.sampler import Sampler, sample_texts
from rlrf4rec.sampling.shared_attention import NAME as SHARED

PROMPTS = [[1, 5, 6, 7, 8], [1, 5, 6, 11, 12, 13, 14], [1, 5, 6, 20], [1, 5, 6, 21, 3]]
PAIRS = [
    TokenPair([1, 5, 6, 7], [8, 9, 2], [10, 2]),
    TokenPair([1, 5, 6], [11, 2], [12, 13, 14, 2]),
    TokenPair([1, 5, 21, 22, 23], [3], [4, 2]),
    TokenPair([1, 5], [31, 32, 2], [33, 34, 2]),
]
SAMPLING = SamplingSettings(temperature=1.0, top_k=0, top_p=0.9, max_tokens=6, stop=frozenset())
DPO = DpoSettings(0.5, 0.01, 2, 6, 0.1, 0.0, 1.0, "float32", 1)


def allowed(arithmetic, theirs, exact, least):
    """How far from `exact` ours may be at most: `least` in float32, twice transformers' own error in bfloat16."""
    return least if arithmetic == "float32" else 2 * float((theirs.float() - exact).abs().max())


def test_logits_of_the_sampler_are_those_of_the_whole_text(llama, arithmetic):
    dtype, samples = DTYPES[arithmetic], 3
    shared, same, exact = llama(SHARED).to(dtype), llama().to(dtype), llama()
    seen = []
    shared.get_output_embeddings().register_forward_hook(lambda module, given, logits: seen.append(logits.float()))
    uniform = torch.stack([nucleus.uniforms([(sum(p), s) for s in range(samples)], 6) for p in PROMPTS])
    drawn = generate(shared, PROMPTS, uniform, prefix_cache(shared, PROMPTS[0][:3], 6), SAMPLING)
    for row, prompt in enumerate(PROMPTS):
        for sample in range(samples):
            tokens = torch.tensor([prompt + drawn[row][sample].tokens])
            with torch.inference_mode():
                theirs, wanted = (m(tokens).logits[0, len(prompt) - 1 : -1] for m in (same, exact))
            own = torch.stack([step[samples * row + sample] for step in seen])
            assert (own - wanted).abs().max() <= allowed(arithmetic, theirs, wanted, 1e-4)


def test_the_sampler_gives_the_same_texts_again(llama, arithmetic):
    def draw():
        sampler = Sampler(llama(SHARED).to(DTYPES[arithmetic]), PROMPTS, SAMPLING, 3, 7, 0, frozenset(), None)
        return sample_texts(sampler, 2, "test")

    texts = draw()
    assert texts["tokens"].list.len().to_list() == [6] * 12
    assert texts.equals(draw())


def separate(model):
    """Log-probabilities of each completion in a row of its own."""

    def row(prompt, completion):
        logits = model(torch.tensor([prompt + completion])).logits[0, :-1].float()
        ids = torch.tensor(prompt + completion)[1:]
        return torch.log_softmax(logits, -1).gather(1, ids[:, None])[len(prompt) - 1 :].sum()

    sides = (
        [row(p.prompt, c) for p, c in zip(PAIRS, side, strict=True)] for side in zip(*map(texts, PAIRS), strict=True)
    )
    return LogProbs(*(torch.stack(side) for side in sides))


def texts(pair):
    return pair.chosen, pair.rejected


def adapted(llama, attention, arithmetic):
    """An adapter that has been moved off its beginning, on weights of this arithmetic."""
    policy = new_policy(llama(attention).to(DTYPES[arithmetic]), 4, 8, 0.0, 0)
    generator = torch.Generator().manual_seed(5)
    for parameter in (p for p in policy.parameters() if p.requires_grad):
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.05
    return policy


def test_log_probs_and_gradients_of_dpo_are_those_of_separate_rows(llama, arithmetic):
    found = {}
    for name, attention, kind in (
        ("own", PACKED, arithmetic),
        ("theirs", "sdpa", arithmetic),
        ("exact", "sdpa", "float32"),
    ):
        policy = adapted(llama, attention, kind)
        with torch.autocast("cpu", torch.bfloat16, enabled=kind == "bfloat16"):
            model = policy.get_base_model()
            log_probs = completion_log_probs(model, pack(PAIRS)) if name == "own" else separate(model)
        zero = torch.zeros(len(PAIRS))
        dpo_loss(log_probs, LogProbs(zero, zero), 0.1)[0].mean().backward()
        gradients = torch.cat([p.grad.flatten() for p in policy.parameters() if p.requires_grad])
        found[name] = torch.cat([log_probs.chosen, log_probs.rejected]).detach(), gradients
    for i, least in enumerate((1e-4, 1e-5)):
        own, theirs, exact = (found[name][i] for name in ("own", "theirs", "exact"))
        assert (own - exact).abs().max() <= allowed(arithmetic, theirs, exact, least)


def test_what_the_sampler_tells_of_a_text_is_what_dpo_would_compute(llama, arithmetic):
    """So the reference of DPO, where it wrote the texts, costs nothing in float32."""
    dtype = DTYPES[arithmetic]
    sampler = Sampler(llama(SHARED).to(dtype), PROMPTS, SAMPLING, 2, 7, 0, frozenset(), None)
    rows = sample_texts(sampler, 4, "test").partition_by("row")
    pairs = [TokenPair(prompt, *frame["tokens"].to_list()) for prompt, frame in zip(PROMPTS, rows, strict=True)]
    told = torch.tensor([frame["log_prob"].to_list() for frame in rows])
    found = {}
    for kind in {arithmetic, "float32"}:
        policy = new_policy(llama(PACKED).to(DTYPES[kind]), 4, 8, 0.0, 0)
        log_probs = reference_log_probs(policy, pairs, 2, kind, "test", None)
        found[kind] = torch.stack([log_probs.chosen, log_probs.rejected], dim=1)
    exact = found["float32"]
    assert (told - exact).abs().max() <= allowed(arithmetic, found[arithmetic], exact, 1e-4)


def test_dpo_begins_without_a_margin_whatever_the_sampler_told(llama, arithmetic):
    """In bfloat16 what the sampler told is a rounding away from what the policy computes: it is not taken there."""
    policy = new_policy(llama(PACKED).to(DTYPES[arithmetic]), 4, 8, 0.0, 0)
    exact = reference_log_probs(policy, PAIRS, 2, arithmetic, "test", None)
    off = 0.0 if arithmetic == "float32" else 0.2
    told = {"chosen_log_prob": (exact.chosen + off).tolist(), "rejected_log_prob": (exact.rejected - off).tolist()}
    before = reference(policy, pl.DataFrame(told), PAIRS, True, 2, arithmetic, "test", None)
    steps = module.train(DpoModule(policy, PAIRS, before, replace(DPO, precision=arithmetic)), "test", None)
    assert steps[0].margin == pytest.approx(0.0, abs=1e-4)
    assert steps[0].loss == pytest.approx(math.log(2), abs=1e-5)


def test_dpo_learns_the_preferences(llama, arithmetic):
    policy = new_policy(llama(PACKED).to(DTYPES[arithmetic]), 4, 8, 0.0, 0)
    reference = reference_log_probs(policy, PAIRS, 2, arithmetic, "test", None)
    steps = module.train(DpoModule(policy, PAIRS, reference, replace(DPO, precision=arithmetic)), "test", None)
    assert steps[0].loss == pytest.approx(0.693, abs=0.02)
    assert steps[-1].loss < 0.4
    assert steps[-1].accuracy == 1.0
