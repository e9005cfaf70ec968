"""Methods of tuning the LLM on the round's pairs, by name. A new one is a file and a line here.

`paths.APART_POLICIES` has the names once more, since what they make lies apart.
"""

from rlrf4rec.errors import entry
from rlrf4rec.methods import rules, sft, shuffled
from rlrf4rec.methods.method import Method

METHODS = {
    "shuffled": shuffled.METHOD,
    "sft": sft.METHOD,
    "matched": shuffled.METHOD,  # which `match_policy` brings as far as the tuned policy, as the other arms
    "rule_years": rules.YEARS,
    "rule_length": rules.LENGTH,
}


def method(name: str) -> Method:
    """The method of a name; ParamsError when there is none."""
    return entry(METHODS, name, "train_policy")
