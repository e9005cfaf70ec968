"""What the default run reports of its claims."""

import pytest

from rlrf4rec.evaluation import findings
from rlrf4rec.tables.results import shows_gain


def claim(difference, low, p_holm):
    return {"difference": difference, "low": low, "high": 2 * difference - low, "p": p_holm / 2, "p_holm": p_holm}


FAMILY = {
    "reward gain of round1": claim(0.016, 0.007, 0.0054),
    "round1 - base": claim(0.017, 0.004, 0.052),
    "round1_template - template": claim(0.008, -0.001, 0.0667),
}
LEVELS = {"template": 0.52, "base": 0.51, "round1": 0.53}


def report(*pairs):
    """An evaluation of two backbones, `prm` .02 above `dlcm`, with these pairs compared."""
    levels = [(f"{b}-{k}", level + shift) for b, shift in (("dlcm", 0), ("prm", 0.02)) for k, level in LEVELS.items()]
    return {
        "differences": {pair: {"all": {"ndcg@5": FAMILY[pair]}} for pair in pairs},
        "family": FAMILY,
        "rankers": {name: {"ndcg@5": {"mean": level}} for name, level in levels},
    }


def test_the_summary_says_of_each_claim_whether_it_is_made():
    """An interval above zero is none without Holm's p."""
    found = findings.summary(report("round1 - base", "round1_template - template"), ["dlcm", "prm"], "round1")
    numbers = {name: value for name, value in found.items() if not isinstance(value, str)}
    assert numbers == pytest.approx(
        {
            "reward_gain_ndcg5": 0.016,
            "reward_gain_ndcg5_low": 0.007,
            "reward_gain_ndcg5_high": 0.025,
            "end_to_end_ndcg5": 0.017,
            "end_to_end_ndcg5_low": 0.004,
            "end_to_end_ndcg5_high": 0.030,
            "beyond_profile_ndcg5": 0.008,
            "ndcg5_template": 0.53,
            "ndcg5_base": 0.52,
            "ndcg5_tuned": 0.54,
        }
    )
    assert {name: value for name, value in found.items() if name not in numbers} == {
        "reward_gain_claim": "gain of this one policy claimed (Holm's p 0.005)",
        "end_to_end_claim": "no gain of this one policy claimed (Holm's p 0.052)",
        "beyond_profile_claim": "no gain of this one policy claimed (Holm's p 0.067)",
    }
    names = list(found)
    assert names.index("end_to_end_claim") == names.index("end_to_end_ndcg5_high") + 1


def test_the_summary_has_no_claim_that_the_run_did_not_test():
    found = findings.summary(report("round1 - base"), ["dlcm", "prm"], "round1")
    assert [name for name in found if "claim" in name] == ["reward_gain_claim", "end_to_end_claim"]


@pytest.mark.parametrize(
    ("difference", "is_one"),
    [
        ({"low": 0.001, "p": 0.001, "p_holm": 0.05}, True),
        ({"low": 0.001, "p": 0.001, "p_holm": 0.051}, False),
        ({"low": 0.0, "p": 0.001, "p_holm": 0.001}, False),
        ({"low": 0.001, "p": 0.04}, True),
        ({"low": 0.001, "p": 0.06}, False),
    ],
)
def test_a_gain_needs_interval_and_p(difference, is_one):
    assert shows_gain(difference) is is_one
