"""Rules that read no label, how far a policy has moved, and the policy that is trained until it has moved as far."""

from dataclasses import replace

import good_tables
import polars as pl
import pytest
import torch
from test_dpo import PAIRS, SETTINGS, tuned

from rlrf4rec.alignment import module
from rlrf4rec.alignment.loss import LogProbs
from rlrf4rec.errors import RLRFError
from rlrf4rec.methods import movement, rules
from rlrf4rec.methods.matched import Matched
from rlrf4rec.methods.method import Given
from rlrf4rec.methods.movement import Texts

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


def test_movement_by_hand(monkeypatch):
    before = LogProbs(torch.tensor([-1.0, -2.0]), torch.tensor([-3.0, -4.0]))
    now = LogProbs(torch.tensor([-2.0, -1.0]), torch.tensor([-3.0, -8.0]))
    monkeypatch.setattr(movement, "reference_log_probs", lambda *_: now)
    measured = Texts([], before, 1, "float32")
    assert measured.kl(None) == pytest.approx((1 - 1 + 0 + 4) / 4)
    assert measured.shift(None) == pytest.approx((1 + 1 + 0 + 4) / 4)


def test_an_untrained_policy_has_not_moved_and_a_trained_one_has(llama):
    policy, reference, _ = tuned(llama)
    measured = Texts.of(policy, PAIRS, 2, "float32")
    assert measured.shift(policy) == 0
    module.train(module.DpoModule(policy, PAIRS, reference, SETTINGS), "test", None)
    assert measured.shift(policy) >= abs(measured.kl(policy)) > 0.1


def test_others_are_two_texts_each_of_the_first_users_that_have_some():
    prompts = pl.DataFrame({"user": ["v", "u"], "tokens": [[7], [8, 9]]})
    found = movement.others(texts(), prompts, pl.Series(["u", "x", "v"]), 2)
    assert [(p.prompt, p.chosen, p.rejected) for p in found] == [
        ([8, 9], [10], [11] * 2),
        ([7], [10] * 2, [11] * 4),
    ]
    assert len(movement.others(texts(), prompts, pl.Series(["u", "x", "v"]), 1)) == 1


def matched(llama, epochs, target):
    """Steps of a matched training on the pairs, and how far it has moved in the end."""
    policy, reference, _ = tuned(llama)
    measured, asked = Texts.of(policy, PAIRS, 2, "float32"), []
    work = Matched(policy, PAIRS, reference, replace(SETTINGS, epochs=epochs, batch=1))

    def far_enough():
        """Whether it is, noted."""
        asked.append(measured.shift(policy))
        return asked[-1] >= target

    work.far_enough = far_enough
    steps = module.train(work, "test", None)
    return steps, asked, measured.shift(policy), work


def test_a_matched_policy_ends_when_it_has_moved_as_far(llama):
    steps, asked, moved, work = matched(llama, 20, 2.0)
    assert 4 < len(steps) < work.total == 80
    assert moved == asked[-1] >= 2.0
    assert all(earlier < 2.0 for earlier in asked[:-1])
    assert len(asked) == len(steps)  # four looks in an epoch of four steps


def test_a_matched_policy_that_never_moves_so_far_takes_all_epochs(llama):
    steps, asked, moved, work = matched(llama, 2, 1e6)
    assert len(steps) == work.total == 8
    assert 0 < moved < 1e6
    assert len(asked) == 7  # after every step but the last, behind which nothing is trained
