"""How far two models are apart on texts: exact KL per token, its error, and the texts that it is measured on."""

import itertools
import math

import polars as pl
import pytest
import torch
from test_dpo import PAIRS, SETTINGS, tuned
from torch import nn

from rlrf4rec.alignment import module
from rlrf4rec.alignment.packed import NAME, TokenPair
from rlrf4rec.alignment.policy import save_adapter
from rlrf4rec.llm.models import load_policy
from rlrf4rec.movement import divergence
from rlrf4rec.movement.divergence import Apart, Reading, Texts
from rlrf4rec.movement.texts import two_each

ALL = Texts(PAIRS, 3, "float32")


def logits(*rows):
    return torch.tensor([[math.log(p) for p in row] for row in rows])


@pytest.mark.parametrize("chunk", [1, 32])
def test_kl_and_shift_by_hand(monkeypatch, chunk):
    """A vocabulary of three; one prompt with a text of two tokens and one of one. Logits have a constant to spare."""
    monkeypatch.setattr(divergence, "CHUNK", chunk)
    own = Reading(nn.Identity(), [logits((0.5, 0.25, 0.25), (0.2, 0.2, 0.6), (0.5, 0.5, 1e-9)) + 7])
    others = Reading(nn.Identity(), [logits((0.25, 0.5, 0.25), (0.2, 0.2, 0.6), (0.5, 0.25, 0.25)) - 3])
    found = Texts([TokenPair([1], [1, 2], [0])], 1, "float32").apart(own, others)
    assert found.kl.tolist()[0] == pytest.approx([0.5 * math.log(2) - 0.25 * math.log(2), 0.5 * math.log(2)], abs=1e-5)
    assert found.shift.tolist()[0] == pytest.approx([math.log(2), 0.0], abs=1e-5)


def test_the_error_is_over_prompts_whose_two_texts_go_together():
    found = Apart(torch.tensor([[1.0, 3.0], [4.0, 4.0], [0.0, 0.0]]), torch.tensor([[1.0, 1.0]] * 3)).mean()
    assert found.kl == 2
    assert found.kl_standard_error == pytest.approx(math.sqrt((0 + 4 + 4) / 2 / 3))
    assert (found.shift, found.shift_standard_error) == (1, 0)
    assert Apart(torch.ones(1, 2), torch.ones(1, 2)).mean().kl_standard_error == 0


def trained(llama):
    policy, reference, _ = tuned(llama)
    module.train(module.DpoModule(policy, PAIRS, reference, SETTINGS), "test", None)
    return policy


def test_a_model_is_at_no_distance_from_itself(llama):
    policy, _, _ = tuned(llama)
    with policy.disable_adapter():
        before = ALL.read(policy, "test")
    found = ALL.apart(before, ALL.read(policy, "test"))
    assert found.kl.tolist() == found.shift.tolist() == [[0.0, 0.0]] * len(PAIRS)


def test_a_trained_policy_has_moved_in_every_text_and_no_estimate_is_below_zero(llama):
    policy = trained(llama)
    with policy.disable_adapter():
        before = ALL.read(policy, "test")
    there, back = ALL.apart(before, ALL.read(policy, "test")), ALL.apart(ALL.read(policy, "test"), before)
    for found in (there, back):
        assert (found.kl > 0).all()
        assert found.mean().kl > 0.1
    assert torch.equal(there.shift, back.shift)
    assert not torch.allclose(there.kl, back.kl, rtol=0.01)


@torch.no_grad()
def next_tokens(model, prompt, completion):
    """Log-probabilities of every next token behind the prompt, in a row of its own, [tokens, vocabulary]."""
    row = model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
    return torch.log_softmax(row.double(), dim=-1)


def test_kl_is_that_of_separate_rows_under_merged_weights(llama, tmp_path):
    """In any batches, and for the adapter beside its weights as for one that is merged, which writes the texts."""
    policy = trained(llama)
    save_adapter(policy, tmp_path / "base", tmp_path / "round1")
    llama().save_pretrained(tmp_path / "base")
    merged, alone = (
        load_policy(tmp_path / "base", tmp_path / "round1", torch.float32, attention) for attention in (NAME, "sdpa")
    )
    expected = []
    for pair in PAIRS:
        for text in (pair.chosen, pair.rejected):
            p, q = (next_tokens(model, pair.prompt, text) for model in (alone, llama()))
            expected.append(float((p.exp() * (p - q)).sum()))
    base = llama(NAME)
    for batch in (1, 3):
        texts = Texts(PAIRS, batch, "float32")
        for writer in (merged, policy):
            found = texts.apart(texts.read(writer, "test"), texts.read(base, "test"))
            assert found.kl.flatten().tolist() == pytest.approx(expected, abs=1e-4)


@torch.no_grad()
def test_its_mean_over_a_model_s_texts_is_the_kl_of_whole_texts(llama):
    """All texts of two tokens of a vocabulary of five, each as often as its model writes it: the chain rule."""
    own, other = llama(NAME, vocabulary=5), llama(NAME, vocabulary=5)
    for parameter in other.parameters():
        parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    both = list(itertools.product(range(5), repeat=2))
    texts = Texts([TokenPair([1, 3], list(text), list(text)) for text in both], 4, "float32")
    ratios, weights = [], []
    for text in both:
        p, q = (next_tokens(model, [1, 3], list(text)) for model in (own, other))
        of_p, of_q = (float(rows[range(2), text].sum()) for rows in (p, q))
        weights.append(math.exp(of_p))
        ratios.append(of_p - of_q)
    assert sum(weights) == pytest.approx(1)
    whole = sum(w * ratio for w, ratio in zip(weights, ratios, strict=True))
    found = texts.apart(texts.read(own, "test"), texts.read(other, "test")).kl[:, 0]
    assert float(torch.tensor(weights, dtype=torch.float64) @ found) == pytest.approx(whole, rel=1e-4)
    assert whole > 0.01
    assert min(ratios) < 0 <= float(found.min())  # what was the estimate of one text before


def test_two_texts_of_each_user_that_has_two():
    prompts = pl.DataFrame({"user": ["v", "u", "w"], "tokens": [[7], [8, 9], [6]]})
    rows = [("u", 0, [10]), ("u", 1, [11] * 2), ("u", 2, [12]), ("v", 1, [14]), ("v", 0, [13]), ("w", 0, [15])]
    texts = pl.DataFrame(rows, ["user", "sample", "tokens"], orient="row")
    found = two_each(texts, prompts, ["u", "x", "w", "v"])
    assert found == [TokenPair([8, 9], [10], [11] * 2), TokenPair([7], [13], [14])]
    assert two_each(texts, prompts, ["v"]) == found[1:]
