"""What a first stage gave its candidates is known to whoever ranks them again, and to nobody else."""

from dataclasses import replace
from pathlib import Path

import made_up_items
import polars as pl
import pytest
import torch
from test_ranking import NETS, RERANKERS, WIDTH

from rlrf4rec.metrics.ranking import ndcg, ranked_labels
from rlrf4rec.params import load
from rlrf4rec.ranking.features import CandidateFeatures
from rlrf4rec.ranking.lists import Lists
from rlrf4rec.ranking.module import predict
from rlrf4rec.retraining.material import Material
from rlrf4rec.retraining.parallel import Job, RankerSettings, train
from rlrf4rec.reward import models
from rlrf4rec.tables.contract import ContractError
from rlrf4rec.tables.split import CANDIDATES, LISTS

ITEMS, USERS, LENGTH, OF_USER = 200, 120, 10, 8
HOW = RankerSettings.of(load(Path(__file__).parent.parent / "params.yaml").train_ranker)
TOLERANCE = 0.02  # of NDCG@5: what training on some hundred lists may cost where there is nothing else to learn


def frame(scores, protocol="retrieved"):
    """One list of user a, with these scores of a first stage."""
    rows = [("a", 0, i, str(i), int(i == 1), i == 1, 1, 1, protocol, score) for i, score in enumerate(scores)]
    names = ["user", "list", "position", "item", "label", "real", "begins", "activity", "protocol", "first_stage"]
    return pl.DataFrame(rows, schema=names, orient="row")


def of(*frames):
    return Lists.of(pl.concat(frames), pl.Series(["a", "b"]), pl.Series(["0", "1", "2"]))


def test_score_and_rank_are_centred_and_scaled_within_a_list():
    lists = of(frame([9.0, 5.0, 1.0]), frame([2.5, 2.5, 2.5]).with_columns(user=pl.lit("b")))
    assert lists.ranked
    assert lists.first_stage[0, :, 0].tolist() == pytest.approx([1.5**0.5, 0.0, -(1.5**0.5)])
    assert lists.first_stage[1, :, 0].tolist() == [0.0, 0.0, 0.0]  # ties tell nothing but by their rank
    discount = torch.tensor([1.0, 0.6309298, 0.5])
    wanted = (discount - discount.mean()) / discount.std(unbiased=False)
    assert torch.allclose(lists.first_stage[:, :, 1], wanted.expand(2, 3), atol=1e-5)
    assert torch.equal(lists[torch.tensor([1])].first_stage, lists.first_stage[1:])


def test_lists_that_no_first_stage_ranked_have_none():
    lists = of(frame([3.0, 2.0, 1.0], "popularity").drop("first_stage"))
    assert not lists.ranked
    assert lists[torch.tensor([0])].first_stage is None


@pytest.mark.parametrize("contract", [LISTS, CANDIDATES])
@pytest.mark.parametrize(
    ("spoilt", "sentence"),
    [
        (frame([1.0, 2.0, 0.0]), "the first stage's scores fall with the position"),
        (frame([2.0, 1.0, 0.0], "popularity"), "lists of retrieved, and no others, have scores of a first stage"),
        (frame([2.0, 1.0, 0.0]).drop("first_stage"), "lists of retrieved, and no others, have scores of a first stage"),
        (frame([float("inf"), 1.0, 0.0]), "in_range"),
        (frame([2.0, None, 0.0]), "first_stage"),
    ],
)
def test_the_contract_of_lists_that_a_first_stage_ranked(contract, spoilt, sentence):
    def table(whole):
        return whole.drop("label", "real") if contract is CANDIDATES else whole

    contract.check(table(frame([2.0, 2.0, 0.0])), Path("lists.parquet"))
    with pytest.raises(ContractError, match=sentence):
        contract.check(table(spoilt), Path("lists.parquet"))


def world(seed=0):
    """Lists that a good first stage ranked: an item's chance to be liked falls with its noisy score."""
    g = torch.Generator().manual_seed(seed)
    item_features = made_up_items.item_features(ITEMS, WIDTH, g)
    user = torch.arange(USERS).repeat_interleave(OF_USER)
    item = torch.stack([torch.randperm(ITEMS, generator=g)[:LENGTH] for _ in user])
    scores = torch.randn(len(user), LENGTH, generator=g).sort(dim=1, descending=True).values
    chance = torch.sigmoid(1.5 * scores - 1.5)
    label = (torch.rand(scores.shape, generator=g) < chance).long()
    label[:, 0] |= label.sum(1) == 0
    rows = pl.DataFrame(
        {
            "user": [str(u).zfill(3) for u in user.tolist() for _ in range(LENGTH)],
            "list": [n for _ in range(USERS) for n in range(OF_USER) for _ in range(LENGTH)],
            "position": list(range(LENGTH)) * len(user),
            "item": [str(i) for i in item.flatten().tolist()],
            "label": label.flatten().tolist(),
            "activity": 30,
            "first_stage": (20 * scores).flatten().double().tolist(),
        }
    )
    names = pl.Series([str(u).zfill(3) for u in range(USERS)])
    lists = Lists.of(rows, names, pl.Series([str(i) for i in range(ITEMS)]))
    return item_features, torch.randn(USERS, 1, WIDTH, generator=g), lists


def trained(backbone, item_features, texts, lists):
    """Scores by a re-ranker of the lists of users that it did not learn from, and these lists."""
    learned = torch.arange(USERS // 2)
    mine, others = (lists[torch.where(torch.isin(lists.user, learned) == own)[0]] for own in (True, False))
    job = Job(
        backbone, Material(item_features, texts[:, 0], mine, others, learned, others), HOW, 3, torch.arange(USERS)
    )
    return train(job).scores["own"], others


def reached(scores, lists):
    return float(ndcg(ranked_labels(scores, lists.label), 5).mean())


@pytest.mark.parametrize("backbone", RERANKERS)
def test_a_trained_re_ranker_is_no_worse_than_the_first_stage(backbone):
    scores, lists = trained(backbone, *world())
    first = reached(-torch.arange(LENGTH).expand(scores.shape).float(), lists)
    assert reached(scores, lists) > first - TOLERANCE
    assert first > 0.6


def test_without_score_and_rank_a_re_ranker_can_t_keep_a_first_stages_order():
    item_features, texts, lists = world()
    scores, apart = trained("setrank", item_features, texts, replace(lists, first_stage=None))
    assert reached(scores, apart) < reached(-torch.arange(LENGTH).expand(scores.shape).float(), apart) - 0.1


@pytest.mark.parametrize("name", NETS)
def test_a_net_of_ranked_lists_takes_what_no_first_stage_ranked_as_the_mean(name):
    """As `best_of_n` does, whose lists are made of a history."""
    item_features, texts, lists = world()
    net = models.new(name, item_features, texts, lists, 0.0, 8, 3).eval()
    plain, zeros = (replace(lists, first_stage=given) for given in (None, torch.zeros_like(lists.first_stage)))
    text = texts[lists.user, 0]
    assert torch.equal(predict(net, plain, text), predict(net, zeros, text))
    assert not torch.allclose(predict(net, plain, text), predict(net, lists, text))


@pytest.mark.parametrize("name", NETS)
def test_a_reward_model_of_ranked_lists_is_read_as_it_was_written(name, tmp_path):
    item_features, texts, lists = world()
    net = models.new(name, item_features, texts, lists, 0.0, 8, 3).eval()
    models.save(tmp_path / "models", {"A-0": net}, name, 8, ranked=True)
    read = models.load(tmp_path / "models", item_features, LENGTH, {}.__getitem__).nets["A-0"]
    text = texts[lists.user, 0]
    assert torch.equal(predict(read, lists, text), predict(net, lists, text))


@pytest.mark.parametrize("name", NETS)
def test_a_net_of_other_lists_begins_with_the_weights_that_it_had(name):
    """Nothing of it says that there are first stages: sizes, names and random numbers stay."""
    item_features, texts, lists = world()
    plain = replace(lists, first_stage=None)
    net = models.new(name, item_features, texts, plain, 0.0, 8, 3)
    wider = models.new(name, item_features, texts, lists, 0.0, 8, 3)
    ours, theirs = net.state_dict(), wider.state_dict()
    assert list(ours) == list(theirs)
    shapes = [key for key in ours if ours[key].shape != theirs[key].shape]
    assert len(shapes) == 1
    assert theirs[shapes[0]].shape[1] - ours[shapes[0]].shape[1] == 2
    text = texts[lists.user, 0]
    assert torch.equal(predict(net.eval(), plain, text), predict(net, lists, text))


def test_score_and_rank_stand_beside_popularity_and_activity():
    item_features, texts, lists = world()
    torch.manual_seed(0)
    features = CandidateFeatures(item_features, texts, 2, 3, 0.0, first_stage=True)(lists, texts[lists.user, 0])
    assert torch.equal(features[:, :, 99:101], lists.first_stage)
