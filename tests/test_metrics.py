from math import log2

import numpy as np
import pytest
import torch

from rlrf4rec.metrics.ranking import (
    METRICS,
    average_precision,
    hit_rate,
    kar_map,
    log_likelihood,
    ndcg,
    ranked_labels,
    reciprocal_rank,
)
from rlrf4rec.metrics.statistics import correlation

RANKED = torch.tensor([0, 1, 0, 1, 1])  # positives at ranks 2, 4, 5


@pytest.mark.parametrize(
    ("metric", "k", "expected"),
    [
        (ndcg, 3, (1 / log2(3)) / (1 + 1 / log2(3) + 1 / 2)),
        (ndcg, 5, (1 / log2(3) + 1 / log2(5) + 1 / log2(6)) / (1 + 1 / log2(3) + 1 / 2)),
        (ndcg, 1, 0.0),
        (average_precision, 4, (1 / 2 + 2 / 4) / 3),
        (average_precision, 2, (1 / 2) / 2),
        (average_precision, 5, (1 / 2 + 2 / 4 + 3 / 5) / 3),
        (kar_map, 4, (1 / 2 + 2 / 4) / 2),
        (kar_map, 2, 1 / 2),
        (kar_map, 1, 0.0),
        (hit_rate, 1, 0.0),
        (hit_rate, 2, 1.0),
        (reciprocal_rank, 1, 0.0),
        (reciprocal_rank, 3, 1 / 2),
    ],
)
def test_hand_computed(metric, k, expected):
    assert float(metric(RANKED, k)) == pytest.approx(expected, abs=1e-12)


def test_a_perfect_list_is_one_and_an_empty_one_is_zero():
    for name, metric in METRICS.items():
        assert float(metric(torch.tensor([1, 1, 0, 0]), 2)) == pytest.approx(1.0), name
        assert float(metric(torch.tensor([0, 0, 0, 0]), 2)) == 0.0, name


def test_kar_map_is_never_below_map():
    ranked = (torch.rand(200, 10, generator=torch.Generator().manual_seed(0)) < 0.3).long()
    assert bool((kar_map(ranked, 5) >= average_precision(ranked, 5) - 1e-12).all())


def test_equal_scores_keep_the_order_of_the_list():
    assert ranked_labels(torch.tensor([1.0, 2.0, 1.0, 1.0]), torch.tensor([1, 0, 0, 1])).tolist() == [0, 1, 0, 1]


def test_labels_are_ranked_for_each_score_vector():
    scores = torch.tensor([[1.0, 2.0], [2.0, 1.0]])
    assert ranked_labels(scores, torch.tensor([1, 0])).tolist() == [[0, 1], [1, 0]]


def test_log_likelihood_by_hand():
    scores, labels = torch.tensor([0.0, np.log(2.0), np.log(5.0)]), torch.tensor([1, 1, 0])
    assert float(log_likelihood(scores, labels)) == pytest.approx((np.log(1 / 8) + np.log(2 / 8)) / 2)


def test_correlation():
    a = np.array([1.0, 2.0, 3.0, 4.0])
    assert correlation(a, 2 * a + 1) == pytest.approx(1.0)
    assert correlation(a, -a) == pytest.approx(-1.0)
    assert correlation(a, np.ones(4)) == 0.0
