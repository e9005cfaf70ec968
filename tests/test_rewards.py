import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from rlrf4rec.errors import RLRFError
from rlrf4rec.evaluation.compare import reward_gain
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.reward import models, rewards
from rlrf4rec.reward.reliability import across_backbones, reliability
from rlrf4rec.reward.rewards import Scorer, UserRewards, score, tasks


class Dot(nn.Module):
    """Scores an item by the text's entry at the item's number."""

    def __init__(self, sign=1.0):
        super().__init__()
        self.register_buffer("sign", torch.tensor(sign))

    def forward(self, lists, text):
        return self.sign * text.gather(1, lists.item)


def lists():
    """Two users with two lists of three items each; the positive is item 0, then item 1."""
    item = torch.tensor([[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]])
    label = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]])
    return Lists(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1]), item, label, torch.zeros(4))


TEXTS = torch.tensor([[[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]], [[2.0, 3.0, 1.0], [0.0, 0.0, 0.0]]])


def run(nets=None, of=None, other_lists=8):
    nets = nets or [Dot()]
    of = of or {0: list(range(len(nets))), 1: list(range(len(nets)))}
    scorer = Scorer(nets, of, lists(), k=2)
    return score(scorer, tasks(lists(), TEXTS, {0: "A", 1: "A"}, other_lists, 0), "test")


def test_rewards_by_hand():
    first = run()[0]
    # Text 0 ranks 0, 1, 2: list 0 has its positive first, list 1 second. Text 1 ranks 2, 1, 0: third, then second.
    log2 = 1 / np.log2(3)
    assert first.ndcg[0].tolist() == [[1.0, pytest.approx(log2)], [0.0, pytest.approx(log2)]]
    assert first.map[0].tolist() == [[1.0, 0.5], [0.0, 0.5]]
    p = torch.log_softmax(torch.tensor([3.0, 2.0, 1.0]).double(), 0)
    assert first.smooth[0, 0].tolist() == pytest.approx([float(p[0]), float(p[1])])
    assert first.reward("ndcg").tolist() == pytest.approx([(1 + log2) / 2, log2 / 2])


@pytest.mark.parametrize("threads", [1, 2])
def test_reward_models_train_and_score_with_one_thread_whatever_there_is(threads, monkeypatch):
    """With two, sums of gradients come in another order from run to run, and rewards differ in their last digits."""
    before, seen = torch.get_num_threads(), []

    def see(*args):
        seen.append(torch.get_num_threads())
        return [0.0]

    torch.set_num_threads(threads)
    try:
        monkeypatch.setattr(models, "fit", see)
        how = models.Hyperparameters(0.1, 0.1, 4, 1)
        assert models.train(nn.Linear(2, 2), "match", lists(), TEXTS, how, 2, 0) == [0.0]
        monkeypatch.setattr(
            Dot, "forward", lambda self, lists, text: see(lists) and self.sign * text.gather(1, lists.item)
        )
        run()
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1}


def test_killed_scoring_goes_on_with_the_users_that_are_missing(monkeypatch):
    whole = run()
    monkeypatch.setattr("rlrf4rec.store.EVERY", 0.0)
    real, seen = Scorer.predict_step, []

    def step(self, task):
        if len(seen) == 1:
            seen.append("killed")
            raise RuntimeError("killed")
        seen.append(task.user)
        return real(self, task)

    monkeypatch.setattr(Scorer, "predict_step", step)
    with pytest.raises(RuntimeError, match="killed"):
        run(other_lists=1)
    again = run(other_lists=1)
    assert seen == [0, "killed", 1]
    assert [r.user for r in again] == [0, 1]
    monkeypatch.setattr("rlrf4rec.store.code", lambda *modules, **threads: "of another time")
    fresh = run(other_lists=1)
    for kept, new in zip(again, fresh, strict=True):
        for name in ("ndcg", "map", "smooth", "others"):
            assert torch.equal(getattr(kept, name), getattr(new, name))
            assert getattr(kept, name).dtype == getattr(new, name).dtype
    assert torch.equal(run()[0].smooth, whole[0].smooth)


def test_personal_is_own_minus_others_lists():
    first, second = run()
    own = first.smooth[0].mean(-1)
    # The other user's lists have the same positives, so nothing of the reward is personal.
    assert torch.allclose(first.others[0].mean(-1), own)
    assert first.reward("personal").abs().max() < 1e-12
    assert second.reward("personal").abs().max() < 1e-12


def test_others_are_never_own_lists_and_the_same_for_all_texts():
    made = tasks(lists(), TEXTS, {0: "A", 1: "A"}, 1, 3)
    assert made[0].own.tolist() == [0, 1]
    assert set(made[0].others.tolist()) <= {2, 3}
    alone = tasks(lists(), TEXTS, {0: "A", 1: "B"}, 5, 3)
    assert alone[0].others.tolist() == []


def test_only_models_of_the_other_half_score_a_user():
    names = ["A-0", "A-1", "B-0", "B-1"]
    of = models.models_of(names, {0: "A", 1: "B", 2: "validation"})
    assert of == {0: [2, 3], 1: [0, 1], 2: [0, 1, 2, 3]}


def test_a_model_that_trained_on_a_user_does_not_touch_its_reward():
    wild = Dot(-100.0)
    fair, crossed = run([Dot()], {0: [0], 1: [0]}), run([Dot(), wild], {0: [0], 1: [1]})
    assert torch.equal(fair[0].reward("smooth"), crossed[0].reward("smooth"))
    assert not torch.allclose(fair[1].reward("smooth"), crossed[1].reward("smooth"))


def user_rewards(user, own, noise, seed):
    """Two models, `own` [S] true values seen through noise on 6 lists."""
    g = torch.Generator().manual_seed(seed)
    values = own[None, :, None] + noise * torch.randn(2, len(own), 6, generator=g, dtype=torch.double)
    zero = torch.zeros(2, len(own), 4, dtype=torch.double)
    return UserRewards(user, values * 0, values * 0, values, zero)


def test_reliability_is_high_for_signal_and_none_for_noise():
    g = torch.Generator().manual_seed(0)
    true = [torch.randn(5, generator=g, dtype=torch.double) for _ in range(200)]
    signal = reliability([user_rewards(i, t, 0.1, i) for i, t in enumerate(true)])
    noise = reliability([user_rewards(i, t * 0, 1.0, i) for i, t in enumerate(true)])
    assert signal["smooth"]["split_half"] > 0.95
    assert signal["smooth"]["seed_to_seed"] > 0.95
    assert abs(noise["smooth"]["split_half"]) < 0.15
    assert abs(noise["smooth"]["seed_to_seed"]) < 0.15
    nothing = dict.fromkeys(["split_half", "seed_to_seed", "all_lists", "all_seeds"], 0.0)
    assert signal["ndcg"] == {**nothing, "tied_lists": 1.0, "tied_users": 1.0}
    half = signal["smooth"]["split_half"]
    assert signal["smooth"]["all_lists"] == pytest.approx(2 * half / (1 + half))  # Spearman-Brown by hand
    blurred = reliability([user_rewards(i, t, 2.0, i) for i, t in enumerate(true)])["smooth"]  # two models
    seeds = blurred["seed_to_seed"]
    assert blurred["all_seeds"] == pytest.approx(2 * seeds / (1 + seeds))
    assert blurred["all_seeds"] > seeds + 0.05
    assert signal["smooth"]["tied_lists"] == 0.0


def test_backbones_that_see_the_same_truth_agree_fully_once_noise_is_taken_out():
    g = torch.Generator().manual_seed(0)
    true = [torch.randn(5, generator=g, dtype=torch.double) for _ in range(400)]
    other = [torch.randn(5, generator=g, dtype=torch.double) for _ in range(400)]
    noisy = {b: [user_rewards(i, t, 2.0, 1000 * s + i) for i, t in enumerate(true)] for s, b in enumerate(("a", "b"))}
    noisy["c"] = [user_rewards(i, t, 2.0, 9000 + i) for i, t in enumerate(other)]
    found = across_backbones(noisy)["smooth"]
    assert set(found) == {"a-b", "a-c", "b-c"}
    assert 0.3 < found["a-b"]["correlation"] < 0.8
    assert found["a-b"]["disattenuated"] == pytest.approx(1.0, abs=0.1)
    assert abs(found["a-c"]["disattenuated"]) < 0.2


def test_noise_of_the_same_lists_is_no_agreement_of_backbones():
    noise = [user_rewards(i, torch.zeros(5, dtype=torch.double), 1.0, i) for i in range(200)]
    assert abs(across_backbones({"a": noise, "b": noise})["smooth"]["a-b"]["correlation"]) < 0.15
    with pytest.raises(RLRFError, match="two backbones or more that scored the same users"):
        across_backbones({"a": noise, "b": noise[1:]})


def test_a_level_that_differs_between_users_is_no_reliability():
    shifted = [user_rewards(i, torch.full((5,), float(i), dtype=torch.double), 1.0, i) for i in range(100)]
    assert abs(reliability(shifted)["smooth"]["split_half"]) < 0.2


def test_text_bank_and_kinds():
    llm, template = torch.zeros(3, 4, 2), torch.ones(3, 1, 2)
    assert models.text_bank(llm, template, "both").shape == (3, 8, 2)  # half of the draws are the template
    assert models.text_bank(llm, template, "llm") is llm
    assert set(rewards.KINDS) == {"ndcg", "map", "smooth", "personal"}


def test_reward_gain_by_hand():
    row = {"fold": "test", "map": 0.0, "personal": 0.0, "smooth": -1.0, "permuted_smooth": -1.0}
    rows = [
        {"policy": p, "user": u, **row, "ndcg": n, "permuted_ndcg": m}
        for p, u, n, m in (
            ("base", "a", 0.5, 0.5),
            ("base", "b", 0.4, 0.3),
            ("round1", "a", 0.7, 0.6),
            ("round1", "b", 0.4, 0.2),
        )
    ]
    gain = reward_gain(pl.DataFrame(rows), "round1", "test", 200, 0)
    assert gain["ndcg"]["difference"] == pytest.approx(0.1)
    assert gain["ndcg_personal_part"]["difference"] == pytest.approx(((0.1 - 0.0) + (0.2 - 0.1)) / 2)
    assert gain["ndcg"]["users"] == 2
