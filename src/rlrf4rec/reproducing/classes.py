"""Each committed headline number against that of another run, in three classes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from rlrf4rec.reproducing.headlines import Headline

EQUAL, WITHIN, NOT = "equal", "within tolerance", "not reproduced"
CLASSES = (EQUAL, WITHIN, NOT)


@dataclass(frozen=True)
class Held:
    """A committed number, that of the other run (None where it has none), and the class."""

    committed: Headline
    here: Headline | None
    kind: str


def classify(committed: Headline, here: Headline | None) -> str:
    """The class of a number.

    equal: the number and its interval are the same in all ten digits that metrics files hold.
    within tolerance: the number is no further away than half the width of the committed 95 % interval. That interval is
    over new users and newly trained seeds. A run again has the same users, so it should vary less: through the seeds
    it takes up on another arithmetic, and through the texts that are drawn there, which the interval does not cover. So
    a number that leaves half the width is further off than the committed uncertainty allows even with other users.
    It is a wide tolerance: whether the same gains are claimed is told beside it.
    not reproduced: all else, and a number that the other run does not have.
    """
    if here is None:
        return NOT
    if (here.value, here.low, here.high) == (committed.value, committed.low, committed.high):
        return EQUAL
    return WITHIN if abs(here.value - committed.value) <= committed.tolerance else NOT


def hold(committed: Mapping[str, Headline], here: Mapping[str, Headline]) -> dict[str, Held]:
    """Every committed number against the other run's, by name."""
    return {name: Held(one, here.get(name), classify(one, here.get(name))) for name, one in committed.items()}


def counts(held: Mapping[str, Held]) -> dict[str, int]:
    """How many are in each class."""
    found = Counter(one.kind for one in held.values())
    return {kind: found[kind] for kind in CLASSES}


def other_claims(held: Mapping[str, Held]) -> list[str]:
    """Sentences on gains that one run claims and the other does not."""
    found = []
    for name, one in held.items():
        if one.here is not None and one.committed.claimed != one.here.claimed:
            which = "the commit" if one.committed.claimed else "this run"
            found.append(f"{name}: a gain is claimed in {which} alone, of its one policy")
    return found
