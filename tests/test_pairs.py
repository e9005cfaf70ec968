from pathlib import Path

import polars as pl
import pytest
from good_tables import GOOD, PAIRS, SAMPLED

from rlrf4rec import paths
from rlrf4rec.errors import ParamsError
from rlrf4rec.pairing.pairs import make
from rlrf4rec.params import Pair, load
from rlrf4rec.stages import pair, tune_dpo
from rlrf4rec.tables import rewards
from rlrf4rec.tables.rewards import REWARDS
from rlrf4rec.tables.split import FOLD_USERS
from rlrf4rec.tables.texts import TEXTS

(REWARDED,) = (frame for table, frame in GOOD if table is REWARDS)


def table(rewards, texts=None):
    n = len(rewards)
    texts = texts or [f"text {i}" for i in range(n)]
    frame = pl.DataFrame({"user": ["u"] * n, "sample": range(n), "reward": rewards, "judged": [-r for r in rewards]})
    frame = frame.with_columns(text=pl.Series(texts))
    log_probs = pl.Series([-float(i) for i in range(n)])
    return frame.with_columns(tokens=pl.Series([[i, 198] for i in range(n)]), log_prob=log_probs)


def both(frame, min_gap=0.0, max_pairs=10, per_user=1):
    rewards, texts = frame.select("user", "sample", "reward", "judged"), frame.drop("reward", "judged")
    return make(rewards, texts, min_gap, max_pairs, per_user)


def samples(pairs):
    return pairs.select("user", "chosen_sample", "rejected_sample").rows()


def test_best_and_worst_by_reward():
    pairs, skipped = both(table([0.2, 0.9, 0.1, 0.5]))
    row = pairs.row(0, named=True)
    assert (row["chosen_sample"], row["rejected_sample"]) == (1, 2)
    assert (row["chosen"], row["rejected_tokens"]) == ("text 1", [2, 198])
    assert (row["chosen_log_prob"], row["rejected_log_prob"]) == (-1.0, -2.0)
    assert abs(row["gap"] - 0.8) < 1e-12
    assert abs(row["judged_gap"] + 0.8) < 1e-12  # the judges see it the other way round
    assert skipped.is_empty()


def test_among_equals_the_lower_sample_number():
    pairs, _ = both(table([0.1, 0.9, 0.9, 0.1]))
    assert pairs.select("chosen_sample", "rejected_sample").row(0) == (1, 0)


def test_users_without_signal_are_skipped_with_the_reason():
    tied = table([0.3, 0.3])
    same = table([0.3, 0.4], ["same", "same"]).with_columns(user=pl.lit("v"))
    small = table([0.30, 0.31]).with_columns(user=pl.lit("w"))
    good = table([0.1, 0.9]).with_columns(user=pl.lit("x"))
    wide = table([0.1, 0.8]).with_columns(user=pl.lit("y"))
    pairs, skipped = both(pl.concat([tied, same, small, good, wide]), min_gap=0.05, max_pairs=1)
    assert pairs["user"].to_list() == ["x"]
    assert dict(skipped.iter_rows()) == {
        "u": "all rewards equal",
        "v": "best and worst text equal",
        "w": "gap below min_gap",
        "y": "beyond max_pairs",
    }


def test_second_best_against_second_worst_and_so_on_while_there_is_a_gap():
    """Ordered .9 .7 .5 .4 .2: gaps .7, .3, and the middle text against itself."""
    frame = table([0.2, 0.9, 0.5, 0.4, 0.7])
    assert samples(both(frame)[0]) == [("u", 1, 0)]
    for per_user in (2, 3, 9):
        pairs, skipped = both(frame, per_user=per_user)
        assert samples(pairs) == [("u", 1, 0), ("u", 4, 3)]
        assert pairs["gap"].to_list() == pytest.approx([0.7, 0.3])
        assert pairs["rejected_log_prob"].to_list() == [0.0, -3.0]
        assert skipped.is_empty()
    assert samples(both(frame, min_gap=0.31, per_user=2)[0]) == [("u", 1, 0)]


def test_among_equals_every_sample_is_used_once():
    pairs, _ = both(table([0.1, 0.9, 0.9, 0.1]), per_user=2)
    assert samples(pairs) == [("u", 1, 0), ("u", 2, 3)]


def test_no_text_is_on_both_sides_and_a_repeated_one_may_be_chosen_twice():
    """`x` is the best and, by another number, the second worst: only the first of its pairs is kept."""
    split = table([0.9, 0.8, 0.2, 0.1], ["x", "y", "x", "z"])
    assert samples(both(split, per_user=2)[0]) == [("u", 0, 3)]
    again = table([0.9, 0.8, 0.2, 0.1], ["x", "x", "y", "z"])
    assert samples(both(again, per_user=2)[0]) == [("u", 0, 3), ("u", 1, 2)]


def test_max_pairs_counts_pairs_and_who_has_one_is_not_skipped():
    """Gaps: u .8 and .6, v .7 and .1, w .2."""
    frames = [
        table([0.9, 0.8, 0.2, 0.1]),
        table([0.9, 0.6, 0.5, 0.2]).with_columns(user=pl.lit("v")),
        table([0.5, 0.3]).with_columns(user=pl.lit("w")),
    ]
    found = {most: both(pl.concat(frames), max_pairs=most, per_user=2) for most in (1, 3, 4)}
    assert samples(found[1][0]) == [("u", 0, 3)]
    assert dict(found[1][1].iter_rows()) == {"v": "beyond max_pairs", "w": "beyond max_pairs"}
    assert samples(found[3][0]) == [("u", 0, 3), ("u", 1, 2), ("v", 0, 3)]
    assert dict(found[3][1].iter_rows()) == {"w": "beyond max_pairs"}
    assert samples(found[4][0])[3:] == [("w", 0, 1)]


def test_all_pairs_of_a_held_out_user_are_held_out(tmp_path, monkeypatch):
    """Of three users with two pairs each one is judged; the others' pairs come by the largest gaps."""
    monkeypatch.chdir(tmp_path)
    names = ["a", "b", "c"]
    users = pl.DataFrame({"user": names, "fold": "train", "role": "tune", "half": ["A", "B", "A"]})
    FOLD_USERS.write(users, paths.FOLD_USERS)
    one = REWARDED.head(1)
    REWARDS.write(pl.concat([one.with_columns(user=pl.lit(name)) for name in names]), paths.rewards("round1"))
    rows = [
        PAIRS.head(1).with_columns(
            user=pl.lit(name), gap=gap, chosen_sample=pl.lit(k, pl.Int64), rejected_sample=pl.lit(k + 2, pl.Int64)
        )
        for name, gaps in zip(names, [(0.9, 0.1), (0.8, 0.2), (0.7, 0.3)], strict=True)
        for k, gap in enumerate(gaps)
    ]
    rewards.PAIRS.write(pl.concat(rows), paths.pairs("round1"))
    space = load(Path(__file__).parent.parent / "params.yaml").tune_dpo
    held_out = tune_dpo.held_out(1, space.model_copy(update={"holdout_users": 1, "pairs": 3}), "round1")
    (held,) = held_out[1]
    left = [name for name in names if name != held]
    assert (
        held_out[0].select("user", "chosen_sample").rows()
        == {
            "a": [("b", 0), ("c", 0), ("c", 1)],
            "b": [("a", 0), ("c", 0), ("c", 1)],
            "c": [("a", 0), ("b", 0), ("b", 1)],
        }[held]
    )
    assert set(held_out[0]["user"]) == set(left)


def test_only_rewarded_users_count():
    frame = table([0.1, 0.9])
    rewards = frame.select("user", "sample", "reward", "judged").head(0)
    pairs, _ = make(rewards, frame.drop("reward", "judged"), 0.0, 5, 2)
    assert pairs.is_empty()


def test_tuning_on_texts_of_a_server_is_refused_by_the_policy_s_name_before_anything_else_is_read(
    tmp_path, monkeypatch
):
    """Rewards, users and prompts of the round are not there: the texts alone decide."""
    monkeypatch.chdir(tmp_path)
    words = r"endpoint\.policies\.round1: round2 would be tuned on texts of 'round1'"
    for log_probs in ([None, None], [-1.5, None]):
        served = SAMPLED.with_columns(log_prob=pl.Series(log_probs, dtype=pl.Float64), policy=pl.lit("round1"))
        TEXTS.write(served, paths.texts("round1_tuning"))
        with pytest.raises(ParamsError, match=words):
            pair.run(Pair(max_pairs=4, per_user=1, min_gap=0.0), "round2", "round1_tuning")
    assert not paths.pairs("round2").exists()
