"""Rewards with a profile beside the text: what a text is paid for is what it adds to the profile."""

import made_up_items
import polars as pl
import pytest
import torch
from test_reward_search import USERS, World
from torch import nn

from rlrf4rec.errors import InputError
from rlrf4rec.evaluation import frozen
from rlrf4rec.params import load
from rlrf4rec.ranking import nets
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.ranking.module import predict
from rlrf4rec.reward import models
from rlrf4rec.reward.models import RewardModels, joined
from rlrf4rec.reward.rewards import RewardScorer, Scoring, score, scoring, tasks
from rlrf4rec.seeds import derive
from rlrf4rec.stages import tune_reward

WIDTH, ITEMS, LENGTH = 8, 40, 5
NAMES = tuple(nets.NETS)


class Sum(nn.Module):
    """Scores item i by entry i of the text and that of the profile."""

    def forward(self, lists, text):
        first, second = text.split(3, dim=1)
        return first.gather(1, lists.item) + second.gather(1, lists.item)


class First(nn.Module):
    """Scores item i by entry i of what it gets first."""

    def forward(self, lists, text):
        return text.gather(1, lists.item)


def logs(*rows):
    return torch.tensor(rows).log()


def by_hand():
    """A list of items 0, 1, 2 for each of two users; the first's positive is 0, the second's 1."""
    item, label = torch.arange(3).repeat(2, 1), torch.eye(3, dtype=torch.int64)[:2]
    return Lists(torch.tensor([0, 1]), torch.tensor([0, 0]), item, label, torch.zeros(2))


def rewards_of(net, texts, profile):
    of = by_hand()
    work = tasks(of, texts, {0: "A", 1: "A"}, 8, 0)
    return score([Scoring(RewardScorer([net], {0: [0], 1: [0]}, of, 2, profile), work)], "test")[0]


def test_a_text_is_paid_for_what_it_adds_to_the_profile_and_on_others_lists_to_theirs():
    """Scores are logs, so that they multiply: profiles (8, 1, 1) and (1, 2, 1), texts (3, 1, 1), (1, 3, 1), nothing.

    Own list: 24 of 26, 8 of 12, 8 of 10. The other's, its profile beside: 2 of 6, 6 of 8, 2 of 4.
    """
    texts = logs([3.0, 1.0, 1.0], [1.0, 3.0, 1.0], [1.0, 1.0, 1.0]).expand(2, -1, -1)
    first, second = rewards_of(Sum(), texts, logs([8.0, 1.0, 1.0], [1.0, 2.0, 1.0]))
    own, others = logs([24 / 26, 8 / 12, 8 / 10], [2 / 6, 6 / 8, 2 / 4])
    assert first.reward("smooth").tolist() == pytest.approx(own.tolist())
    assert first.reward("personal").tolist() == pytest.approx((own - others).tolist())
    assert second.reward("personal").tolist() == pytest.approx((others - own).tolist())
    # Less what the profile alone is worth: the same is taken off every text, so pairs and gaps stay what they are.
    added = first.reward("personal") - first.reward("personal")[2]
    assert (added[0] - added[1]).item() == pytest.approx((own - others)[0].item() - (own - others)[1].item())


def test_what_the_profile_says_already_is_paid_less():
    """The text (3, 1, 1) adds log(24/26 : 8/10) to the profile (8, 1, 1), and log(3/5 : 1/3) to nothing."""
    texts = logs([3.0, 1.0, 1.0], [1.0, 1.0, 1.0]).expand(2, -1, -1)
    beside = rewards_of(Sum(), texts, logs([8.0, 1.0, 1.0], [1.0, 1.0, 1.0]))[0].reward("smooth")
    alone = rewards_of(First(), texts, None)[0].reward("smooth")
    gains = [(found[0] - found[1]).item() for found in (beside, alone)]
    assert gains == pytest.approx(logs([24 / 26 / 0.8, 3 / 5 * 3])[0].tolist())


def test_texts_get_their_own_users_profile_behind_them():
    texts, profile = torch.arange(12.0).view(2, 3, 2), torch.tensor([[7.0, 8.0], [9.0, 0.0]])
    found = joined(texts, profile)
    assert found.shape == (2, 3, 4)
    assert torch.equal(found[..., :2], texts)
    assert found[..., 2:].tolist() == [[[7.0, 8.0]] * 3, [[9.0, 0.0]] * 3]
    assert joined(texts, None) is texts
    with pytest.raises(InputError, match=r"texts are 2 numbers wide, those of the profile beside them 3; .* encode"):
        joined(texts, torch.zeros(2, 3))


def test_a_profile_is_the_mean_of_the_vectors_of_its_name():
    read = {"template": torch.tensor([[[1.0, 3.0]], [[2.0, 4.0]]])}.__getitem__
    assert models.profile("template", read).tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert models.profile("none", read) is None


def world():
    """What a user likes is half in the profile, which counts twice, and half in what only the other text tells.

    Texts: what the profile tells, and the rest.
    """
    g = torch.Generator().manual_seed(0)
    item_features = made_up_items.item_features(ITEMS, WIDTH, g)
    known, new = torch.randn(2, 60, WIDTH // 2, generator=g)
    nothing = torch.zeros_like(known)
    profile, rest = torch.cat([known, nothing], 1), torch.cat([nothing, new], 1)
    user = torch.arange(60).repeat_interleave(30)
    item = torch.stack([torch.randperm(ITEMS, generator=g)[:LENGTH] for _ in user])
    match = ((2 * profile + rest)[user][:, None] * item_features.vectors[item]).sum(-1)
    label = torch.zeros_like(item).scatter(1, match.argmax(1, keepdim=True), 1)
    lists = Lists(user, torch.arange(30).repeat(60), item, label, torch.zeros(len(user)))
    return item_features, profile, torch.stack([profile, rest], 1), lists


@pytest.mark.parametrize("beside", ["none", "template"])
def test_a_model_that_knows_the_profile_pays_for_what_is_new_and_one_that_does_not_for_what_counts_most(beside):
    item_features, profile, texts, lists = world()
    known = models.profile(beside, {"template": profile[:, None]}.__getitem__)
    bank = joined(texts, known)
    h = models.Hyperparameters(learning_rate=0.01, weight_decay=0.0, width=16, epochs=12)
    net = models.new("match", item_features, bank, lists, 0.0, h.width, 3)
    models.train_all([models.Job(net, "match", lists, bank, h, 256, 3)], lists, "test")
    group, reward = dict.fromkeys(range(60), "validation"), load().reward
    trained = RewardModels({"A-0": net.requires_grad_(False)}, known)
    (done,) = score([scoring(trained, lists, texts, group, reward, 0)], "test")
    means = torch.stack([r.reward("personal") for r in done]).mean(0)
    assert (means[1] > means[0]).item() == (beside == "template")


@pytest.mark.parametrize("name", NAMES)
def test_the_file_says_what_stood_beside_the_texts_and_the_reader_gives_it(name, tmp_path):
    item_features, profile, texts, lists = world()
    bank, path = joined(texts, profile), tmp_path / "models"
    net = models.new(name, item_features, bank, lists, 0.0, 8, 3).eval()
    models.save(path, {"A-0": net}, name, 8, ranked=False, beside="template")
    read = models.load(path, item_features, LENGTH, {"template": profile[:, None]}.__getitem__)
    assert torch.equal(read.profile, profile)
    text = bank[lists.user, 0]
    assert torch.equal(predict(read.nets["A-0"], lists, text), predict(net, lists, text))
    assert [of.profile is read.profile for of in models.by_seed(read)] == [True]


def test_weights_of_another_knowledge_than_the_file_says_are_an_error(tmp_path):
    item_features, profile, texts, lists = world()
    net = models.new("match", item_features, joined(texts, profile), lists, 0.0, 8, 3)
    models.save(tmp_path / "models", {"A-0": net}, "match", 8, ranked=False)
    with pytest.raises(InputError, match=r"(?s)do not fit .* texts with 'none' beside them .*`dvc repro train_reward`"):
        models.load(tmp_path / "models", item_features, LENGTH, {}.__getitem__)


def test_the_search_permutes_texts_and_leaves_the_profile(monkeypatch):
    world, params = World(), load()
    monkeypatch.setattr(tune_reward, "read_tables", lambda: world)
    given = {name: world.texts(name) for name in ("base", "template")}
    monkeypatch.setattr(world, "texts", lambda name, users="all": given[name])
    marginal = params.reward_model.model_copy(update={"texts": "llm", "beside": "template"})
    made = tune_reward.Objective(1, marginal, params.tune_reward, "base")
    own, permuted = (found.split(given["base"].shape[2], dim=2) for found in (made.own, made.permuted))
    assert torch.equal(own[0], given["base"])
    assert torch.equal(own[1], permuted[1])
    assert torch.equal(own[1], given["template"].expand(-1, 2, -1))
    moved = [user for user in range(USERS) if not torch.equal(own[0][user], permuted[0][user])]
    assert moved == [6, 7, 8]  # those to validate
    assert torch.equal(made.bank, made.own)


def test_permuted_texts_stand_beside_the_own_profile():
    """A net that reads nothing but the profile gives to permuted texts what it gives to own ones."""
    of, reward = by_hand(), load().reward
    users = pl.DataFrame({"user": ["a", "b"], "fold": ["validation"] * 2, "half": ["-"] * 2})
    texts = {"base": logs([3.0, 1.0, 1.0], [1.0, 5.0, 1.0])[:, None]}
    profile = logs([8.0, 1.0, 1.0], [1.0, 2.0, 1.0])

    class Second(nn.Module):
        """Scores item i by entry i of the profile."""

        def forward(self, lists, text):
            return text[:, 3:].gather(1, lists.item)

    rows = [
        frozen.policy_rewards(users, of, texts, {"judge": RewardModels({"A-0": net}, profile)}, reward, derive(0, "x"))
        for net in (Second(), Sum())
    ]
    assert rows[0]["permuted_smooth"].equals(rows[0]["smooth"].alias("permuted_smooth"))
    assert rows[0]["smooth"].to_list() == pytest.approx(logs([8 / 10, 2 / 4])[0].tolist())
    # With both: own 24 of 26 and 10 of 12; the other's text beside the own profile 8 of 14 and 2 of 6.
    assert rows[1]["smooth"].to_list() == pytest.approx(logs([24 / 26, 10 / 12])[0].tolist())
    assert rows[1]["permuted_smooth"].to_list() == pytest.approx(logs([8 / 14, 2 / 6])[0].tolist())
