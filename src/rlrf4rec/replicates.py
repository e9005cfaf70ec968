"""Names of what a study of several policies makes: `tuned-2` is what the arm `tuned` makes as the second of them."""

import re

NAME = re.compile(r"([a-z][a-z0-9_]*)-([1-9][0-9]*)")


def parts(name: str) -> tuple[str, str | None]:
    """Arm and number of the policy; no number where the name is not that of a replicate.

    >>> parts("tuned-2"), parts("round1")
    (('tuned', '2'), ('round1', None))
    """
    found = NAME.fullmatch(name)
    return (found[1], found[2]) if found else (name, None)


def beside(name: str, arm: str, alone: str) -> str:
    """The name of another arm's in the same replicate; `alone` where `name` is not that of a replicate.

    >>> beside("matched-2", "tuned", "round1"), beside("shuffled", "tuned", "round1")
    ('tuned-2', 'round1')
    """
    number = parts(name)[1]
    return f"{arm}-{number}" if number else alone
