import numpy as np
import polars as pl
import pytest
import torch
from test_ranking import LENGTH, world
from torch import nn

from rlrf4rec import workers
from rlrf4rec.errors import InputError, RLRFError
from rlrf4rec.evaluation.compare import reward_gain
from rlrf4rec.judging.reliability import across_backbones, reliability
from rlrf4rec.ranking import nets
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.ranking.module import mean_ndcg, predict
from rlrf4rec.reward import kinds, models, rewards
from rlrf4rec.reward.rewards import RewardScorer, Scoring, UserRewards, score, tasks


def nobody(name):
    """Of models that read nothing beside the text no vectors are asked for."""
    raise AssertionError(name)


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
    scorer = RewardScorer(nets, of, lists(), k=2)
    return score([Scoring(scorer, tasks(lists(), TEXTS, {0: "A", 1: "A"}, other_lists, 0))], "test")[0]


def test_rewards_by_hand():
    first = run()[0]
    # Text 0 ranks 0, 1, 2: list 0 has its positive first, list 1 second. Text 1 ranks 2, 1, 0: third, then second.
    log2 = 1 / np.log2(3)
    assert first.ndcg[0].tolist() == [[1.0, pytest.approx(log2)], [0.0, pytest.approx(log2)]]
    assert first.map[0].tolist() == [[1.0, 0.5], [0.0, 0.5]]
    p = torch.log_softmax(torch.tensor([3.0, 2.0, 1.0]).double(), 0)
    assert first.smooth[0, 0].tolist() == pytest.approx([float(p[0]), float(p[1])])
    assert first.reward("ndcg").tolist() == pytest.approx([(1 + log2) / 2, log2 / 2])


def test_reward_models_train_and_score_with_one_thread_whatever_there_is(threads, monkeypatch):
    """With two, sums of gradients come in another order from run to run, and rewards differ in their last digits."""
    seen = []

    def see(*args):
        seen.append(torch.get_num_threads())
        return [0.0]

    def alone(self, lists, text):
        """Asserts where it computes: a worker's list would not come back."""
        assert torch.get_num_threads() == 1
        return self.sign * text.gather(1, lists.item)

    monkeypatch.setattr(models, "fit", see)
    monkeypatch.setattr(models, "mean_ndcg", lambda *args: see()[0])
    how = models.Hyperparameters(0.1, 0.1, 4, 1)
    job = models.Job(nn.Linear(2, 2), "match", lists(), TEXTS, how, 2, 0)
    assert models.train_all([job], lists(), "test") == ([[0.0]], [0.0])
    monkeypatch.setattr(Dot, "forward", alone)
    run()
    assert torch.get_num_threads() == threads
    assert set(seen) == {1}


@workers.one_thread()
def test_killed_scoring_goes_on_with_the_users_that_are_missing(monkeypatch):
    whole = run()
    monkeypatch.setattr("rlrf4rec.store.EVERY", 0.0)
    real, seen = RewardScorer.predict_step, []

    def step(self, task):
        if len(seen) == 1:
            seen.append("killed")
            raise RuntimeError("killed")
        seen.append(task.user)
        return real(self, task)

    monkeypatch.setattr(RewardScorer, "predict_step", step)
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


def test_several_scorings_at_once_give_what_each_gives_alone(threads, monkeypatch):
    """Each keeps its own users in the store: one that is there already is not scored again, nor taken for another's."""
    work = [tasks(lists(), TEXTS, {0: "A", 1: "A"}, 8, 0) for _ in range(2)]
    scorers = [RewardScorer([Dot(sign)], {0: [0], 1: [0]}, lists(), k=2) for sign in (1.0, -1.0)]
    alone = [score([Scoring(scorer, own)], "test")[0] for scorer, own in zip(scorers, work, strict=True)]
    monkeypatch.setattr("rlrf4rec.store.code", lambda *modules, **threads: f"of another time, {threads}")
    score([Scoring(scorers[1], work[1][:1])], "test")
    together = score([Scoring(scorer, own) for scorer, own in zip(scorers, work, strict=True)], "test")
    for found, wanted in zip(together, alone, strict=True):
        assert [r.user for r in found] == [0, 1]
        for one, other in zip(found, wanted, strict=True):
            assert all(torch.equal(getattr(one, name), getattr(other, name)) for name in rewards.VALUES)
    assert not torch.equal(together[0][0].smooth, together[1][0].smooth)


def test_personal_is_own_minus_others_lists():
    first, second = run()
    own = first.smooth[0].mean(-1)
    # The other user's lists have the same positives, so nothing of the reward is personal.
    assert torch.allclose(first.others[0].mean(-1), own)
    assert first.reward("personal").abs().max() < 1e-12
    assert second.reward("personal").abs().max() < 1e-12


def test_every_kind_by_hand():
    """Two models, one text, two own lists, two of others.

    Text 0: model 0 gives (-1 - 3) / 2 = -2 on own lists and (-4 - 2) / 2 = -3 on others': 1; model 1 gives
    (-5 - 7) / 2 = -6 and (-1 - 3) / 2 = -2: -4. Their mean is -1.5. Text 1 fits everybody alike.
    """
    own = torch.tensor([[[-1.0, -3.0], [-2.0, -2.0]], [[-5.0, -7.0], [-1.0, -1.0]]])
    others = torch.tensor([[[-4.0, -2.0], [-2.0, -2.0]], [[-1.0, -3.0], [-1.0, -1.0]]])
    ndcg = torch.tensor([[[1.0, 0.5], [0.0, 0.0]], [[0.5, 0.0], [0.0, 1.0]]])
    r = UserRewards(0, ndcg, ndcg / 2, own, others)
    assert r.per_model("personal").tolist() == [[1.0, 0.0], [-4.0, 0.0]]
    assert r.reward("personal").tolist() == [-1.5, 0.0]
    assert r.per_model("smooth").tolist() == [[-2.0, -2.0], [-6.0, -1.0]]
    assert r.reward("smooth").tolist() == [-4.0, -1.5]
    assert r.per_model("ndcg").tolist() == [[0.75, 0.0], [0.25, 0.5]]
    assert r.reward("ndcg").tolist() == [0.5, 0.25]
    assert r.reward("map").tolist() == [0.25, 0.125]
    # Even lists: own (-1 - 5) / 2 = -3, others (-4 - 1) / 2 = -2.5; odd lists: own -5, others -2.5.
    assert [half.tolist() for half in r.halves("personal")] == [[-0.5, 0.0], [-2.5, 0.0]]
    assert [half.tolist() for half in r.halves("smooth")] == [[-3.0, -1.5], [-5.0, -1.5]]
    assert [half.tolist() for half in r.halves("ndcg")] == [[0.75, 0.0], [0.25, 0.5]]
    assert torch.equal(r.by_list("personal"), own)
    assert torch.equal(r.by_list("map"), ndcg / 2)


def test_a_text_is_paid_for_what_fits_its_user_alone():
    """Scores log 6, log 3, log 1 are probabilities .6, .3, .1 of items 0, 1, 2.

    The user's positives are 0 and 1, another's 2 and 1: personal is (log .6 + log .3) / 2 - (log .1 + log .3) / 2,
    which is log(6) / 2, and for the text that gives all items the same, 0. A model of twice those scores has
    probabilities 36, 9, 1 of 46: log(36) / 2, twice as much.
    """
    item, label = torch.arange(3).repeat(4, 1), torch.eye(3, dtype=torch.int64)[[0, 1, 2, 1]]
    of = Lists(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1]), item, label, torch.zeros(4))
    texts = torch.tensor([6.0, 3.0, 1.0]).log() * torch.tensor([1.0, 0.0])[None, :, None].expand(2, 2, 1)
    scorer = RewardScorer([Dot(), Dot(2.0)], {0: [0, 1], 1: [0, 1]}, of, k=2)
    ((first, second),) = score([Scoring(scorer, tasks(of, texts, {0: "A", 1: "A"}, 2, 0))], "test")
    half = np.log(6) / 2
    assert first.per_model("personal").flatten().tolist() == pytest.approx([half, 0, 2 * half, 0], abs=1e-6)
    assert first.reward("personal").tolist() == pytest.approx([1.5 * half, 0], abs=1e-6)
    assert second.reward("personal").tolist() == pytest.approx([-1.5 * half, 0], abs=1e-6)
    assert first.per_model("smooth")[0].tolist() == pytest.approx([np.log(0.18) / 2, np.log(1 / 3)])


def test_others_are_never_own_lists_and_the_same_for_all_texts():
    made = tasks(lists(), TEXTS, {0: "A", 1: "A"}, 1, 3)
    assert made[0].own.tolist() == [0, 1]
    assert set(made[0].others.tolist()) <= {2, 3}


def test_a_user_alone_in_its_group_is_told():
    with pytest.raises(InputError, match=r"of the group A one user alone has lists, .* raise interactions.users"):
        tasks(lists(), TEXTS, {0: "A", 1: "B"}, 5, 3)


def test_only_models_of_the_other_half_score_a_user():
    names = ["A-0", "A-1", "B-0", "B-1"]
    of = models.models_of(names, {0: "A", 1: "B", 2: "validation"})
    assert of == {0: [2, 3], 1: [0, 1], 2: [0, 1, 2, 3]}


def test_the_models_of_a_seed_are_those_of_both_halves():
    made = {f"{half}-{n}": nn.Identity() for half in "AB" for n in (0, 1)}
    assert [list(own.nets) for own in models.by_seed(models.RewardModels(made))] == [["A-0", "B-0"], ["A-1", "B-1"]]


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
    signal = reliability([user_rewards(i, t, 0.1, i) for i, t in enumerate(true)], 2)
    noise = reliability([user_rewards(i, t * 0, 1.0, i) for i, t in enumerate(true)], 2)
    assert signal["smooth"]["split_half"] > 0.95
    assert signal["smooth"]["seed_to_seed"] > 0.95
    assert abs(noise["smooth"]["split_half"]) < 0.15
    assert abs(noise["smooth"]["seed_to_seed"]) < 0.15
    names = ["split_half", "seed_to_seed", "half_to_half", "labellers_to_judges", "all_lists", "all_models"]
    nothing = dict.fromkeys(names, 0.0)
    assert signal["ndcg"] == {**nothing, "tied_lists": 1.0, "tied_users": 1.0}
    half = signal["smooth"]["split_half"]
    assert signal["smooth"]["all_lists"] == pytest.approx(2 * half / (1 + half))  # Spearman-Brown by hand
    blurred = reliability([user_rewards(i, t, 2.0, i) for i, t in enumerate(true)], 2)["smooth"]  # two models
    seeds = blurred["seed_to_seed"]
    assert blurred["all_models"] == pytest.approx(2 * seeds / (1 + seeds))
    assert blurred["all_models"] > seeds + 0.05
    assert signal["smooth"]["tied_lists"] == 0.0


def test_models_of_a_half_agree_in_what_its_users_taught_them_and_those_of_both_halves_do_not():
    g = torch.Generator().manual_seed(0)
    rewards, judged = [], []
    for user in range(200):
        halves = torch.randn(2, 1, 5, 1, generator=g, dtype=torch.double)  # what each half's users teach
        both = (halves.expand(2, 2, 5, 6) + 0.3 * torch.randn(2, 2, 5, 6, generator=g, dtype=torch.double)).flatten(
            0, 1
        )
        zero = torch.zeros(4, 5, 4, dtype=torch.double)
        rewards.append(UserRewards(user, both * 0, both * 0, both, zero))
        judged.append(UserRewards(user, both * 0, both * 0, -both, zero))
    found = reliability(rewards, 2, judged)["smooth"]
    assert found["seed_to_seed"] > 0.95
    assert abs(found["half_to_half"]) < 0.15
    assert found["labellers_to_judges"] == pytest.approx(-1.0)
    mean = (2 * found["seed_to_seed"] + 4 * found["half_to_half"]) / 6
    assert found["all_models"] == pytest.approx(4 * mean / (1 + 3 * mean))  # Spearman-Brown by hand


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
    assert abs(reliability(shifted, 2)["smooth"]["split_half"]) < 0.2


def test_text_bank():
    llm, template = torch.zeros(3, 4, 2), torch.ones(3, 1, 2)
    assert models.text_bank(llm, template, "both").shape == (3, 8, 2)  # half of the draws are the template
    assert models.text_bank(llm, template, "llm") is llm


@pytest.mark.parametrize("name", nets.NETS)
def test_every_net_can_be_the_reward_model(name, tmp_path):
    """One step moves the weights, and what is saved scores as what was trained."""
    item_features, texts, of = world()
    h = models.Hyperparameters(learning_rate=0.01, weight_decay=0.0, width=8, epochs=1)
    net = models.new(name, item_features, texts, of, 0.0, h.width, 3)
    before = {key: value.detach().clone() for key, value in net.named_parameters()}
    (losses,), _ = models.train_all([models.Job(net, name, of, texts, h, len(of), 3)], of, "test")
    assert len(losses) == 1
    assert np.isfinite(losses[0])
    assert [key for key, value in net.named_parameters() if torch.equal(before[key], value)] == []
    models.save(tmp_path / "models.safetensors", {"A-0": net.eval()}, name, h.width, ranked=False)
    read = models.load(tmp_path / "models.safetensors", item_features, LENGTH, nobody).nets["A-0"]
    text = texts[of.user, 0]
    assert type(read) is type(net)
    assert torch.equal(predict(read, of, text), predict(net, of, text))
    assert not any(value.requires_grad for value in read.parameters())


def test_all_models_are_trained_as_each_would_be_alone(threads, monkeypatch):
    item_features, texts, of = world()
    h = models.Hyperparameters(learning_rate=0.01, weight_decay=0.0, width=8, epochs=2)

    def jobs():
        of_seed = {s: models.new("match", item_features, texts, of, 0.0, h.width, s) for s in (3, 4)}
        return [models.Job(net, "match", of, texts, h, len(of), seed) for seed, net in of_seed.items()]

    together, apart = jobs(), jobs()
    losses, reached = models.train_all(together, of, "test")
    monkeypatch.setattr("rlrf4rec.store.code", lambda *modules, **threads: f"of another time, {threads}")
    assert losses == [models.train_all([job], of, "test")[0][0] for job in apart]
    for job, alone, ndcg in zip(together, apart, reached, strict=True):
        assert not job.net.training
        assert ndcg == mean_ndcg(alone.net, of, texts, 5)
        for name, value in alone.net.state_dict().items():
            assert torch.equal(job.net.state_dict()[name], value)
    assert losses[0] != losses[1]


def test_reward_gain_by_hand():
    row = {"fold": "development", **dict.fromkeys(kinds.KINDS, 0.0), "permuted_smooth": -1.0}
    rows = [
        {"policy": p, "seed": s, "user": u, **row, "ndcg": n + s * 0.1, "permuted_ndcg": m + s * 0.1}
        for p, u, n, m in (
            ("base", "a", 0.5, 0.5),
            ("round1", "b", 0.4, 0.2),
            ("base", "b", 0.4, 0.3),
            ("round1", "a", 0.7, 0.6),
        )
        for s in (1, 0)
    ]
    gain = reward_gain(pl.DataFrame(rows), "round1", "development", 200, 0)
    assert gain["ndcg"]["difference"] == pytest.approx(0.1)
    assert gain["ndcg_personal_part"]["difference"] == pytest.approx(((0.1 - 0.0) + (0.2 - 0.1)) / 2)
    assert (gain["ndcg"]["users"], gain["ndcg"]["seeds"]) == (2, 2)
