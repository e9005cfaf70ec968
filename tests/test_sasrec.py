"""SASRec, one of the first stages of `retrieved`: what it learns, and what it must not read."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_retrieval import SMALL, places

from rlrf4rec.lists import sasrec


def chains(users=40, items=12, length=9):
    """Everybody walks round the catalogue, from another start."""
    return [np.arange(start, start + length) % items for start in range(users)]


@pytest.fixture(scope="module")
def walker():
    return sasrec.fit(chains(), 12, 3, SMALL)


def test_sasrec_learns_what_comes_next(walker):
    assert len(walker.losses) == SMALL.epochs
    assert walker.losses[-1] < 0.5 * walker.losses[0]
    assert walker.score(places([4, 5, 6], [9, 10, 11])).argmax(axis=1).tolist() == [7, 0]


def test_sasrec_trains_every_parameter():
    fresh = sasrec.fit(chains(), 12, 3, replace(SMALL, epochs=0)).state_dict()
    trained = sasrec.fit(chains(), 12, 3, replace(SMALL, epochs=1)).state_dict()
    assert [name for name in fresh if torch.equal(fresh[name], trained[name])] == []
    padding = trained["item.weight"][12]
    assert torch.equal(padding, torch.zeros(16))


def test_sasrec_is_deterministic_and_leaves_the_global_generator_alone(walker):
    before = torch.random.get_rng_state()
    again = sasrec.fit(chains(), 12, 3, SMALL)
    assert torch.equal(before, torch.random.get_rng_state())
    for name, tensor in walker.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    other = sasrec.fit(chains(), 12, 4, SMALL)
    assert not torch.equal(other.item.weight, walker.item.weight)


def test_sasrec_restores_the_number_of_threads(walker):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        walker.score(places([1]))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_sasrec_reads_no_future_and_no_padding(walker):
    with torch.inference_mode():
        one = walker(torch.tensor([[1, 2, 3, 4, 5, 6]]))
        two = walker(torch.tensor([[1, 2, 3, 8, 12, 12]]))
    torch.testing.assert_close(one[:, :3], two[:, :3])
    assert not torch.allclose(one[:, 3], two[:, 3])
    alone, among = walker.score(places([1, 2])), walker.score(places([5, 6, 7, 8, 9], [1, 2]))
    np.testing.assert_allclose(alone[0], among[1], atol=1e-5)


def test_sasrec_reads_the_last_items_of_a_long_query(walker):
    long, short = walker.score(places([0, 0, 0, 1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]))
    np.testing.assert_array_equal(long, short)


def test_pieces_make_each_item_but_the_first_a_target_once():
    cut = sasrec.pieces(np.arange(8), 3)
    assert [piece.tolist() for piece in cut] == [[4, 5, 6, 7], [1, 2, 3, 4], [0, 1]]
    assert sasrec.pieces(np.arange(1), 3) == []
