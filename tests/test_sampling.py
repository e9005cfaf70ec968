import math
from dataclasses import replace

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast
from words import words

from rlrf4rec.errors import RLRFError
from rlrf4rec.sampling import nucleus
from rlrf4rec.sampling.generate import SamplingSettings, common_prefix, generate, prefix_cache
from rlrf4rec.sampling.sampler import Sampler, blank_tokens, sample_texts, stop_tokens, to_text, token_texts
from rlrf4rec.sampling.shared_attention import NAME

SETTINGS = SamplingSettings(temperature=1.0, top_k=0, top_p=0.9, max_tokens=6, stop=frozenset([2, 9]))
PROMPTS = [[1, 5, 6, 7, 8], [1, 5, 6, 11, 12, 13, 14], [1, 5, 6, 20], [1, 5, 6, 21, 3]]


def plain_nucleus(logits, temperature, top_k, top_p):
    """The definition, with a full sort: [vocabulary] probabilities restricted to the top k and their nucleus."""
    p = torch.softmax(logits.double() / temperature, -1)
    order = sorted(range(len(p)), key=lambda i: (-float(p[i]), i))[: top_k or len(p)]
    p = p / p[order].sum()
    kept, mass = torch.zeros(len(p), dtype=torch.double), 0.0
    for i in order:
        if mass >= top_p:
            break
        kept[i], mass = p[i], mass + float(p[i])
    return kept / kept.sum()


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [(1.0, 0, 0.9), (0.7, 0, 0.5), (2.0, 0, 1.0), (1.0, 0, 0.05), (1.0, 5, 1.0), (2.0, 7, 0.8), (1.0, 1, 0.9)],
)
def test_samples_follow_the_top_k_and_the_nucleus_by_chi_square(temperature, top_k, top_p):
    rows = 40_000
    logits = torch.randn(16, generator=torch.Generator().manual_seed(3)) * 2
    uniform = torch.rand(rows, nucleus.DRAWS, generator=torch.Generator().manual_seed(4), dtype=torch.double)
    drawn = nucleus.sample(logits.expand(rows, -1), uniform, temperature, top_k, top_p)
    expected = plain_nucleus(logits, temperature, top_k, top_p) * rows
    counts = torch.bincount(drawn, minlength=16).double()
    assert float(counts[expected == 0].sum()) == 0
    inside = expected > 0
    chi = float(((counts - expected)[inside] ** 2 / expected[inside]).sum())
    assert chi < 40  # the 99.9 % point with 15 degrees of freedom is 37.7


def test_ties_at_the_edge_of_the_nucleus_go_by_index():
    logits = torch.zeros(4)  # 0.25 each; top_p 0.5 keeps tokens 0 and 1
    uniform = torch.rand(2000, nucleus.DRAWS, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    drawn = nucleus.sample(logits.expand(2000, -1), uniform, 1.0, 0, 0.5)
    assert set(drawn.tolist()) == {0, 1}


def test_ties_at_the_edge_of_the_top_k_go_by_index():
    logits = torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0])
    uniform = torch.rand(2000, nucleus.DRAWS, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    assert set(nucleus.sample(logits.expand(2000, -1), uniform, 1.0, 3, 1.0).tolist()) == {0, 1, 4}


@pytest.mark.parametrize("top_k", [16, 17, 10**6])
def test_a_top_k_of_the_whole_vocabulary_changes_nothing(top_k):
    logits = torch.randn(64, 16, generator=torch.Generator().manual_seed(3))
    uniform = torch.rand(64, nucleus.DRAWS, generator=torch.Generator().manual_seed(4), dtype=torch.double)
    drawn = [nucleus.sample(logits, uniform, 1.0, k, 0.9) for k in (0, top_k)]
    assert torch.equal(*drawn)


def test_a_token_of_probability_0_is_never_drawn():
    """Ten tenths in float32 make a little more than in float64: the largest uniform number lies beyond their sum."""
    probability = torch.cat([torch.full((1, 10), 0.1), torch.zeros(1, 6)], dim=1)
    largest = torch.tensor([1 - 2**-53], dtype=torch.double)
    assert probability.sum().double() > probability.double().sum()
    assert nucleus._draw(probability, largest).tolist() == [9]


def test_random_numbers_depend_on_the_key_alone():
    a, b, c = (1, 2, 3), (1, 2, 4), (9, 9, 9)
    both = nucleus.uniforms([a, b], 5)
    assert torch.equal(both[0], nucleus.uniforms([c, a], 5)[1])
    assert not torch.equal(both[0], both[1])
    assert torch.equal(both[0, :3], nucleus.uniforms([a], 3)[0])


def test_common_prefix_leaves_every_prompt_a_token():
    assert common_prefix(PROMPTS) == 3
    assert common_prefix([[1, 2, 3], [1, 2, 3]]) == 2
    assert common_prefix([[4], [5]]) == 0


def run(model, prompts, samples, prefix=3):
    uniform = torch.stack([nucleus.uniforms([(sum(p), s) for s in range(samples)], 6) for p in prompts])
    drawn = generate(model, prompts, uniform, prefix_cache(model, prompts[0][:prefix], 6), SETTINGS)
    return [[text.tokens for text in texts] for texts in drawn]


def plain_generate(model, prompt, samples):
    """One token at a time with the whole text as input: no cache, no sharing."""
    texts = []
    for s in range(samples):
        tokens, uniform = list(prompt), nucleus.uniforms([(sum(prompt), s)], 6)[0]
        for step in range(6):
            logits = model(torch.tensor([tokens])).logits[:, -1]
            token = int(nucleus.sample(logits, uniform[step][None], 1.0, 0, 0.9))
            tokens.append(token)
            if token in SETTINGS.stop:
                break
        texts.append(tokens[len(prompt) :])
    return texts


def test_shared_caches_give_the_texts_of_plain_generation(llama):
    expected = [plain_generate(llama(), p, 5) for p in PROMPTS]
    assert len({len(t) for user in expected for t in user}) > 1  # some stop early, some do not
    for prefix in (3, 1, 0):
        assert run(llama(NAME), PROMPTS, 5, prefix) == expected


def test_a_text_does_not_depend_on_its_batch(llama):
    model = llama(NAME)
    together = run(model, PROMPTS, 3)
    for prompt, texts in zip(PROMPTS, together, strict=True):
        assert run(model, [prompt], 3) == [texts]


def sampler(model, prompts=PROMPTS, n=3, blank=frozenset(), redraws=2, identity=None, seed=7):
    return Sampler(model, prompts, SETTINGS, n, seed, redraws, blank, identity)


def test_sampler_gives_n_texts_per_prompt_whatever_the_batch(llama):
    one, three = (sample_texts(sampler(llama(NAME)), size, "test") for size in (1, 3))
    assert same(one, three)
    assert one["row"].to_list() == [r for r in range(4) for _ in range(3)]
    assert one["tokens"].list.len().max() <= 6


def test_a_log_prob_is_of_the_whole_distribution_at_temperature_1_whatever_the_settings(llama):
    """By hand: a row of logits, and a text as it would be judged by plain transformers."""
    logits = torch.tensor([[0.0, math.log(3.0)], [1.0, 1.0]])
    assert nucleus.log_prob(logits, torch.tensor([1, 0])).tolist() == pytest.approx([math.log(0.75), math.log(0.5)])
    settings = replace(SETTINGS, temperature=0.7, top_k=9, top_p=0.8)
    made = Sampler(llama(NAME), PROMPTS, settings, 3, 7, 2, frozenset(), None)
    for row in sample_texts(made, 4, "test").iter_rows(named=True):
        prompt = PROMPTS[row["row"]]
        logits = llama()(torch.tensor([prompt + row["tokens"]])).logits.detach()[0, len(prompt) - 1 : -1]
        exact = torch.log_softmax(logits, -1).gather(1, torch.tensor(row["tokens"])[:, None]).sum()
        assert row["log_prob"] == pytest.approx(float(exact), abs=1e-4)


def test_an_id_that_the_tokenizer_has_no_text_for_is_never_drawn(llama):
    """An LLM's vocabulary of 96 beside a tokenizer of 64; the log-probability stays that of the whole distribution."""
    model, tokens = llama(NAME, 96), {}
    for known in (None, 64, 96):
        made = Sampler(model, PROMPTS, replace(SETTINGS, top_p=1.0, known=known), 20, 7, 2, frozenset(), None)
        texts = sample_texts(made, 4, "test")
        tokens[known] = texts["tokens"].to_list()
        assert texts["log_prob"].max() < 0
    highest = {known: max(map(max, rows)) for known, rows in tokens.items()}
    assert highest[64] < 64 < highest[None]
    assert tokens[96] == tokens[None]
    logits = torch.tensor([[0.0, 1.0, 2.0]])
    assert nucleus.below(logits, 2).tolist() == [[0.0, 1.0, -math.inf]]
    assert logits.tolist() == [[0.0, 1.0, 2.0]]


def test_another_seed_gives_other_texts(llama):
    a, b = (sample_texts(sampler(llama(NAME), seed=s), 2, "test") for s in (1, 2))
    assert not a.equals(b)


def test_blank_answers_are_drawn_again_and_then_an_error(llama):
    first = sample_texts(sampler(llama(NAME)), 4, "test")
    blank = frozenset(first.filter((first["row"] == 0) & (first["sample"] == 0))["tokens"][0].to_list())
    again = sample_texts(sampler(llama(NAME), blank=blank, redraws=9), 4, "test")
    assert again["redraws"].max() > 0
    kept = again.filter(again["redraws"] == 0).join(first, on=["row", "sample"], suffix="_first")
    assert kept.height
    assert kept["tokens"].to_list() == kept["tokens_first"].to_list()
    with pytest.raises(RLRFError, match="stayed empty after 1 redraws"):
        sample_texts(sampler(llama(NAME), blank=frozenset(range(64)), redraws=1), 4, "test")


def same(one, two):
    """Equal texts; the last bits of their log-probabilities go with what was beside them in a batch."""
    assert (one["log_prob"] - two["log_prob"]).abs().max() < 1e-4
    return one.drop("log_prob").equals(two.drop("log_prob"))


def counted(monkeypatch):
    """Counts the texts that are drawn, batch by batch."""
    drawn, real = [], Sampler._draw

    def draw(self, prompts, samples, attempt):
        drawn.append((len(prompts), samples))
        return real(self, prompts, samples, attempt)

    monkeypatch.setattr(Sampler, "_draw", draw)
    return drawn


def test_a_killed_sampling_goes_on_with_the_batches_that_are_missing(llama, monkeypatch):
    monkeypatch.setattr("rlrf4rec.store.EVERY", 0.0)
    whole = sample_texts(sampler(llama(NAME), identity="whole"), 1, "test")
    drawn, real = counted(monkeypatch), Sampler.sample

    def killed(self, batch):
        if len(drawn) == 2:
            raise KeyboardInterrupt
        return real(self, batch)

    monkeypatch.setattr(Sampler, "sample", killed)
    with pytest.raises(KeyboardInterrupt):
        sample_texts(sampler(llama(NAME), identity="killed"), 1, "test")
    monkeypatch.setattr(Sampler, "sample", real)
    again = sampler(llama(NAME), identity="killed")
    assert sample_texts(again, 1, "test").equals(whole)
    assert (again.fresh, again.kept, again.other_batches) == (6, 6, 0)
    assert len(drawn) == 4  # four prompts, none of them twice


def test_more_samples_more_users_and_changed_prompts_cost_only_what_is_new(llama, monkeypatch):
    drawn = counted(monkeypatch)
    first = sample_texts(sampler(llama(NAME), PROMPTS[:3], 2, identity="model"), 4, "test")
    assert drawn == [(3, [0, 1])]
    more = sample_texts(sampler(llama(NAME), PROMPTS[:3], 5, identity="model"), 4, "test")
    assert drawn[1:] == [(3, [2, 3, 4])]
    assert same(more.filter(more["sample"] < 2), first)
    users = sample_texts(sampler(llama(NAME), PROMPTS, 5, identity="model"), 4, "test")
    assert drawn[2:] == [(1, [0, 1, 2, 3, 4])]
    assert same(users.head(15), more)
    changed = [PROMPTS[0][:-1], *PROMPTS[1:]]
    last = sampler(llama(NAME), changed, 5, identity="model")
    assert same(sample_texts(last, 4, "test").tail(15), users.tail(15))
    assert last.fresh == 5
    fresh = sample_texts(sampler(llama(NAME), changed, 5, identity="elsewhere"), 4, "test")
    assert same(sample_texts(last, 4, "test"), fresh)  # grown or drawn at once: the same texts


def test_another_policy_or_setting_is_sampled_anew(llama):
    for changes in (
        {"identity": "a"},
        {"identity": "b"},
        {"identity": "a", "seed": 8},
        {"identity": "a", "redraws": 3},
    ):
        made = sampler(llama(NAME), **changes)
        sample_texts(made, 4, "test")
        assert made.fresh == 12


def test_equal_prompts_get_equal_texts_and_are_sampled_once(llama):
    made = sampler(llama(NAME), [PROMPTS[0], PROMPTS[1], PROMPTS[0]], identity="model")
    texts = sample_texts(made, 4, "test")
    assert made.fresh == 6
    assert texts["tokens"].to_list()[:3] == texts["tokens"].to_list()[6:]


class Words:
    """A tokenizer of five tokens."""

    all_special_ids = [0]
    words = ["", " a", "\n", "b\nc", "  "]

    def __len__(self):
        return len(self.words)

    def decode(self, tokens, skip_special_tokens):
        return "".join(self.words[t] for t in tokens)


def test_every_token_that_holds_a_stop_text_stops():
    assert stop_tokens(Words(), Words.words, ["\n"]) == {0, 2, 3}
    assert blank_tokens(Words.words) == {0, 2, 4}
    with pytest.raises(RLRFError, match="no token of this LLM holds"):
        stop_tokens(Words(), Words.words, ["END"])


def test_a_tokenizer_has_a_text_of_every_id_up_to_its_last(tmp_path):
    """Its length alone says too little where ids between are left out."""
    tokenizer = words(tmp_path)
    assert token_texts(tokenizer) == [f"w{i}" if i not in (2, 3) else "" for i in range(64)]
    sparse = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0, "b": 4}, "a")))
    assert len(sparse) == 2
    assert token_texts(sparse) == ["a", "", "", "", "b"]


def test_a_text_ends_before_its_stop():
    assert to_text(Words(), [1, 3, 1], ["\n"]) == "ab"
    assert to_text(Words(), [1, 4, 2], ["\n"]) == "a"
    assert to_text(Words(), [1, 1], ["\n"]) == "a a"
