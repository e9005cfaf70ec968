"""The parts of the study of controls."""

import math
from dataclasses import replace

import good_tables
import polars as pl
import pytest
import torch
from test_dpo import PAIRS, SETTINGS, tuned

from rlrf4rec import paths
from rlrf4rec.alignment import module
from rlrf4rec.alignment.pairs import shuffled
from rlrf4rec.alignment.sft import Sft
from rlrf4rec.errors import RLRFError
from rlrf4rec.stages import combine, source
from rlrf4rec.tables.interactions import ITEMS
from rlrf4rec.tables.split import FOLD_USERS
from rlrf4rec.vectors import read_knowledge, write_texts

GENRES = ["Comedy", "Drama", "War"]
HISTORY = [
    {"rating": 5.0, "timestamp": 0, "year": 1990, "genres": "Drama|War"},
    {"rating": 4.0, "timestamp": 86400, "year": 1994, "genres": "Drama"},
    {"rating": 1.0, "timestamp": 2 * 86400, "year": 1950, "genres": "Comedy"},
]


def test_activity_by_hand():
    assert source.activity(HISTORY, GENRES) == pytest.approx(
        [math.log(4), 10 / 3, math.sqrt(26 / 9), 2 / 3, math.log(3)]
    )


def test_profile_by_hand():
    """Mean 3.3: the first two are liked; then shares of the other, then the liked years."""
    numbers = source.profile(HISTORY, GENRES)
    assert numbers[:6] == [0.0, 1.0, 0.5, 1.0, 0.0, 0.0]
    assert numbers[6:] == pytest.approx([1990.4, 1991, 1992, 1993, 1993.6, 1992, 2.0])
    assert source.years(HISTORY, GENRES)[2] == 1990


def test_numbers_are_turned_without_losing_anything():
    """Distances between users stay the same up to one scale, and a constant column adds nothing."""
    numbers = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    numbers[:, 2] = 7.0

    class Tables:
        def rows(self, _):
            return list(range(6))

        def catalogue(self):
            return type("C", (), {"vectors": torch.zeros(1, 12)})

    made = source._turned(numbers, Tables(), 1)
    assert made.shape == (6, 1, 12)
    scaled = (numbers - numbers.mean(0)) / numbers.std(0, unbiased=False).clamp(min=1e-9)
    scaled[:, 2] = 0
    assert torch.allclose(
        torch.cdist(made[:, 0].double(), made[:, 0].double()), torch.cdist(scaled, scaled) * 2, atol=1e-5
    )


def test_shuffled_preferences_are_the_same_texts_in_another_order():
    """A text keeps its tokens, sample and log-probability; who it is of stays."""
    many = pl.concat([good_tables.PAIRS] * 200).with_columns(chosen_sample=pl.int_range(400, dtype=pl.Int64) + 2)
    swapped = shuffled(many, 3)
    parts = ("", "_sample", "_tokens", "_log_prob")
    sides = [[f"{side}{part}" for part in parts] for side in ("chosen", "rejected")]
    turned = 0
    for a, b in zip(many.iter_rows(named=True), swapped.iter_rows(named=True), strict=True):
        before, after = ([[row[name] for name in side] for side in sides] for row in (a, b))
        assert after in (before, before[::-1])
        turned += after != before
        assert [a[name] for name in ("user", "half", "prompt")] == [b[name] for name in ("user", "half", "prompt")]
    assert 160 < turned < 240
    assert swapped.columns == many.columns
    assert shuffled(many, 3).equals(swapped)


def test_sft_raises_the_chosen_texts_and_ignores_the_rejected(llama):
    policy, reference, _ = tuned(llama)
    frozen = {n: p.detach().clone() for n, p in policy.named_parameters() if not p.requires_grad}
    steps = module.train(Sft(policy, PAIRS, reference, SETTINGS), "test", None)
    assert steps[-1].loss < steps[0].loss - 0.5
    assert steps[-1].chosen > 1.0
    assert all(torch.equal(frozen[n], p) for n, p in policy.named_parameters() if not p.requires_grad)
    other = [replace(pair, rejected=[50, 2]) for pair in PAIRS]
    again, reference, _ = tuned(llama)
    module.train(Sft(again, other, reference, SETTINGS), "test", None)
    ours, theirs = policy.state_dict(), again.state_dict()
    assert all(torch.allclose(ours[k], theirs[k], atol=1e-4) for k in ours)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    users = pl.DataFrame({"user": ["a", "b"], "fold": ["train", "test"], "role": ["rank", "none"], "half": ["-", "-"]})
    items = pl.DataFrame({"item": ["i", "j"], "title": ["x", "y"], "year": [1990, 1991], "genres": ["", ""]})
    FOLD_USERS.write(users, paths.FOLD_USERS)
    ITEMS.write(items, paths.ITEMS)
    for name, samples in (("none", 1), ("base", 3), ("other", 2)):
        write_texts(paths.vectors(name), torch.full((2, samples, 4), float(samples)), users["user"])
    write_texts(paths.vectors("items"), torch.ones(2, 1, 4), items["item"])
    return users["user"], items["item"]


def test_combine_puts_two_sources_side_by_side(place):
    combine.run("x", "data/encode/base", "data/encode/none", "data/encode/items")
    told = read_knowledge(paths.knowledge("x"), *place)
    assert told.texts.shape == (2, 3, 8)
    assert told.texts[0, 2].tolist() == [3.0] * 4 + [1.0] * 4
    with pytest.raises(RLRFError, match="data/encode/other has 2 texts of a user where the other has 3"):
        combine.run("x", "data/encode/base", "data/encode/other", "data/encode/items")
    with pytest.raises(RLRFError, match="do not belong to the 2 users"):
        combine.run("x", "data/encode/items", "data/encode/none", "data/encode/items")
