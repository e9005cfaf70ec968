"""With one thread and with two every kind of stage gives the same to the byte, or is named in the README."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_arithmetic import DPO, PAIRS
from test_ranking import HOW, OTHERS, material, world
from test_sampling import PROMPTS, SETTINGS
from torch.nn.modules.module import register_module_forward_pre_hook
from transformers import BertConfig, BertModel
from words import words

from rlrf4rec.alignment import module
from rlrf4rec.alignment.module import DpoModule, reference_log_probs
from rlrf4rec.alignment.packed import NAME as PACKED
from rlrf4rec.alignment.policy import new_policy
from rlrf4rec.cli import STAGES, STUDY
from rlrf4rec.encoding.encoder import encode_texts
from rlrf4rec.retraining.parallel import Job, train_all
from rlrf4rec.reward import models
from rlrf4rec.reward.models import Hyperparameters
from rlrf4rec.sampling.sampler import Sampler, sample_texts
from rlrf4rec.sampling.shared_attention import NAME as SHARED

ROOT = Path(__file__).parent.parent
NAMED = re.search(r"The rest \(([^)]*)\) computes\s+with the threads it gets", (ROOT / "README.md").read_text())
DIFFER = set(re.findall(r"`(\w+)`", NAMED[1]))


def sample(llama, folder):
    """Texts and their log-probabilities."""
    texts = sample_texts(Sampler(llama(SHARED), PROMPTS, SETTINGS, 3, 7, 2, frozenset(), None), 2, "test")
    return texts["tokens"].to_list(), texts["log_prob"].to_list()


def encode(llama, folder):
    """Vectors."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    encoder = BertModel(BertConfig(vocab_size=64, **sizes)).eval()
    texts = [" ".join(f"w{(i * j) % 60 + 4}" for j in range(1, 3 + i)) for i in range(9)]
    return encode_texts(encoder, words(folder), texts, 128, 2, "test", None).tolist()


def train_reward(llama, folder):
    """Weights, as trained and as read again, and losses."""
    item_features, texts, lists = world()
    net = models.new("match", item_features, texts, lists, 0.3, 16, 1)
    losses = models.train_anew(net, "match", lists, texts, Hyperparameters(0.01, 0.1, 16, 3), 32, 5)
    models.save(folder / "models", {"A-0": net}, "match", 16, ranked=False)
    read = models.load(folder / "models", item_features, 5, {}.__getitem__).nets["A-0"]
    return [[value.tolist() for value in (*each.parameters(), *each.buffers())] for each in (net, read)], losses


def train_ranker(llama, folder):
    """Weights, scores and losses of two nets, which with two threads are trained at once."""
    jobs = [Job("prm", material(*world()), replace(HOW, epochs=3), seed, OTHERS) for seed in (3, 4)]
    trained = train_all(jobs, folder.name)
    values = [[v.tolist() for v in (*t.weights.values(), *t.scores.values())] for t in trained]
    return values, [(t.losses, t.validation) for t in trained]


def train_dpo(llama, folder):
    """Weights of the adapter and steps."""
    policy = new_policy(llama(PACKED), 4, 8, 0.0, 0)
    reference = reference_log_probs(policy, PAIRS, 2, "float32", "test", None)
    steps = module.train(DpoModule(policy, PAIRS, reference, replace(DPO, epochs=2)), "test", None)
    return [p.tolist() for p in policy.parameters() if p.requires_grad], [vars(step) for step in steps]


KINDS = {work.__name__: work for work in (sample, encode, train_reward, train_ranker, train_dpo)}


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    """Threads are a CPU's."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


@pytest.fixture
def computed(tmp_path, monkeypatch):
    """What a kind of work gives with so many threads, and the numbers of threads that its nets have run with.

    They are noted in a file: workers are processes of their own.
    """

    def run(work, llama, threads):
        folder, before = tmp_path / str(threads), torch.get_num_threads()
        folder.mkdir()
        monkeypatch.setenv("DVC_ROOT", str(folder))  # nothing is taken from the store
        notes = folder / "threads"

        seen = set()

        def note(net, given):
            if torch.get_num_threads() not in seen:
                seen.add(torch.get_num_threads())
                with notes.open("a") as file:
                    file.write(f"{torch.get_num_threads()}\n")

        handle = register_module_forward_pre_hook(note)
        torch.set_num_threads(threads)
        try:
            return work(llama, folder), set(map(int, notes.read_text().split()))
        finally:
            torch.set_num_threads(before)
            handle.remove()

    return run


@pytest.mark.parametrize("kind", KINDS)
def test_one_thread_or_two_give_the_same_or_the_stage_is_named(computed, llama, kind):
    (one, with_one), (two, with_two) = (computed(KINDS[kind], llama, threads) for threads in (1, 2))
    assert with_one == {1}
    if kind in DIFFER:
        assert with_two == {2}
    else:
        assert with_two == {1}
        assert two == one


def test_the_stages_that_are_named_are_those_that_say_so_in_their_arithmetic():
    """Their metrics tell the number of threads of the process; those of the others say 1 thread, always."""
    source = {stage: (ROOT / "src/rlrf4rec/stages" / f"{stage}.py").read_text() for stage in (*STAGES, *STUDY)}
    found = {stage: re.findall(r"machine\.arithmetic\((.*)\)", text) for stage, text in source.items()}
    said = {stage: calls for stage, calls in found.items() if calls}
    assert {stage for stage, calls in said.items() if not all("threads=1" in call for call in calls)} == DIFFER
    assert set(said) - DIFFER >= {"sample", "tune_reward", "train_reward", "score", "train_ranker", "evaluate"}
