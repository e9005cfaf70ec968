import polars as pl
import pytest
from good_tables import SAMPLED

from rlrf4rec import paths
from rlrf4rec.errors import ParamsError
from rlrf4rec.pairing.pairs import make
from rlrf4rec.params import Pair
from rlrf4rec.stages import pair
from rlrf4rec.tables.texts import TEXTS


def table(rewards, texts=None):
    n = len(rewards)
    texts = texts or [f"text {i}" for i in range(n)]
    frame = pl.DataFrame({"user": ["u"] * n, "sample": range(n), "reward": rewards, "judged": [-r for r in rewards]})
    frame = frame.with_columns(text=pl.Series(texts))
    log_probs = pl.Series([-float(i) for i in range(n)])
    return frame.with_columns(tokens=pl.Series([[i, 198] for i in range(n)]), log_prob=log_probs)


def both(frame, min_gap=0.0, max_pairs=10):
    return make(frame.select("user", "sample", "reward", "judged"), frame.drop("reward", "judged"), min_gap, max_pairs)


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


def test_only_rewarded_users_count():
    frame = table([0.1, 0.9])
    pairs, _ = make(frame.select("user", "sample", "reward", "judged").head(0), frame.drop("reward", "judged"), 0.0, 5)
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
            pair.run(Pair(max_pairs=4, min_gap=0.0), "round2", "round1_tuning")
    assert not paths.pairs("round2").exists()
