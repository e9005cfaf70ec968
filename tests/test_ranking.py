import json
from dataclasses import replace

import made_up_items
import numpy as np
import pytest
import torch

from rlrf4rec.errors import InputError, RLRFError
from rlrf4rec.evaluation.lists import of_seeds, read_curves, read_scores
from rlrf4rec.metrics.permute import permutation
from rlrf4rec.ranking import nets
from rlrf4rec.ranking.adaptor import HybridExpertAdaptor
from rlrf4rec.ranking.dropout import Dropout
from rlrf4rec.ranking.features import CandidateFeatures, Standardise
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.ranking.losses import attention_rank, listwise_softmax
from rlrf4rec.ranking.module import Ranker, fit, mean_ndcg, predict, user_means
from rlrf4rec.retraining import curves, parallel
from rlrf4rec.retraining.material import Material
from rlrf4rec.retraining.parallel import Job, RankerSettings, train, train_all
from rlrf4rec.retraining.retrain import retrain
from rlrf4rec.tables.vectors import save_tensors

WIDTH, ITEMS, USERS, LENGTH = 12, 40, 16, 5
HOW = RankerSettings(0.01, 0.0, 0.1, 2, 3, epochs=2, batch=32)
NETS = tuple(nets.NETS)
RERANKERS = [name for name, net in nets.NETS.items() if net.reranker]


def world(seed=0):
    """Lists in which a user's text decides which item is the positive: only a net that reads it can learn."""
    g = torch.Generator().manual_seed(seed)
    item_features = made_up_items.item_features(ITEMS, WIDTH, g)
    texts = torch.randn(USERS, 2, WIDTH, generator=g)
    user = torch.arange(USERS).repeat_interleave(12)
    item = torch.stack([torch.randperm(ITEMS, generator=g)[:LENGTH] for _ in user])
    match = (texts.mean(1)[user][:, None] * item_features.vectors[item]).sum(-1)
    label = torch.zeros_like(item).scatter(1, match.argmax(1, keepdim=True), 1)
    lists = Lists(user, torch.arange(12).repeat(USERS), item, label, torch.rand(len(user), generator=g))
    return item_features, texts, lists


def material(item_features, texts, lists):
    """The same lists to learn from, to look at and to score; of a user's texts the mean."""
    return Material(item_features, texts.mean(1), lists, lists, torch.arange(USERS), lists)


OTHERS = torch.arange(USERS).roll(1)


def build(name, item_features, texts, seed=0):
    torch.manual_seed(seed)
    return nets.build(name, item_features, texts, LENGTH, 0.0, 2, 3, 8)


def test_adaptor_by_hand():
    """Two experts (one shared, one private) on vectors of ones, all weights known; two places about the user."""
    adaptor = HybridExpertAdaptor(12, 2, 1, 1, 0.0)
    first, second = adaptor.private_user
    with torch.no_grad():
        for experts, value in ((adaptor.shared, 1.0), (first, 2.0), (second, 3.0), (adaptor.private_item, -1.0)):
            experts.weight_in.fill_(value)
            experts.bias_in.zero_()
            experts.weight_out.fill_(1.0)
            experts.bias_out.zero_()
        adaptor.gate_user[0].weight[0].fill_(np.log(3.0) / 12)  # softmax(log 3, 0) = (3/4, 1/4)
        adaptor.gate_user[0].weight[1].zero_()
        adaptor.gate_user[1].weight.zero_()  # 1/2 each
        adaptor.gate_item.weight.zero_()  # 1/2 each
    x = torch.ones(1, 12)
    hidden = 12 // 6  # units of an expert; each gives 12 times its weight
    user = adaptor.user(torch.cat([x, x], 1))
    assert user[0, 0].item() == pytest.approx(0.75 * 12 * hidden + 0.25 * 24 * hidden, rel=1e-5)
    assert user[0, 32].item() == pytest.approx(0.5 * 12 * hidden + 0.5 * 36 * hidden, rel=1e-5)
    assert adaptor.item(x)[0, 0].item() == pytest.approx(0.5 * 12 * hidden + 0.5 * 0.0, rel=1e-5)  # ReLU cuts -12
    assert user.shape == (1, 64)


def test_a_constant_text_is_standardised_to_zero():
    assert Standardise(torch.ones(5, 3))(torch.ones(2, 3)).abs().sum() == 0
    spread = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    assert Standardise(spread)(spread).tolist() == [[-1.0, 0.0], [1.0, 0.0]]


def test_losses_by_hand():
    scores, labels = torch.tensor([[0.0, np.log(3.0)]]), torch.tensor([[0, 1]])
    assert listwise_softmax(scores, labels).item() == pytest.approx(-np.log(3 / 4), rel=1e-5)
    assert attention_rank(scores, labels).item() == pytest.approx(-2 * np.log(3 / 4), rel=1e-5)
    two = torch.tensor([[1, 1]])
    assert listwise_softmax(scores, two).item() == pytest.approx(-(np.log(1 / 4) + np.log(3 / 4)) / 2, rel=1e-5)


@pytest.mark.parametrize("name", NETS)
def test_training_learns_from_texts_and_moves_every_weight(name):
    item_features, texts, lists = world()
    net = build(name, item_features, texts)
    before = {k: v.detach().clone() for k, v in net.named_parameters()}
    untrained = mean_ndcg(net, lists, texts, 3)
    losses = fit(Ranker(net, name, lists, texts, 0.01, 0.0, 1), 12, 32, 1)
    assert losses[-1] < losses[0]
    assert mean_ndcg(net, lists, texts, 3) > untrained + 0.1
    for key, value in net.named_parameters():
        assert not torch.equal(before[key], value.detach()), key


@pytest.mark.parametrize("name", RERANKERS)
def test_equal_seeds_give_equal_weights(name):
    item_features, texts, lists = world()
    job = Job(name, material(item_features, texts, lists), HOW, 5, OTHERS)
    one, two = train(job), train(job)
    assert all(torch.equal(one.weights[k], two.weights[k]) for k in one.weights)
    assert len(one.losses) == len(one.validation) == 2
    longer = train(replace(job, settings=replace(HOW, epochs=5)))
    assert (len(longer.losses), len(longer.validation)) == (5, 3)


def test_worker_processes_give_what_one_process_gives():
    item_features, texts, lists = world()
    jobs = [Job("prm", material(item_features, texts, lists), HOW, seed, OTHERS) for seed in (1, 2)]
    for ours, theirs in zip([train(j) for j in jobs], train_all(jobs, "test"), strict=True):
        assert ours.losses == theirs.losses
        assert all(torch.equal(ours.weights[k], theirs.weights[k]) for k in ours.weights)
        assert all(torch.equal(ours.scores[k], theirs.scores[k]) for k in ("own", "permuted", "validation"))
        assert not torch.equal(ours.scores["own"], ours.scores["permuted"])


def test_a_training_that_diverges_is_refused_with_what_to_lower():
    diverging = replace(HOW, learning_rate=1e30)
    jobs = [Job("prm", material(*world()), diverging, seed, OTHERS) for seed in (1, 2)]
    with pytest.raises(RLRFError, match=r"prm: scores .* not finite, .* diverged; lower train_ranker\.learning_rate"):
        train_all(jobs, "test")


def test_trained_rerankers_are_taken_from_the_store(monkeypatch):
    item_features, texts, lists = world()
    jobs = [Job("prm", material(item_features, texts, lists), HOW, seed, OTHERS) for seed in (1, 2, 3)]
    first = train_all(jobs[:2], "test")
    trained, real = [], parallel._numpy_train
    monkeypatch.setattr(parallel, "_numpy_train", lambda named: trained.append(named[1].seed) or real(named))
    again = train_all(jobs, "test")
    assert trained == [3]
    for kept, new in zip(first, again, strict=False):
        assert (kept.losses, kept.validation) == (new.losses, new.validation)
        assert kept.weights.keys() == new.weights.keys()
        assert all(torch.equal(kept.weights[k], new.weights[k]) for k in kept.weights)
        assert torch.equal(kept.scores["own"], new.scores["own"])
    train_all([replace(jobs[0], material=material(item_features, texts + 1, lists))], "test")
    assert trained == [3, 1]


def test_a_kind_is_every_backbone_with_every_seed_and_a_new_backbone_trains_itself_alone(monkeypatch, tmp_path):
    item_features, texts, lists = world()
    given, trained, real = material(item_features, texts, lists), [], parallel._numpy_train
    monkeypatch.setattr(parallel, "_numpy_train", lambda named: trained.append(named[1].backbone) or real(named))
    one = retrain("x", given, ["prm"], 2, HOW, 7, "test")
    two = retrain("x", given, ["dlcm", "prm"], 2, HOW, 7, "test")
    assert trained == ["prm", "prm", "dlcm", "dlcm"]
    assert list(two.members) == [("dlcm", 0), ("dlcm", 1), ("prm", 0), ("prm", 1)]
    assert all(torch.equal(value, two.weights()[name]) for name, value in one.weights().items())
    assert two.verdicts()["prm"] == one.verdicts()["prm"]
    assert "4 re-rankers, 192 lists" in two.summary()
    two.write(tmp_path / "scores.safetensors")
    files = {"x": tmp_path / "scores.safetensors"}
    read = read_scores(files, ["prm", "dlcm"], 2, ("own", "permuted"), lists)
    assert list(read["own"]) == [("prm", "x", 0), ("prm", "x", 1), ("dlcm", "x", 0), ("dlcm", "x", 1)]
    assert torch.equal(read["permuted"]["dlcm", "x", 1], two.members["dlcm", 1].scores["permuted"])
    assert json.loads((tmp_path / "curves.json").read_text()).keys() == {"dlcm", "prm"}
    with pytest.raises(InputError, match="scores of other lists than these 191"):
        read_scores(files, ["prm"], 2, ("own",), lists[torch.arange(191)])
    with pytest.raises(InputError, match="no scores prm/2/own"):
        read_scores(files, ["prm"], 3, ("own",), lists)
    with pytest.raises(InputError, match="no scores setrank/0/own"):
        read_scores(files, ["setrank"], 1, ("own",), lists)


def test_scores_that_are_not_finite_or_not_of_these_lists_have_no_place_in_an_order(tmp_path):
    lists = world()[2]
    path, good, about = tmp_path / "scores.safetensors", torch.zeros(lists.item.shape), {"lists": lists.identity()}
    for value in (torch.nan, torch.inf):
        save_tensors(path, {"prm/0/own": good, "prm/1/own": good + value}, about)
        for read in (
            lambda: read_scores({"x": path}, ["prm"], 2, ("own",), lists),
            lambda: of_seeds(path, "prm", 2, "own", lists),
        ):
            with pytest.raises(InputError, match=r"safetensors: scores prm/1/own are not finite"):
                read()
    save_tensors(path, {"prm/0/own": good[:, :2]}, about)
    with pytest.raises(InputError, match=r"scores prm/0/own are \(192, 2\), the lists \(192, 5\)"):
        read_scores({"x": path}, ["prm"], 1, ("own",), lists)
    with pytest.raises(InputError, match="no scores prm/1/own"):
        of_seeds(path, "prm", 2, "own", replace(lists, item=lists.item[:, :2]))


def test_how_a_re_ranker_was_trained_has_to_be_told(tmp_path):
    files, beside = {"x": tmp_path / "scores.safetensors"}, tmp_path / "curves.json"
    beside.write_text('{"prm": {"trained_out": true}}')
    assert read_curves(files, ["prm"]) == {"x": {"prm": {"trained_out": True}}}
    with pytest.raises(InputError, match=r"curves.json: does not say whether dlcm was trained out"):
        read_curves(files, ["prm", "dlcm"])
    beside.write_text('{"prm": {}}')
    with pytest.raises(InputError, match=r"curves.json: does not say whether prm was trained out"):
        read_curves(files, ["prm"])


def test_each_seed_has_a_permutation_of_its_own_and_all_backbones_the_same(monkeypatch):
    jobs = []
    monkeypatch.setattr("rlrf4rec.retraining.retrain.train_all", lambda made, what: jobs.extend(made) or made)
    retrain("x", material(*world()), ["dlcm", "prm"], 2, HOW, 7, "test")
    first, second, *others = [job.others for job in jobs]
    assert not torch.equal(first, second)
    assert torch.equal(torch.stack(others), torch.stack([first, second]))
    assert all((job.others != torch.arange(USERS)).all() for job in jobs)


def test_a_second_place_about_the_user_is_read_and_a_constant_one_changes_nothing():
    """Equivalent: a place that holds a constant, and the same constant for everybody, whatever its value."""
    item_features, texts, lists = world()
    zeros, ones = torch.zeros_like(texts), torch.ones_like(texts)
    results = []
    for beside in (zeros, ones, texts.flip(0)):
        job = Job("prm", material(item_features, torch.cat([texts, beside], 2), lists), HOW, 5, OTHERS)
        results.append(train(job).scores["own"])
    assert torch.equal(results[0], results[1])
    assert not torch.allclose(results[0], results[2])


def test_every_user_gets_another_one_of_its_group():
    group = {u: "ab"[u % 2] for u in range(10)}
    other = permutation(group, 12, 3)
    assert sorted(other.tolist()) == list(range(12))
    assert all(other[u] != u and other[u] % 2 == u % 2 for u in range(10))
    assert other[10:].tolist() == [10, 11]


def test_development_users_are_drawn_as_when_they_were_called_test_users():
    """A name keys the draw: their results would be others for a new word."""
    drawn = {name: permutation(dict.fromkeys(range(20), name), 20, 3).tolist() for name in ("test", "development", "x")}
    assert drawn["development"] == drawn["test"] != drawn["x"]


@pytest.mark.parametrize(
    ("losses", "validation", "trained_out"),
    [
        ([[2.0, 1.0, 0.5, 0.4, 0.39]] * 2, [[0.3, 0.5, 0.5, 0.51, 0.5], [0.3, 0.5, 0.5, 0.5, 0.52]], True),
        ([[2.0, 1.8, 1.6, 1.4, 1.0]] * 2, [[0.3, 0.5, 0.5, 0.5, 0.5]] * 2, False),  # still falling
        ([[2.0, 1.0, 0.5, 0.4, 0.39]] * 2, [[0.3, 0.5, 0.5, 0.5, 0.5], [0.3, 0.3, 0.3, 0.3, 0.3]], False),  # a plateau
        ([[2.0, 1.0, 0.5, 0.4, 0.39]] * 2, [[0.3, 0.5, 0.5, 0.45, 0.45]] * 2, False),  # learned by heart
    ],
)
def test_a_verdict_on_training_curves(losses, validation, trained_out):
    assert curves.describe(losses, validation)["trained_out"] is trained_out


@pytest.mark.parametrize("name", ["setrank", "match"])
def test_the_order_of_candidates_does_not_matter_where_it_must_not(name):
    item_features, texts, lists = world()
    net = build(name, item_features, texts).eval()
    order = torch.tensor([3, 0, 4, 1, 2])
    turned = Lists(lists.user, lists.number, lists.item[:, order], lists.label[:, order], lists.activity)
    text = texts[lists.user, 0]
    assert torch.allclose(predict(net, lists, text)[:, order], predict(net, turned, text), atol=1e-5)


@pytest.mark.parametrize("name", NETS)
def test_only_the_text_differs_between_users_of_the_same_activity(name):
    item_features, texts, lists = world()
    net = build(name, item_features, texts).eval()
    if name == "match":
        torch.nn.init.normal_(net.weight)
    same = predict(net, lists, texts[torch.zeros_like(lists.user), 0])
    own = predict(net, lists, texts[lists.user, 0])
    assert torch.equal(same[lists.user == 0], own[lists.user == 0])
    assert not torch.allclose(same[lists.user == 1], own[lists.user == 1])


def test_items_of_equal_features_get_equal_scores_whatever_else_is_in_the_batch():
    item_features, texts, lists = world()
    net = build("prm", item_features, texts).eval()
    text = texts[lists.user, 0]
    rows = torch.arange(10)
    assert torch.allclose(predict(net, lists, text)[:10], predict(net, lists[rows], text[:10]), atol=1e-5)


def test_features_hold_popularity_activity_and_their_product():
    item_features, texts, lists = world()
    features = CandidateFeatures(item_features, texts, 2, 3, 0.0, first_stage=False)(lists, texts[lists.user, 0])
    popularity, activity = item_features.log_popularity[lists.item[0, 1]], lists.activity[0] - 4.0
    assert features[0, 1, 96:99].tolist() == pytest.approx(
        [float(popularity), float(activity), float(popularity * activity)]
    )


def test_dropout_drops_its_share_and_keeps_the_mean():
    x = torch.ones(1000, 999)
    out = Dropout(0.25)(x)
    assert float((out == 0).float().mean()) == pytest.approx(0.25, abs=0.002)
    assert out.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert float(out.mean()) == pytest.approx(1.0, abs=0.003)
    rows = (out == 0).float()
    assert float((rows[:-1] * rows[1:]).mean()) == pytest.approx(0.0625, abs=0.002)  # neighbours are independent
    assert torch.equal(Dropout(0.25).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


def test_user_means():
    values = torch.tensor([1.0, 3.0, 5.0], dtype=torch.double)
    assert user_means(values, torch.tensor([7, 7, 2])).tolist() == [5.0, 2.0]
