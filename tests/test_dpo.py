import math
from dataclasses import replace

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from rlrf4rec.alignment import module
from rlrf4rec.alignment.loss import LogProbs, dpo_loss
from rlrf4rec.alignment.module import DpoModule, DpoSettings, rate, reference_log_probs
from rlrf4rec.alignment.packed import NAME, TokenPair, completion_log_probs, pack
from rlrf4rec.alignment.policy import load_policy_for_training, new_policy, save_adapter
from rlrf4rec.alignment.reference import reference
from rlrf4rec.llm.models import load_policy

PAIRS = [
    TokenPair([1, 5, 6, 7], [8, 9, 2], [10, 2]),
    TokenPair([1, 5, 6], [11, 2], [12, 13, 14, 2]),
    TokenPair([1, 20, 21, 22, 23], [3], [4, 2]),
    TokenPair([1, 30], [31, 32, 2], [33, 34, 2]),
]
SETTINGS = DpoSettings(
    beta=0.5,
    learning_rate=0.01,
    batch=2,
    epochs=6,
    warmup=0.1,
    weight_decay=0.0,
    max_grad_norm=1.0,
    precision="float32",
    seed=1,
)


def test_loss_by_hand():
    policy = LogProbs(torch.tensor([-1.0, -5.0]), torch.tensor([-2.0, -1.0]))
    reference = LogProbs(torch.tensor([-1.5, -5.0]), torch.tensor([-1.5, -1.0]))
    loss, margin = dpo_loss(policy, reference, 0.5)
    assert margin.tolist() == pytest.approx([0.5 * (0.5 + 0.5), 0.0])
    assert loss.tolist() == pytest.approx([-math.log(1 / (1 + math.exp(-0.5))), math.log(2)])


def row(model, prompt, completion):
    """Log-probability of a completion in a row of its own."""
    logits = model(torch.tensor([prompt + completion])).logits[0, :-1]
    ids = torch.tensor(prompt + completion)[1:]
    return torch.log_softmax(logits, -1).gather(1, ids[:, None])[len(prompt) - 1 :].sum()


def plain(model, prompt, completion):
    """The same as a number."""
    return float(row(model, prompt, completion).detach())


def test_packed_rows_give_the_log_probs_of_separate_rows(llama):
    model = llama(NAME)
    with torch.no_grad():
        packed = completion_log_probs(model, pack(PAIRS))
        for i, pair in enumerate(PAIRS):
            assert float(packed.chosen[i]) == pytest.approx(plain(llama(), pair.prompt, pair.chosen), abs=1e-4)
            assert float(packed.rejected[i]) == pytest.approx(plain(llama(), pair.prompt, pair.rejected), abs=1e-4)


def test_a_prefix_of_all_prompts_stands_once_and_nothing_is_padded():
    batch = pack([TokenPair([1, 5, 6], [7, 2], [8]), TokenPair([1, 5], [9], [10, 2])])
    assert batch.prefix == 2
    assert batch.tokens.tolist() == [[1, 5, 6, 7, 2, 8, 9, 10, 2]]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 4, 3, 2, 2, 3]]
    assert batch.places.tolist() == [2, 3, 2, 1, 1, 7]
    assert batch.targets.tolist() == [7, 2, 8, 9, 10, 2]
    assert batch.lengths == (2, 1, 1, 2)
    assert batch.visible[0].int().tolist() == [
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 1, 0],
        [1, 1, 1, 0, 0, 1],
    ]


@pytest.mark.parametrize("chunk", [1, 3, 128])
def test_packed_rows_give_the_gradients_of_separate_rows(llama, monkeypatch, chunk):
    monkeypatch.setattr("rlrf4rec.alignment.packed.CHUNK", chunk)
    one, two = llama(NAME), llama()
    packed = completion_log_probs(one, pack(PAIRS))
    separate = LogProbs(
        torch.stack([row(two, pair.prompt, pair.chosen) for pair in PAIRS]),
        torch.stack([row(two, pair.prompt, pair.rejected) for pair in PAIRS]),
    )
    for log_probs in (packed, separate):
        dpo_loss(log_probs, LogProbs(torch.zeros(4), torch.zeros(4)), 0.1)[0].mean().backward()
    for (name, a), b in zip(one.named_parameters(), two.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-5), name


def test_a_pair_does_not_depend_on_its_batch(llama):
    model = llama(NAME)
    with torch.no_grad():
        together = completion_log_probs(model, pack(PAIRS)).chosen
        alone = torch.cat([completion_log_probs(model, pack([p])).chosen for p in PAIRS])
    assert torch.allclose(together, alone, atol=1e-5)


def tuned(llama, settings=SETTINGS, seed=0):
    policy = new_policy(llama(NAME), 4, 8, 0.0, seed)
    reference = reference_log_probs(policy, PAIRS, 2, "float32", "test", None)
    return policy, reference, DpoModule(policy, PAIRS, reference, settings)


def test_training_lowers_the_loss_moves_every_adapter_weight_and_no_other(llama):
    policy, _, dpo = tuned(llama)
    before = {name: p.detach().clone() for name, p in policy.named_parameters()}
    steps = module.train(dpo, "test", None)
    assert len(steps) == 12
    assert steps[0].loss == pytest.approx(math.log(2), abs=1e-5)  # a fresh adapter is the reference
    assert steps[-1].loss < 0.3
    assert steps[-1].accuracy == 1.0
    for name, p in policy.named_parameters():
        assert torch.equal(before[name], p.detach()) == ("lora" not in name), name


def test_one_batch_of_4_is_two_of_2_accumulated(llama):
    """The gradient of a batch is the mean of its halves' gradients: no padding or packing leaks between rows."""

    def gradients(rows):
        policy, _, dpo = tuned(llama)
        for part in rows:
            (dpo.judge(torch.tensor(part)).loss.sum() / 4).backward()
        return torch.cat([p.grad.flatten() for p in policy.parameters() if p.requires_grad])

    assert torch.allclose(gradients([[0, 1, 2, 3]]), gradients([[0, 1], [2, 3]]), atol=1e-6)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_training_with_accumulated_batches_is_training_with_large_ones(llama, batch):
    """Five pairs in steps of 4 (of 3), so that the last step of an epoch is not full."""

    def train(batch, accumulate):
        settings = replace(SETTINGS, batch=batch, accumulate=accumulate, epochs=3)
        policy = new_policy(llama(NAME), 4, 8, 0.0, 0)
        pairs = [*PAIRS, TokenPair([1, 5], [40, 2], [41, 42, 2])]
        dpo = DpoModule(policy, pairs, reference_log_probs(policy, pairs, 2, "float32", "test", None), settings)
        return module.train(dpo, "test", None), [p.detach() for p in policy.parameters() if p.requires_grad]

    accumulate = 1 if batch == 3 else 4 // batch
    (steps, weights), (expected, whole) = train(batch, accumulate), train(batch * accumulate, 1)
    assert len(steps) == 6
    assert [s.loss for s in steps] == pytest.approx([s.loss for s in expected], abs=1e-5)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(weights, whole, strict=True))


def test_training_is_reproducible(llama):
    losses = [[s.loss for s in module.train(tuned(llama)[2], "test", None)] for _ in range(2)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("kill_after", [1, 5, 11])
def test_a_killed_training_goes_on_and_ends_the_same_to_the_bit(llama, monkeypatch, kill_after):
    monkeypatch.setattr("rlrf4rec.store.EVERY", 0.0)

    def train(identity, kill):
        policy = new_policy(llama(NAME), 4, 8, 0.3, 0)  # with dropout: the random generator matters
        reference = reference_log_probs(policy, PAIRS, 2, "float32", "test", identity)
        dpo = DpoModule(policy, PAIRS, reference, SETTINGS)
        real, seen = dpo.training_step, []

        def step(rows):
            if len(seen) == kill:
                raise RuntimeError("killed")
            seen.append(rows.tolist())
            return real(rows)

        dpo.training_step = step
        steps = module.train(dpo, "test", identity)
        return steps, [p.detach().clone() for p in policy.parameters() if p.requires_grad], len(seen)

    steps, weights, _ = train("whole", None)
    with pytest.raises(RuntimeError, match="killed"):
        train("killed", kill_after)
    again, same, done = train("killed", None)
    assert done == 12 - kill_after
    assert again == steps
    assert all(torch.equal(a, b) for a, b in zip(weights, same, strict=True))


def test_reference_log_probs_are_kept(llama, monkeypatch):
    policy = new_policy(llama(NAME), 4, 8, 0.0, 0)
    first = reference_log_probs(policy, PAIRS, 2, "float32", "test", "llm")
    monkeypatch.setattr(module, "completion_log_probs", None)  # not called again
    again = reference_log_probs(policy, PAIRS, 2, "float32", "test", "llm")
    assert torch.equal(first.chosen, again.chosen)
    assert torch.equal(first.rejected, again.rejected)
    with pytest.raises(TypeError):
        reference_log_probs(policy, PAIRS, 2, "float32", "test", "another LLM")


def test_the_reference_is_told_by_the_sampler_where_it_wrote_the_texts_and_computed_elsewhere(llama, monkeypatch):
    policy = new_policy(llama(NAME), 4, 8, 0.0, 0)
    frame = pl.DataFrame({"chosen_log_prob": [-1.0, -2.0, -3.0, -4.0], "rejected_log_prob": [-5.0, -6.0, -7.0, -8.0]})
    computed = reference_log_probs(policy, PAIRS, 2, "float32", "test", None)

    def found(frame, wrote):
        return reference(policy, frame, PAIRS, wrote, 2, "float32", "test", None)

    assert torch.equal(found(frame, False).chosen, computed.chosen)
    monkeypatch.setattr(module, "reference_log_probs", None)  # not called
    told = found(frame, True)
    assert (told.chosen.tolist(), told.rejected.tolist()) == ([-1, -2, -3, -4], [-5, -6, -7, -8])


def test_halfway_is_called_once_in_the_middle(llama):
    calls = []
    policy, reference, _ = tuned(llama)
    dpo = DpoModule(policy, PAIRS, reference, SETTINGS, lambda: calls.append(len(dpo.steps)))
    module.train(dpo, "test", None)
    assert calls == [6]


def test_rate_rises_then_falls_to_zero():
    factor = rate(10, 0.2)
    assert [round(factor(s), 3) for s in (0, 1, 2, 6, 10)] == [0.5, 1.0, 1.0, 0.5, 0.0]


def test_adapter_files_are_equal_and_merge_to_the_tuned_policy(llama, tmp_path):
    base = tmp_path / "base"
    llama().save_pretrained(base)
    policy, _, dpo = tuned(llama)
    module.train(dpo, "test", None)
    for name in ("one", "two"):
        save_adapter(policy, base, tmp_path / name)
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    tokens = torch.tensor([[1, 5, 6, 7]])
    merged = load_policy(base, tmp_path / "one", torch.float32)
    assert torch.allclose(merged(tokens).logits, policy(tokens).logits, atol=1e-4)
    again = load_policy_for_training(llama(), tmp_path / "one")
    assert torch.allclose(again(tokens).logits, policy(tokens).logits, atol=1e-5)
    with again.disable_adapter():
        assert torch.allclose(again(tokens).logits, llama()(tokens).logits, atol=1e-6)


def words():
    """A tokenizer of 64 words for TRL."""
    from tokenizers import Tokenizer as Fast
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    model = WordLevel({f"w{i}": i for i in range(64)}, "w0")
    return PreTrainedTokenizerFast(tokenizer_object=Fast(model), pad_token="w0", eos_token="w2", bos_token="w1")


@pytest.mark.filterwarnings("ignore")
def test_trl_gives_the_same_loss_on_the_same_batch_and_the_same_adapter_format(llama, tmp_path):
    from rlrf4rec.alignment import trl_engine

    fast = words()
    for state in ("fresh", "moved"):
        policy, reference, dpo = tuned(llama)
        if state == "moved":
            module.train(dpo, "test", None)
        run = trl_engine.trainer(policy, fast, PAIRS, reference, SETTINGS, str(tmp_path))
        policy.eval()
        batch = run.data_collator([run.train_dataset[i] for i in range(4)])
        theirs = float(run.compute_loss(run.model, batch))
        ours = float(dpo.judge(torch.arange(4)).loss.mean())
        assert ours == pytest.approx(theirs, abs=1e-5)
    losses = []
    for engine in ("trl", "lightning"):
        policy, reference, dpo = tuned(llama)
        if engine == "trl":
            steps = trl_engine.train(policy, fast, PAIRS, reference, SETTINGS)
        else:
            steps = module.train(dpo, "test", None)
        save_adapter(policy, tmp_path, tmp_path / engine)
        losses.append([len(steps), steps[0].loss])
        assert steps[-1].loss < 0.4
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    one, two = (load_file(tmp_path / e / "adapter_model.safetensors") for e in ("trl", "lightning"))
    assert {k: v.shape for k, v in one.items()} == {k: v.shape for k, v in two.items()}
    configs = [(tmp_path / e / "adapter_config.json").read_text() for e in ("trl", "lightning")]
    assert configs[0] == configs[1]
