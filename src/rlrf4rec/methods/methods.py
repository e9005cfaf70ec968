"""Methods of tuning the LLM on the round's pairs, by name. A new one is a file and a line here.

`paths.APART_POLICIES` has the names once more, since what they make lies apart.
"""

from rlrf4rec.errors import entry
from rlrf4rec.methods import matched, rules, sft, shuffled
from rlrf4rec.methods.method import Method

METHODS = {
    "shuffled": shuffled.METHOD,
    "sft": sft.METHOD,
    "matched": matched.METHOD,
    "rule_years": rules.YEARS,
    "rule_length": rules.LENGTH,
}


def method(name: str) -> Method:
    """The method of a name; ParamsError when there is none."""
    return entry(METHODS, name, "train_policy")
