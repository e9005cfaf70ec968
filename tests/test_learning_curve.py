from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from rlrf4rec import paths
from rlrf4rec.alignment import module, packed
from rlrf4rec.alignment.module import DpoModule, DpoSettings
from rlrf4rec.alignment.packed import TokenPair
from rlrf4rec.alignment.policy import new_policy, save_adapter
from rlrf4rec.errors import RLRFError
from rlrf4rec.files import read_json, write_json
from rlrf4rec.learning_curve import curve, tuner
from rlrf4rec.llm.models import CPU
from rlrf4rec.params import Dpo, LearningCurve, Llm, Reward, Sample, TrainDpo
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.reward.models import models_of
from rlrf4rec.reward.rewards import groups
from rlrf4rec.stages import learning_curve


def test_learning_curve_points_by_hand():
    gains = {20: np.array([[0.2, 0.4], [0.0, 0.2], [0.1, 0.3]]), 10: np.zeros((3, 2))}
    rows = curve.points(gains, 200, 0)
    assert [row["pairs"] for row in rows] == [0, 10, 20]
    assert rows[0]["gain"] == rows[1]["gain"] == 0.0
    assert rows[2]["gain"] == pytest.approx(0.2)
    assert rows[2]["repeats"] == pytest.approx([0.1, 0.3])
    assert rows[2]["low"] <= 0.2 <= rows[2]["high"]


def test_learning_curve_sizes_and_users():
    assert curve.sizes([180, 45, 90, 45], 120) == [45, 90]
    with pytest.raises(RLRFError, match=r"30 pairs, fewer than any of learning_curve.pairs = \[45\]"):
        curve.sizes([45], 30)
    users = pl.DataFrame({"user": list("abcdef"), "fold": ["train", "validation"] * 3})
    assert curve.held_out_users(users, 9, 0) == ["b", "d", "f"]
    some = curve.held_out_users(users, 2, 5)
    assert len(some) == 2
    assert some == curve.held_out_users(users.reverse(), 2, 5)
    assert set(some) < {"b", "d", "f"}


DPO = Dpo(
    engine="lightning", lora_rank=4, lora_alpha=8, lora_dropout=0.0, lora_target="all-linear", batch=2,
    accumulate=1, epochs=2, warmup=0.0, weight_decay=0.0, max_grad_norm=1.0, reference="base", precision="float32",
)  # fmt: skip
PAIRS = [TokenPair([1, 5, 6], [8, 9, 2], [10, 2]), TokenPair([1, 7], [3, 2], [4, 2]), TokenPair([1, 9], [5], [6])]


@pytest.fixture
def tiny(llama, monkeypatch):
    """The learning curve on a tiny LLM with three pairs."""
    monkeypatch.setattr(tuner, "load_tokenizer", lambda folder, trusted: None)
    monkeypatch.setattr(tuner, "load_llm", lambda folder, dtype, attention, place: llama(attention))
    monkeypatch.setattr(tuner, "token_pairs", lambda frame, prompts, context: PAIRS)


def test_tuning_uses_the_chosen_pairs_alone_and_starts_from_the_base_each_time(tiny, llama, tmp_path):
    work = tuner.Tuner(pl.DataFrame(), pl.DataFrame(), False, DPO, {"beta": 0.5, "learning_rate": 0.01}, tmp_path, CPU)
    for name, rows in (("first", [0, 1, 2]), ("some", [0, 2])):
        work.tune(rows, 3, 7, tmp_path / name)
    policy = new_policy(llama(packed.NAME), 4, 8, 0.0, 7)
    some = [PAIRS[0], PAIRS[2]]
    reference = module.reference_log_probs(policy, some, 2, "float32", "test", None)
    module.train(
        DpoModule(policy, some, reference, DpoSettings(0.5, 0.01, 2, 3, 0.0, 0.0, 1.0, "float32", 7)), "test", None
    )
    save_adapter(policy, tmp_path, tmp_path / "direct")
    one, two = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("some", "direct"))
    assert all(torch.allclose(one[key], two[key], atol=1e-5) for key in two)
    first = load_file(tmp_path / "first" / "adapter_model.safetensors")
    assert not all(torch.allclose(first[key], two[key], atol=1e-5) for key in two)


def test_users_are_judged_by_the_models_that_did_not_train_on_them():
    """A tuning user by those of the other half, a validation user by all; a user without lists by none."""
    users = pl.DataFrame({"fold": ["train", "train", "validation", "validation"], "half": ["A", "B", "-", "-"]})
    items = torch.tensor([[0, 1], [1, 0], [0, 1]])
    lists = Lists(torch.tensor([0, 1, 2]), torch.tensor([0, 1, 0]), items, items, torch.zeros(3))
    group = groups(users, lists)
    assert group == {0: "A", 1: "B", 2: "validation"}
    assert models_of(["A-0", "B-0", "A-1"], group) == {0: [1], 1: [0, 2], 2: [0, 1, 2]}


class Judge:
    """Rewards 1 for base texts, and 1 + pairs / 10 for those of an adapter that names its number of pairs."""

    row, group = {"v1": 0, "v2": 1}, {0: "validation", 1: "validation"}

    def __init__(self, *args):
        pass

    def rewards(self, users, adapter):
        return [1.0 + (int(adapter.read_text()) / 10 if adapter.name == "adapter" else 0.0)] * 2 * len(users)


def test_the_curve_holds_every_size_against_the_same_base_texts(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    users = pl.DataFrame({"user": ["v1", "v2", "v3", "t"], "fold": ["validation"] * 3 + ["train"]})
    seen = []

    def tune(self, rows, epochs, seed, target):
        seen.append((rows, epochs))
        target.write_text(str(len(rows)))

    for name, value in {
        "FOLD_USERS": SimpleNamespace(read=lambda path: users),
        "read_pairs": lambda path, users: pl.DataFrame({"user": ["t"] * 8}),
        "PROMPTS": SimpleNamespace(read=lambda path: pl.DataFrame()),
        "Judge": Judge,
        "Tuner": type("Tuner", (), {"__init__": lambda self, *args: None, "tune": tune, "dpo": DPO}),
    }.items():
        monkeypatch.setattr(learning_curve, name, value)
    write_json(paths.TUNE_DPO, {"learning_rate": 0.01, "beta": 0.2})
    monkeypatch.setitem(Judge.row, "v3", 2)  # a validation user without lists
    llm = Llm(device="cpu", quantization="none", trust_remote_code=None)
    sample = Sample(
        n=5, temperature=1.0, top_k=0, top_p=0.9, max_tokens=4, stop=["x"], redraws=0, batch_users=2, dtype="float32"
    )
    block = LearningCurve(pairs=[2, 8], users=3, samples=2, repeats=2, equal_steps=True, bootstrap=100)
    reward, train = Reward(kind="personal", k=5, other_lists=2), TrainDpo(beta=None, learning_rate=None)
    closing = learning_curve.run(0, sample, llm, None, reward, DPO, train, block, "round1")
    report = read_json(tmp_path / "metrics" / "learning_curve" / "round1.json")
    assert [(p["pairs"], p["gain"]) for p in report["points"]] == [(0, 0.0), (2, 0.2), (8, 0.8)]
    assert (report["users"], report["reward_base"]) == (2, 1.0)
    assert "beta=0.2 (search)" in closing
    assert [(len(rows), epochs) for rows, epochs in seen] == [(2, 8), (8, 2)] * 2
    assert set(seen[0][0]) < set(seen[1][0])
    assert seen[0][0] != seen[2][0]  # another repeat, other pairs
    assert (
        (tmp_path / "metrics" / "plots" / "learning_curve" / "round1.csv").read_text().startswith("pairs,gain,low,high")
    )
