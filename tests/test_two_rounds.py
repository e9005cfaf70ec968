"""What the study of arms asks of policies that were tuned twice."""

import numpy as np

from rlrf4rec.evaluation import arms


def test_two_rounds_are_held_against_what_was_brought_to_their_distance():
    plain = {"difference": 0.02, "low": 0.01, "high": 0.03, "p": 0.01}
    controls = ("base", "matched_second", "rule_years_second", "rule_length_second")
    found = {"family": {f"second - {name}": plain for name in controls}}
    assert arms.lacks("shown_second", found, 3, {"tuned", "matched"}, ["matched-1"]) == []
    assert arms.lacks("shown_second", found, 3, {"second"}, ["matched_second-1"]) == [
        *("re-rankers of second not trained out", "not as far from the LLM as second: matched_second-1"),
    ]


def test_what_is_asked_of_two_rounds_is_asked_where_they_are_and_adjusts_p_there_alone():
    generator = np.random.default_rng(0)
    values = {
        kind: {"ndcg@5": generator.normal(gain, 0.1, (30, 3, 2))}
        for kind, gain in (("base", 0.0), ("tuned", 0.05), ("second", 0.05))
    }
    both = arms.report(values, [1] * 30, 100, 0)["family"]
    assert set(both) == {"tuned - base", "second - base"}
    one = arms.report({kind: values[kind] for kind in ("base", "tuned")}, [1] * 30, 100, 0)["family"]
    assert set(one) == {"tuned - base"}
    assert one["tuned - base"]["p_holm"] < both["tuned - base"]["p_holm"]
    assert one["tuned - base"]["p"] == both["tuned - base"]["p"]
