"""Item-kNN: sparse similarities against the dense formula."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlrf4rec.lists import knn
from rlrf4rec.lists.knn import EXACT, ItemKnn


def places(*rows):
    return [np.array(row) for row in rows]


def cosine(train, items, shrinkage, neighbours=100):
    return knn.cosine(train, items, shrinkage, neighbours).toarray() / EXACT


def dense(train, items, shrinkage):
    """The formula on a full matrix [I, I]."""
    used = np.zeros((len(train), items))
    for row, own in zip(used, train, strict=True):
        row[own] = 1.0
    both, count = used.T @ used, used.sum(axis=0)
    np.fill_diagonal(both, 0.0)
    scale = np.sqrt(np.outer(count, count)) + shrinkage
    similarity = np.divide(both, scale, out=np.zeros_like(both), where=both > 0)
    return np.round(similarity * EXACT) / EXACT


def test_cosine_by_hand():
    # three users: {0, 1}, {0, 1, 2}, {0}; item 3 belongs to nobody
    wanted = [
        [0, 2 / 6**0.5, 1 / 3**0.5, 0],
        [2 / 6**0.5, 0, 1 / 2**0.5, 0],
        [1 / 3**0.5, 1 / 2**0.5, 0, 0],
        [0, 0, 0, 0],
    ]
    np.testing.assert_allclose(cosine(places([0, 1], [0, 1, 2], [0]), 4, 0.0), wanted, atol=1e-9)


def test_shrinkage_stands_in_the_denominator():
    similarity = cosine(places([0, 1], [0, 1, 2], [0]), 4, 10.0)
    assert similarity[0, 1] == pytest.approx(2 / (6**0.5 + 10), abs=1e-9)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 30), st.sampled_from([0.0, 10.0]))
def test_sparse_similarities_and_scores_are_those_of_the_dense_formula_to_the_last_bit(seed, items, users, shrinkage):
    rng = np.random.default_rng(seed)
    train = [rng.integers(0, items, rng.integers(1, 12)) for _ in range(users)]  # some items twice
    wanted = dense(train, items, shrinkage)
    np.testing.assert_array_equal(cosine(train, items, shrinkage), wanted)
    queries = [rng.integers(0, items, rng.integers(1, 9)) for _ in range(5)]
    chosen = np.zeros((5, items))
    for row, query in zip(chosen, queries, strict=True):
        row[query] = 1.0
    scores = ItemKnn(knn.cosine(train, items, shrinkage, 100)).score(queries)
    np.testing.assert_array_equal(scores, chosen @ wanted)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8))
def test_the_nearest_are_kept_and_ties_go_by_the_catalogue(seed, neighbours):
    rng = np.random.default_rng(seed)
    train = [rng.integers(0, 20, 6) for _ in range(15)]
    whole = dense(train, 20, 10.0)
    best = np.argsort(-whole, axis=1, kind="stable")[:, :neighbours]
    wanted = np.zeros_like(whole)
    np.put_along_axis(wanted, best, np.take_along_axis(whole, best, axis=1), axis=1)
    np.testing.assert_array_equal(cosine(train, 20, 10.0, neighbours), wanted)


def test_similarities_are_the_same_in_blocks(monkeypatch):
    train = places(*np.random.default_rng(0).integers(0, 30, (20, 8)))
    whole = cosine(train, 30, 10.0)
    monkeypatch.setattr(knn, "ROWS", 7)
    np.testing.assert_array_equal(cosine(train, 30, 10.0), whole)


def test_scores_are_sums_over_the_query_in_any_order():
    near = knn.fit(places([0, 1], [0, 1, 2], [0, 3, 2]), 4)
    scores, similarity = near.score(places([0, 1], [1, 0], [2])), near.similarity.toarray() / EXACT
    np.testing.assert_array_equal(scores[0], similarity[0] + similarity[1])
    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(scores[2], similarity[2])


def test_a_similarity_takes_eight_bytes():
    similarity = knn.fit(places(*np.random.default_rng(0).integers(0, 300, (200, 20))), 300).similarity
    assert similarity.nnz > 20_000
    assert similarity.data.nbytes + similarity.indices.nbytes == 8 * similarity.nnz
