"""Whether a record of metrics/reproduced.json is what `rlrf4rec reproduce` has found of the run."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rlrf4rec.reproducing import classes, runs
from rlrf4rec.reproducing.classes import Held
from rlrf4rec.reproducing.headlines import Headline
from rlrf4rec.reproducing.records import MEND, REPRODUCED, headline, kind
from rlrf4rec.revisions import git
from rlrf4rec.revisions.git import Revision


def faults(content: Mapping[str, Any]) -> list[str]:
    """Sentences on what it says of itself that does not follow from its numbers, or is not in its commit."""
    found, held, where = [], {}, f"{REPRODUCED}, {kind(content)}"
    for name, row in content["numbers"].items():
        committed = headline(row["committed"], row["tolerance"])
        here = headline(row["here"], row["tolerance"]) if row["here"] else None
        held[name] = Held(committed, here, classes.classify(committed, here))
        if held[name].kind != row["class"]:
            found.append(f"{where}: {name!r} is said to be {row['class']}, but is {held[name].kind}; {MEND}")
    if not found and content["classes"] != classes.counts(held):
        found.append(f"{where}: its counts are not those of its numbers; {MEND}")
    if content["other_claims"] != classes.other_claims(held):
        found.append(f"{where}: its other claims are not those of its numbers; {MEND}")
    commit = git.commit(str(content["commit"]))
    if commit is None and not git.shallow():
        found.append(f"{where}: its commit {content['commit']:.7} is not in this repository; {MEND}")
    if commit and not same(content, runs.of_commit(Revision(str(content["commit"]), commit))):
        found.append(f"{where}: its committed numbers are not those of commit {commit:.7}; {MEND}")
    return found


def same(content: Mapping[str, Any], run: runs.Run) -> bool:
    """Whether these are the headline numbers of a run."""
    said = {name: headline(row["committed"], row["tolerance"]) for name, row in content["numbers"].items()}
    return said.keys() == run.numbers.keys() and all(_equal(said[name], one) for name, one in run.numbers.items())


def _equal(one: Headline, other: Headline) -> bool:
    """Files hold ten digits, so the tolerance, which is computed, is nearly the same; all else is equal."""
    near = math.isclose(one.tolerance, other.tolerance, rel_tol=1e-8)
    return near and replace(one, tolerance=other.tolerance) == other
