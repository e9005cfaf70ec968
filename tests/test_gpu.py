"""What the repository says of GPUs, on one where there is one.

A test of `device` runs on the CPU as well, where no other test does the same; the others need a GPU.
"""

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_dpo import PAIRS, SETTINGS
from test_dpo import words as trl_words
from test_estimate import params as some_params
from test_ranking import HOW
from test_sampling import PROMPTS, plain_nucleus, sampler
from test_whole_loop import as_it_was_told, metrics, place, run_loop, write_params  # noqa: F401
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM
from words import words

from rlrf4rec import capacity, estimate, machine
from rlrf4rec.alignment import module
from rlrf4rec.alignment.module import DpoModule, reference_log_probs
from rlrf4rec.alignment.packed import NAME as PACKED
from rlrf4rec.alignment.packed import TokenPair, completion_log_probs, pack
from rlrf4rec.alignment.policy import new_policy, save_adapter
from rlrf4rec.encoding.encoder import encode_texts
from rlrf4rec.estimate import LlmSize, Work
from rlrf4rec.llm.models import Place, load_llm, load_policy
from rlrf4rec.params.rounds import write_rounds
from rlrf4rec.sampling import nucleus
from rlrf4rec.sampling.generate import SamplingSettings
from rlrf4rec.sampling.sampler import Sampler, sample_texts
from rlrf4rec.sampling.shared_attention import NAME as SHARED

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
KINDS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=gpu)])
def device(request):
    return request.param


def on_gpu(model):
    return next(model.parameters()).is_cuda


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_the_same_again_and_their_log_probs_those_of_a_plain_forward(llama, device, kind):
    model, plain = (llama(name).to(device, KINDS[kind]) for name in (SHARED, "sdpa"))
    made = sample_texts(sampler(model, n=5), 2, "test")
    assert sample_texts(sampler(model, n=5), 2, "test").equals(made)
    assert next(model.parameters()).device.type == device
    for row in made.iter_rows(named=True):
        prompt, tokens = PROMPTS[row["row"]], torch.tensor(row["tokens"], device=device)
        whole = torch.tensor([prompt + row["tokens"]], device=device)
        with torch.inference_mode():
            logits = plain(whole).logits[0, len(prompt) - 1 : -1]
        exact = nucleus.log_prob(logits, tokens).sum()
        assert row["log_prob"] == pytest.approx(float(exact), abs=1e-4 if kind == "float32" else 0.4)


@gpu
def test_in_float32_the_texts_of_a_gpu_are_those_of_the_cpu(llama):
    cpu, cuda = (sample_texts(sampler(llama(SHARED).to(where), n=20), 3, "test") for where in ("cpu", "cuda"))
    assert cuda.drop("log_prob").equals(cpu.drop("log_prob"))
    assert (cuda["log_prob"] - cpu["log_prob"]).abs().max() < 1e-3


@gpu
def test_a_sampler_takes_more_batches_after_the_first_run(llama):
    """What all prompts share is kept where it was computed, and the model has to be there still."""
    made = sampler(llama(SHARED).to("cuda"))
    sample_texts(made, 2, "test")
    assert len(made.sample(([0, 1], [3, 4]))) == 4


@gpu
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("temperature", "top_k", "top_p"), [(1.0, 0, 0.9), (2.0, 7, 0.8), (0.7, 0, 0.5)])
def test_draws_on_a_gpu_follow_the_top_k_and_the_nucleus_by_chi_square(kind, temperature, top_k, top_p):
    rows, generator = 40_000, torch.Generator().manual_seed(4)
    logits = (torch.randn(16, generator=torch.Generator().manual_seed(3)) * 2).to(KINDS[kind])
    uniform = torch.rand(rows, nucleus.DRAWS, generator=generator, dtype=torch.double)
    drawn = nucleus.sample(logits.cuda().expand(rows, -1), uniform.cuda(), temperature, top_k, top_p).cpu()
    expected = plain_nucleus(logits, temperature, top_k, top_p) * rows
    counts = torch.bincount(drawn, minlength=16).double()
    assert float(counts[expected == 0].sum()) == 0
    inside = expected > 0
    assert float(((counts - expected)[inside] ** 2 / expected[inside]).sum()) < 40  # 99.9 % point: 37.7 at 15


def tuned(llama, where, dropout=0.0, settings=SETTINGS, identity=None):
    policy = new_policy(llama(PACKED).to(where), 4, 8, dropout, 0)
    reference = reference_log_probs(policy, PAIRS, 2, settings.precision, "test", identity)
    return policy, reference, DpoModule(policy, PAIRS, reference, replace(settings, device=where))


def weights(policy):
    return [p.detach().cpu().clone() for p in policy.parameters() if p.requires_grad]


def gradients(policy):
    return torch.cat([p.grad.flatten().cpu() for p in policy.parameters() if p.requires_grad])


@gpu
def test_loss_and_gradients_of_dpo_on_a_gpu_are_those_of_the_cpu(llama):
    found = {}
    for where in ("cpu", "cuda"):
        policy, reference, dpo = tuned(llama, where)
        with torch.no_grad():  # away from the reference
            for p in policy.parameters():
                if p.requires_grad:
                    p += 0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())).to(where)
        loss = dpo.to(where).judge(torch.arange(4)).loss.mean()
        loss.backward()
        found[where] = float(loss.detach()), reference, gradients(policy)
    (loss, reference, grads), (gpu_loss, gpu_reference, gpu_grads) = found["cpu"], found["cuda"]
    assert torch.allclose(gpu_reference.chosen, reference.chosen, atol=1e-4)
    assert abs(loss - math.log(2)) > 1e-3
    assert gpu_loss == pytest.approx(loss, abs=1e-4)
    assert float(grads.abs().max()) > 1e-3
    assert torch.allclose(gpu_grads, grads, atol=1e-4)


@gpu
@pytest.mark.filterwarnings("ignore")
def test_trl_on_a_gpu_has_the_same_loss_and_gradients_and_trains_the_same(llama, tmp_path):
    from rlrf4rec.alignment import trl_engine

    policy, reference, dpo = tuned(llama, "cuda")
    s = replace(SETTINGS, device="cuda")
    run = trl_engine.trainer(policy, trl_words(), PAIRS, reference, s, str(tmp_path))
    policy.eval()
    batch = run._prepare_inputs(run.data_collator([run.train_dataset[i] for i in range(4)]))
    theirs = run.compute_loss(run.model, batch)
    theirs.backward()
    expected = gradients(policy)
    policy.zero_grad()
    ours = dpo.to("cuda").judge(torch.arange(4)).loss.mean()
    ours.backward()
    assert float(ours) == pytest.approx(float(theirs), abs=1e-4)
    assert torch.allclose(gradients(policy), expected, atol=1e-4)
    policy, reference, dpo = tuned(llama, "cuda")
    steps = trl_engine.train(policy, trl_words(), PAIRS, reference, s)
    assert on_gpu(policy)
    assert len(steps) == 12
    assert steps[0].loss == pytest.approx(module.train(tuned(llama, "cuda")[2], "test", None)[0].loss, abs=1e-4)
    assert steps[-1].loss < 0.4


@gpu
@pytest.mark.parametrize("kind", KINDS)
def test_training_on_a_gpu_is_reproducible_and_leaves_the_policy_there(llama, kind):
    def train():
        policy, _, dpo = tuned(llama, "cuda", 0.3, replace(SETTINGS, precision=kind))
        steps = module.train(dpo, "test", None)
        return policy, steps, weights(policy)

    (policy, steps, one), (_, again, two) = train(), train()
    assert on_gpu(policy)
    assert len(steps) == 12
    assert steps[0].loss == pytest.approx(math.log(2), abs=0.3)  # dropout; in bfloat16 it rounds besides
    assert steps[-1].loss < steps[0].loss
    assert steps == again
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@gpu
def test_training_in_float32_on_a_gpu_is_that_of_the_cpu(llama):
    (_, _, cpu), (_, _, cuda) = (tuned(llama, where) for where in ("cpu", "cuda"))
    steps, expected = (module.train(dpo, "test", None) for dpo in (cuda, cpu))
    assert [s.loss for s in steps] == pytest.approx([s.loss for s in expected], abs=1e-2)


@gpu
@pytest.mark.parametrize("kill_after", [1, 5])
def test_a_training_killed_on_a_gpu_goes_on_and_ends_the_same_to_the_bit(llama, monkeypatch, kill_after):
    """With dropout, which a GPU draws from a generator of its own."""
    monkeypatch.setattr("rlrf4rec.store.EVERY", 0.0)

    def train(identity, kill):
        policy, _, dpo = tuned(llama, "cuda", 0.3, identity=identity)
        real, seen = dpo.training_step, []

        def step(rows):
            if len(seen) == kill:
                raise RuntimeError("killed")
            seen.append(rows)
            return real(rows)

        dpo.training_step = step
        return module.train(dpo, "test", identity), weights(policy), len(seen)

    steps, whole, _ = train("whole", None)
    with pytest.raises(RuntimeError, match="killed"):
        train("killed", kill_after)
    torch.cuda.manual_seed(99)  # a new process has another state
    again, same, done = train("killed", None)
    assert done == 12 - kill_after
    assert again == steps
    assert all(torch.equal(a, b) for a, b in zip(whole, same, strict=True))


@gpu
def test_vectors_of_a_gpu_are_those_of_the_cpu(tmp_path, monkeypatch):
    torch.manual_seed(0)
    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    model = BertModel(BertConfig(**sizes, num_attention_heads=4, initializer_range=0.3)).eval()
    texts = [" ".join(f"w{(i * j) % 64}" for j in range(1, i + 2)) for i in range(40)]
    cuda = encode_texts(model, words(tmp_path), texts, 16, 7, "test", None)
    assert on_gpu(model)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    cpu = encode_texts(model, words(tmp_path), texts, 16, 7, "test", None)
    assert torch.allclose(cuda, cpu, atol=1e-5)


@gpu
def test_auto_is_the_gpu_in_bfloat16_and_the_estimate_knows_its_memory():
    p = machine.resolve(some_params(sample__dtype="auto", dpo__precision="auto", llm__device="auto"))
    assert (p.sample.dtype, p.dpo.precision) == ("bfloat16", "bfloat16")
    assert Place.of(p.llm.device, "none", None).device == "cuda"
    name = torch.cuda.get_device_name(0)
    assert machine.arithmetic("bfloat16", "cuda").startswith(f"bfloat16 on {name}, ")
    here = capacity.machine_here("auto", p.sample.dtype)
    assert here.gpu == torch.cuda.get_device_properties(0).total_memory
    assert capacity.machine_here("cpu").gpu is None
    assert not machine.emulated(["sample.dtype"], "cuda")
    assert machine.slowdown("cuda") < 1


@gpu
@pytest.mark.parametrize("kind", KINDS)
def test_a_gpu_holds_at_most_what_the_estimate_says_and_not_much_less(kind):
    """The weights of a policy while it is merged, sampling for 32 users, and a batch of DPO, one after the other."""
    torch.manual_seed(0)
    shape = {"hidden_size": 512, "num_hidden_layers": 8, "vocab_size": 32_000, "intermediate_size": 1536}
    heads = {"num_attention_heads": 8, "num_key_value_heads": 4, "max_position_embeddings": 1024}
    model = LlamaForCausalLM(LlamaConfig(**shape, **heads, attn_implementation=SHARED)).eval()
    llm = LlmSize(sum(p.numel() for p in model.parameters()), 8, 512, 256, 32_000)
    work, generator = Work(32, 400, 250), torch.Generator().manual_seed(1)
    shared = torch.randint(10, 32_000, (work.shared,), generator=generator).tolist()
    own = torch.randint(10, 32_000, (32, work.tokens - work.shared), generator=generator).tolist()
    p = some_params(sample__dtype=kind, dpo__precision=kind, sample__batch_users=32, dpo__lora_dropout=0.0)
    here = estimate.Machine(16, 6e13, 1e12, 128e9, 500e9, 80e9)
    needs = {need.stage: need.gpu - estimate.CONTEXT for need in estimate.needs(p, llm, work, here)}

    def held(call):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() if not on_gpu(model) else 0
        call()
        return torch.cuda.max_memory_allocated() - before

    def sample():
        model.cuda()  # in float32, as a policy is merged
        model.to(KINDS[kind])
        settings = SamplingSettings(1.0, 0, 0.9, p.sample.max_tokens, frozenset([0]))
        sample_texts(Sampler(model, [shared + o for o in own], settings, p.sample.n, 1, 0, frozenset(), None), 32, "t")

    def train():
        model.set_attn_implementation(PACKED)
        policy = new_policy(model, p.dpo.lora_rank, p.dpo.lora_alpha, 0.0, 0)
        length = p.sample.max_tokens
        pairs = [TokenPair(shared + o, o[:length], o[length : 2 * length]) for o in own[: p.dpo.batch]]
        with torch.autocast("cuda", torch.bfloat16, enabled=kind == "bfloat16"):
            policy.train()
            completion_log_probs(policy.get_base_model(), pack(pairs).to("cuda")).chosen.sum().backward()

    for stage, call in (("sample", sample), ("train_dpo", train)):
        peak = held(call)
        print(f"{stage} {kind}: {peak / 1e6:.0f} MB held, {needs[stage] / 1e6:.0f} MB estimated")
        assert needs[stage] / 6 < peak < needs[stage], stage


RANKERS = """
import torch
from test_ranking import HOW, OTHERS, material, world
from rlrf4rec.retraining.parallel import Job, train_all
torch.ones(1, device="cuda").sum().item()
torch.set_num_threads(2)
jobs = [Job("prm", material(*world()), HOW, seed, OTHERS) for seed in (3, 4)]
print([len(each.losses) for each in train_all(jobs, "test")])
"""


@gpu
def test_re_rankers_are_trained_in_processes_of_a_program_that_has_used_the_gpu():
    """A program of its own: after training on the GPU, as other tests do, no process of it could train."""
    tests = {"PYTHONPATH": f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run([sys.executable, "-c", RANKERS], env=os.environ | tests, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"[{HOW.epochs}, {HOW.epochs}]"


@gpu
def test_an_llm_of_four_bits_is_tuned_and_sampled_from(llm, llama, tmp_path):
    pytest.importorskip("bitsandbytes")
    where = Place.of("auto", "4bit", None)
    config = llama().config
    config.hidden_size, config.intermediate_size, config.head_dim = 64, 128, 16  # rows of whole blocks
    torch.manual_seed(0)
    full = LlamaForCausalLM(config).eval()
    full.save_pretrained(llm)
    base = load_llm(llm, torch.bfloat16, PACKED, where)
    small, whole = (sum(p.numel() * p.element_size() for p in m.model.layers.parameters()) for m in (base, full))
    assert small < whole / 4
    tokens = torch.tensor([PROMPTS[1]])
    with torch.inference_mode():
        near, exact = base(tokens.cuda()).logits.float().cpu().flatten(), full(tokens).logits.flatten()
    assert torch.corrcoef(torch.stack([near, exact]))[0, 1] > 0.6
    s = replace(SETTINGS, precision="bfloat16", device="cuda", epochs=10)
    policy = new_policy(base, 4, 8, 0.0, 0)
    reference = reference_log_probs(policy, PAIRS, 2, s.precision, "test", None)
    steps = module.train(DpoModule(policy, PAIRS, reference, s), "test", None)
    assert steps[-1].loss < 0.4 < steps[0].loss
    save_adapter(policy, llm, tmp_path / "adapter")
    after = reference_log_probs(policy, PAIRS, 2, s.precision, "test", None)
    again = load_policy(llm, tmp_path / "adapter", torch.bfloat16, PACKED, where)
    told = reference_log_probs(again, PAIRS, 2, s.precision, "test", None)
    assert torch.allclose(told.chosen, after.chosen, atol=0.5)
    assert float((after.chosen - reference.chosen).mean()) > float((after.rejected - reference.rejected).mean())
    texts = sample_texts(sampler(load_policy(llm, tmp_path / "adapter", torch.bfloat16, SHARED, where)), 2, "test")
    assert texts.height == 12


@gpu
@pytest.mark.parametrize("engine", ["lightning", "trl"])
@pytest.mark.filterwarnings("ignore")
def test_the_whole_loop_runs_on_a_gpu_and_says_so(place, engine, capsys):  # noqa: F811
    auto = {name: {"dtype": "auto"} for name in ("sample", "knowledge", "probe")}
    watch = {"precision": "auto"}
    write_params(place, {**auto, "dpo": {"precision": "auto", "engine": engine}, "watch": watch})
    write_rounds(Path("params.yaml"), 2)
    run_loop()
    as_it_was_told()
    name = f"bfloat16 on {torch.cuda.get_device_name(0)}, "
    for stage, entry in (("train_dpo", "round1"), ("train_dpo", "round2"), ("tune_dpo", None), ("sample", "round1")):
        assert machine.said(metrics(stage, entry)).startswith(name), stage
    assert machine.said(metrics("watch")).startswith(name)
    out, err = capsys.readouterr()
    assert [line for line in out.splitlines() if line.startswith("train_dpo round1: wrote") and name in line]
    assert "GB of GPU memory and" in err
