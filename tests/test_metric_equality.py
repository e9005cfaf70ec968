"""Our ranking metrics against an independent implementation: ir-measures, which runs trec_eval's C code.

Ties: ours keep the frozen order of the list; trec_eval would order equal scores by document name. So the library is
given scores that encode our order, worked out here in plain Python: falling score, then place in the list.
Definitions agree for NDCG@k (labels are 0 or 1, so the gain 2**label - 1 is trec_eval's gain, the label), reciprocal
rank and HR@k (Success@k). MAP@k differs in the divisor: trec_eval divides by all positives of the list, we by
min(k, positives), so that a perfect top k is 1. With at most k positives both are the same.
"""

import ir_measures
import numpy as np
import pytest
import torch
from ir_measures import AP, RR, Success, nDCG

from rlrf4rec.metrics.ranking import average_precision, hit_rate, ndcg, ranked_labels, reciprocal_rank

LENGTH = 10


@pytest.fixture(scope="module")
def lists():
    """300 lists with a positive and few distinct scores, hence many ties: (scores, labels), both [300, 10]."""
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 4, (300, LENGTH)) / 4
    labels = (rng.random((300, LENGTH)) < rng.uniform(0.05, 0.9, (300, 1))).astype(int)
    labels[np.arange(300), rng.integers(0, LENGTH, 300)] = 1
    assert all(len(set(row)) < LENGTH for row in scores.tolist())
    return scores, labels


def of_library(measure, scores, labels):
    qrels = {str(n): {f"d{i}": int(v) for i, v in enumerate(row)} for n, row in enumerate(labels)}
    run = {}
    for n, row in enumerate(scores.tolist()):
        order = sorted(range(LENGTH), key=lambda i: (-row[i], i))
        run[str(n)] = {f"d{i}": float(LENGTH - place) for place, i in enumerate(order)}
    values = {m.query_id: m.value for m in ir_measures.iter_calc([measure], qrels, run)}
    return np.array([values[str(n)] for n in range(len(scores))])


def ours(metric, scores, labels, k):
    return metric(ranked_labels(torch.tensor(scores), torch.tensor(labels)), k).numpy()


@pytest.mark.parametrize("k", [1, 3, 5, 7, 10])
def test_ndcg_and_hit_rate_agree(lists, k):
    assert ours(ndcg, *lists, k) == pytest.approx(of_library(nDCG @ k, *lists), abs=1e-9)
    assert ours(hit_rate, *lists, k) == pytest.approx(of_library(Success @ k, *lists), abs=1e-9)


@pytest.mark.parametrize("k", [1, 3, 5, 10])
def test_reciprocal_rank_agrees(lists, k):
    assert ours(reciprocal_rank, *lists, k) == pytest.approx(of_library(RR @ k, *lists), abs=1e-9)


def test_average_precision_of_the_whole_list_agrees(lists):
    assert ours(average_precision, *lists, LENGTH) == pytest.approx(of_library(AP, *lists), abs=1e-9)


@pytest.mark.parametrize("k", [1, 3, 5, 7])
def test_map_at_k_agrees_up_to_the_divisor(lists, k):
    scores, labels = lists
    positives = labels.sum(axis=1)
    mine, library = ours(average_precision, scores, labels, k), of_library(AP @ k, scores, labels)
    few = positives <= k
    assert mine[few] == pytest.approx(library[few], abs=1e-9)
    assert mine == pytest.approx(library * positives / np.minimum(k, positives), abs=1e-9)
    assert bool((mine[~few] >= library[~few]).all())
    assert not np.allclose(mine, library)
