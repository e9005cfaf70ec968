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
from rlrf4rec.alignment.tune import tune
from rlrf4rec.errors import RLRFError
from rlrf4rec.inputs import read_tables
from rlrf4rec.methods.method import Given
from rlrf4rec.methods.methods import METHODS
from rlrf4rec.methods.sft import Sft
from rlrf4rec.methods.shuffled import shuffled
from rlrf4rec.methods.training import swapped
from rlrf4rec.params import TrainPolicy
from rlrf4rec.retraining.material import material
from rlrf4rec.sources import activity, profile, profile_shown, years
from rlrf4rec.sources.numbers import turned as turned_numbers
from rlrf4rec.tables.interactions import ITEMS
from rlrf4rec.tables.split import CANDIDATES, FOLD_USERS, HISTORY, LISTS, POPULARITY
from rlrf4rec.tables.vectors import write_texts

GENRES = ["Comedy", "Drama", "War"]
RATED = [
    {"rating": 5.0, "timestamp": 0, "year": 1990, "genres": "Drama|War"},
    {"rating": 4.0, "timestamp": 86400, "year": 1994, "genres": "Drama"},
    {"rating": 1.0, "timestamp": 2 * 86400, "year": 1950, "genres": "Comedy"},
]


def test_activity_by_hand():
    assert activity.numbers(RATED, GENRES, 1) == pytest.approx(
        [math.log(4), 10 / 3, math.sqrt(26 / 9), 2 / 3, math.log(3)]
    )


def test_profile_by_hand():
    """Mean 3.3: the first two are liked; then shares of the other, then the liked years."""
    numbers = profile.numbers(RATED, GENRES)
    assert numbers[:6] == [0.0, 1.0, 0.5, 1.0, 0.0, 0.0]
    assert numbers[6:] == pytest.approx([1990.4, 1991, 1992, 1993, 1993.6, 1992, 2.0])
    assert years.numbers(RATED, GENRES)[2] == 1990


def test_the_profile_of_what_is_shown_takes_the_prompt_s_word_for_what_is_liked():
    shown = [{**row, "liked": row["year"] == 1950} for row in RATED]
    assert profile_shown.numbers(shown, GENRES)[:6] == [1.0, 0.0, 0.0, 0.0, 1.0, 0.5]
    assert profile_shown.numbers(shown, GENRES)[6:] == [1950] * 6 + [0]
    alike = [{**row, "liked": row["rating"] >= 4} for row in RATED]
    assert profile_shown.numbers(alike, GENRES) == profile.numbers(RATED, GENRES)


def test_numbers_are_turned_without_losing_anything():
    """Distances between users stay the same up to one scale, and a constant column adds nothing."""
    numbers = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    numbers[:, 2] = 7.0

    class Tables:
        def rows(self, _):
            return list(range(6))

        def item_features(self):
            return type("C", (), {"vectors": torch.zeros(1, 12)})

    made = turned_numbers(numbers, Tables(), 1)
    assert made.shape == (6, 1, 12)
    scaled = (numbers - numbers.mean(0)) / numbers.std(0, unbiased=False).clamp(min=1e-9)
    scaled[:, 2] = 0
    assert torch.allclose(
        torch.cdist(made[:, 0].double(), made[:, 0].double()), torch.cdist(scaled, scaled) * 2, atol=1e-5
    )


def test_shuffled_preferences_are_the_same_texts_in_another_order():
    """A text keeps its tokens, sample and log-probability; who it is of stays."""
    many = pl.concat([good_tables.PAIRS] * 200).with_columns(chosen_sample=pl.int_range(400, dtype=pl.Int64) + 2)
    found = shuffled(many, 3)
    parts = ("", "_sample", "_tokens", "_log_prob")
    sides = [[f"{side}{part}" for part in parts] for side in ("chosen", "rejected")]
    turned = 0
    for a, b in zip(many.iter_rows(named=True), found.iter_rows(named=True), strict=True):
        before, after = ([[row[name] for name in side] for side in sides] for row in (a, b))
        assert after in (before, before[::-1])
        turned += after != before
        same = ("user", "half", "gap", "judged_gap")
        assert [a[name] for name in same] == [b[name] for name in same]
    assert turned == 200
    assert found.columns == many.columns
    assert shuffled(many, 3).equals(found)


@pytest.mark.parametrize("count", [2, 10, 81])
def test_half_of_the_pairs_are_swapped_whatever_the_draw(count):
    """A coin for each would swap all of two pairs in a quarter of the draws, and leave a preference in the others."""
    many = pl.concat([good_tables.PAIRS.head(1)] * count).with_columns(user=pl.int_range(count).cast(pl.String))
    counts = [swapped(many, shuffled(many, seed)) for seed in range(12)]
    assert set(counts) == {count // 2, (count + 1) // 2}  # of an odd number the larger half as well
    which = {tuple(shuffled(many, seed)["chosen_sample"].to_list()) for seed in range(12)}
    assert len(which) > 1
    assert swapped(many, many) == 0


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


def test_a_method_changes_what_it_names_and_nothing_else():
    p = TrainPolicy(sft_learning_rate=0.5, sft_epochs=7)
    given = Given(good_tables.PAIRS, good_tables.SAMPLED, 3)
    assert METHODS["sft"].settings(SETTINGS, p) == replace(SETTINGS, learning_rate=0.5, epochs=7)
    assert METHODS["sft"].pairs(given) is good_tables.PAIRS
    for name in ("shuffled", "matched"):
        assert METHODS[name].settings(SETTINGS, p) is SETTINGS
        assert METHODS[name].pairs(given).equals(shuffled(good_tables.PAIRS, 3))
    assert (METHODS["shuffled"].loss, METHODS["sft"].loss) == (module.DpoModule, Sft)


def test_sft_by_an_engine_that_has_only_dpo_is_refused(llama):
    policy, reference, _ = tuned(llama)
    with pytest.raises(RLRFError, match=r"dpo.engine: trl trains by DPO's loss alone, not train_policy sft"):
        tune(Sft(policy, PAIRS, reference, SETTINGS), "trl", None, "train_policy sft", None)
    steps = tune(Sft(policy, PAIRS, reference, SETTINGS), "lightning", None, "train_policy sft", None)
    assert steps[-1].loss < steps[0].loss


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Two users, one that trains re-rankers and one that has only a development list; items of 4 numbers."""
    monkeypatch.chdir(tmp_path)
    users = pl.DataFrame(
        {
            "user": ["a", "b", "c", "d"],
            "fold": ["train", "validation", "development", "train"],
            "role": ["rank", "none", "none", "tune"],
            "half": ["-", "-", "-", "A"],
        }
    )
    names = [str(i) for i in range(4)]
    items = pl.DataFrame({"item": names, "title": names, "year": [1990] * 4, "genres": [""] * 4})
    FOLD_USERS.write(users, paths.FOLD_USERS)
    ITEMS.write(items, paths.ITEMS)
    POPULARITY.write(pl.DataFrame({"item": names, "count": [1, 2, 3, 4]}), paths.POPULARITY)
    rows = [{"user": u, "position": 0, "item": "0", "rating": 5.0, "timestamp": 1} for u in "abcd"]
    HISTORY.write(pl.DataFrame(rows), paths.HISTORY)
    about = {"list": 0, "begins": 2, "activity": 1, "protocol": "popularity"}
    for fold, who in (("train", "ad"), ("validation", "b"), ("development", "c")):
        places = [(u, i) for u in who for i in range(3)]
        rows = [
            {"user": u, "position": i, "item": str(i + 1), "label": int(i == 0), "real": i == 0, **about}
            for u, i in places
        ]
        frame = pl.DataFrame(rows).select(
            "user", "list", "position", "item", "label", "real", "begins", "activity", "protocol"
        )
        LISTS.write(frame, paths.lists(fold))
    CANDIDATES.write(frame.select(pl.exclude("label", "real")), paths.candidates())
    for name, samples in (("none", 1), ("base", 3)):
        write_texts(paths.vectors(name), torch.full((4, samples, 4), float(samples)), users["user"])
    tuned = torch.full((4, 3, 4), 7.0)
    tuned[3] = torch.nan  # nobody reads what would be written for a tuning user
    write_texts(paths.vectors("round1"), tuned, users["user"])
    write_texts(paths.vectors("items"), torch.ones(4, 1, 4), items["item"])
    return read_tables()


def test_labels_of_tuning_users_can_train_re_rankers_too(place):
    """User d's: its text has to be there then, and its list is learned from."""
    given = material(place, "encode/base", "encode/none", "encode/items", "train")
    assert given.lists.user.tolist() == given.seen.tolist() == [0, 3]
    assert given.candidates.user.tolist() == [2]
    with pytest.raises(RLRFError, match="those of user 'd' and 0 more"):
        material(place, "encode/round1", "encode/none", "encode/items", "train")
    with pytest.raises(RLRFError, match="learners 'x' is unknown; one of ranking, train"):
        material(place, "encode/base", "encode/none", "encode/items", "x")


def test_what_a_kind_is_told_stands_side_by_side(place):
    given = material(place, "encode/round1", "encode/none", "encode/items")
    assert given.texts.shape == (4, 8)
    assert given.texts[0].tolist() == [7.0] * 4 + [1.0] * 4
    assert given.seen.tolist() == [0]
    assert given.lists.user.tolist() == [0]
    assert given.candidates.user.tolist() == [2]
    assert given.candidates.label.sum() == 0
    assert given.item_features.vectors.shape == (4, 4)


def test_a_kind_of_several_texts_is_told_their_mean_to_learn_from_and_to_score_with(place):
    several = torch.arange(48.0).view(4, 3, 4)
    write_texts(paths.vectors("several"), several, place.users["user"])
    write_texts(paths.vectors("mean"), several.mean(dim=1, keepdim=True), place.users["user"])
    given, same = (material(place, f"encode/{name}", "encode/base", "encode/items") for name in ("several", "mean"))
    assert torch.equal(given.texts, same.texts)
    assert given.texts[0].tolist() == [4.0, 5.0, 6.0, 7.0] + [3.0] * 4


def test_what_a_kind_can_t_be_told_is_named(place):
    with pytest.raises(RLRFError, match="do not belong to the 4 users"):
        material(place, "encode/items", "encode/none", "encode/items")
    wide = torch.ones(4, 1, 6)
    write_texts(paths.vectors("wide"), wide, place.users["user"])
    with pytest.raises(RLRFError, match="are 10 numbers wide together, those of encode/items 4"):
        material(place, "encode/wide", "encode/none", "encode/items")
    lacking = torch.ones(4, 1, 4)
    lacking[2] = torch.nan
    write_texts(paths.vectors("lacking"), lacking, place.users["user"])
    with pytest.raises(RLRFError, match="those of user 'c' and 0 more"):
        material(place, "encode/lacking", "encode/none", "encode/items")
    with pytest.raises(RLRFError, match="those of user 'd' and 0 more"):
        place.texts("round1", "tuning")
