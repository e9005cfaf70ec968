"""What the report says of a difference in words."""

import pytest
from made_up_run import effect

from rlrf4rec.report import numbers


def test_a_verdict_speaks_from_the_numbers():
    gain = numbers.verdict("X", "NDCG@5", effect(0.01, 0.004, p_holm=0.01))
    assert gain.tone == "gain"
    assert gain.text == "X: gain of this one policy shown (+0.0100 NDCG@5, 95 % interval [+0.0060, +0.0140])."
    null = numbers.verdict("X", "NDCG@5", effect(0.001, 0.004, mde=0.0057))
    assert null.tone == "null"
    assert "no gain of this one policy shown (+0.0010" in null.text
    assert "a gain up to +0.0050 fits these data, and another policy may lie outside; this test" in null.text
    assert "an effect of 0.0057 four times out of five" in null.text
    loss = numbers.verdict("X", "NDCG@5", effect(-0.01, 0.004))
    assert loss.tone == "loss"
    assert loss.text.startswith("X: no gain; a loss of this one policy is shown (")


def test_a_verdict_over_several_policies_says_so():
    assert "X: gain over 3 policies shown (" in numbers.verdict("X", "M", effect(0.01, 0.004, p=0.01, policies=3)).text
    null = numbers.verdict("X", "M", effect(0.001, 0.004, policies=3)).text
    assert "no gain over 3 policies shown" in null
    assert "a gain up to +0.0050 fits these data; this test" in null
    assert "a loss over 3 policies is shown" in numbers.verdict("X", "M", effect(-0.01, 0.004, policies=3)).text
    assert "of this one policy" in numbers.verdict("X", "M", effect(0.01, 0.004, policies=1)).text


def test_a_verdict_says_what_it_is_by_list():
    by_list = {"difference": 0.0025, "low": -0.001, "high": 0.006}
    text = numbers.verdict("X", "M", effect(0.01, 0.004, over_lists=by_list)).text
    assert text.endswith(" As a mean over lists, not users: +0.0025 [-0.0010, +0.0060].".replace("-", numbers.MINUS))
    assert "lists" not in numbers.verdict("X", "M", effect(0.01, 0.004)).text


@pytest.mark.parametrize("difference", [-0.01, 0.0, 0.001, 0.01])
@pytest.mark.parametrize("p_holm", [0.01, 0.9])
def test_no_verdict_excludes_what_its_interval_does_not_cover(difference, p_holm):
    for policies in ({}, {"policies": 4}):
        text = numbers.verdict("X", "M", effect(difference, 0.004, p_holm=p_holm, **policies)).text
        assert "exclud" not in text
        assert ("this one policy" in text) != bool(policies)


def test_a_gain_that_does_not_survive_holm_is_no_gain():
    note = numbers.verdict("X", "NDCG@5", effect(0.01, 0.004, p_holm=0.12))
    assert note.tone == "null"
    assert "does not survive Holm's correction (p = 0.120)" in note.text
    note = numbers.verdict("X", "NDCG@5", effect(0.01, 0.004, p=0.08))
    assert "does not survive the permutation test (p = 0.080)" in note.text


def test_an_old_difference_without_p_and_effect_size_gives_dashes():
    row = numbers.row({"difference": 0.1, "low": 0.0, "high": 0.2, "users": 3})
    dash = numbers.DASH
    assert row == ("+0.1000", "[0.0000, +0.2000]", dash, dash, dash, "3", dash)
    assert "four times" not in numbers.verdict("X", "M", {"difference": 0.1, "low": 0.0, "high": 0.2}).text
