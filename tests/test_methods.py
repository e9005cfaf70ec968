"""Rules that read no label."""

import good_tables
import polars as pl
import pytest

from rlrf4rec.errors import RLRFError
from rlrf4rec.methods import rules
from rlrf4rec.methods.method import Given

WRITTEN = {
    "u": ["likes war", "of 1990 and 1994", "of the 1990s", "of 1990, 1994 or the 1980s, 2 of them"],
    "v": ["of 1990", "of the 1980s", "of 2001", "in 1950"],
    "w": ["not 1990", "likes it", "nor that", "hates it"],
}
TOKENS = {"u": [1, 2, 2, 3], "v": [2, 4, 1, 1], "w": [2, 2, 2, 2]}


def texts():
    rows = [
        {"user": user, "sample": s, "text": text, "tokens": [10 + s] * TOKENS[user][s], "log_prob": -1.0 - s}
        for user, own in WRITTEN.items()
        for s, text in enumerate(own)
    ]
    return pl.DataFrame(rows).with_columns(token_count=pl.col("tokens").list.len().cast(pl.Int64))


def of_round(users):
    made = pl.concat([good_tables.PAIRS.head(1)] * len(users))
    return made.with_columns(user=pl.Series(users))


def test_the_text_that_names_more_years_is_chosen_and_who_names_as_many_in_all_is_left_out():
    """Decades count as years do; of texts that are equal in it the first is taken."""
    found = rules.years(Given(of_round(["u", "v", "w"]), texts(), 0))
    assert found["user"].to_list() == ["u", "w"]
    assert found["chosen"].to_list() == [WRITTEN["u"][3], WRITTEN["w"][0]]
    assert found["rejected"].to_list() == [WRITTEN["u"][0], WRITTEN["w"][1]]
    assert found["chosen_tokens"].to_list() == [[13] * 3, [10] * 2]
    assert found["rejected_log_prob"].to_list() == [-1.0, -2.0]
    assert (found["chosen_sample"].to_list(), found["rejected_sample"].to_list()) == ([3, 0], [0, 1])


def test_the_longer_text_is_chosen():
    found = rules.length(Given(of_round(["w", "u", "v"]), texts(), 0))
    assert found["user"].to_list() == ["u", "v"]
    assert (found["chosen_sample"].to_list(), found["rejected_sample"].to_list()) == ([3, 1], [0, 2])


def test_who_gave_two_pairs_to_the_round_gives_two_to_a_rule_while_their_texts_differ():
    """Years of u: 0, 2, 1, 3; of v 1 each; tokens of v: 2, 4, 1, 1, of u: 1, 2, 2, 3."""
    found = rules.years(Given(of_round(["u", "u", "w"]), texts(), 0))
    assert found.select("user", "chosen_sample", "rejected_sample").rows() == [("u", 3, 0), ("u", 1, 2), ("w", 0, 1)]
    found = rules.length(Given(of_round(["v", "v", "u", "u"]), texts(), 0))
    assert found.select("user", "chosen_sample", "rejected_sample").rows() == [("v", 1, 2), ("v", 0, 3), ("u", 3, 0)]
    assert "place" not in found.columns


def test_a_rule_takes_the_round_s_users_and_no_label():
    one, other = (
        of_round(["v"]),
        of_round(["v"]).with_columns(chosen_reward=0.9, rejected_reward=0.1, chosen=pl.lit("x")),
    )
    found = rules.length(Given(one, texts(), 0))
    assert found["user"].to_list() == ["v"]
    assert found.equals(rules.length(Given(other, texts(), 5)))


def test_a_rule_that_tells_no_texts_apart_is_named():
    with pytest.raises(RLRFError, match=r"no two texts of any of 1 users differ by this rule; raise sample\.n, or"):
        rules.length(Given(of_round(["w"]), texts(), 0))
    with pytest.raises(RLRFError, match="no two texts of any of 1 users"):
        rules.years(Given(of_round(["v"]), texts(), 0))
