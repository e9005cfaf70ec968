"""The effect that a study of given sizes would find, by the variance components of the study of arms that was run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlrf4rec.errors import InputError, ParamsError
from rlrf4rec.files import atomic
from rlrf4rec.metrics.components import planned_effect

BEGIN, END = "<!-- power: written by `rlrf4rec power --write` -->", "<!-- /power -->"


POWER = 0.8


@dataclass(frozen=True)
class Seen:
    """A paired difference of the study that was run: its mean and variance components, and what it is."""

    what: str
    difference: float
    components: Mapping[str, float]


@dataclass(frozen=True)
class Planned:
    """Sizes of a study, and the effect that it would find four times of five at 5 %, in units of the metric.

    Were it that of all comparisons, they would be found together so often: each by `POWER` to the power of one over
    their number, which is enough where they hang together, as those with the same arm do.
    """

    users: int
    policies: int
    seeds: int
    effect: float


def seen(report: Mapping[str, Any], protocol: str, pair: str, metric: str, path: Path) -> Seen:
    """What `evaluate_arms` wrote of a comparison; InputError names what `path` lacks, and what there is instead."""
    place: Any = report
    for step in (protocol, "differences", pair, metric):
        if step not in place:
            raise InputError(f"{path}: no {step!r}; there are {', '.join(place)}")
        place = place[step]
    if "components" not in place:
        raise InputError(f"{path}: {pair} has no variance components; run `make arms` again")
    return Seen(f"{pair} under {protocol}, {metric}", float(place["difference"]), place["components"])


def plans(of: Sequence[Seen], users: Sequence[int], policies: Sequence[int], seeds: int) -> list[Planned]:
    """A plan for each number of users and policies. RLRFError where the study that was run can't tell of several."""
    each = POWER ** (1 / len(of))

    def effect(n: int, p: int) -> float:
        """That of the comparison that varies most."""
        return max(planned_effect(one.components, n, p, seeds, power=each) for one in of)

    return [Planned(n, p, seeds, effect(n, p)) for n in users for p in policies]


def told(of: Sequence[Seen], gain: float | None, made: Sequence[Planned]) -> str:
    """The plans as text; ParamsError where nothing is to be found.

    gain: what is to be found; None: half of the smallest that was seen, as first findings are too large as a rule.
    """
    smallest = min(of, key=lambda one: one.difference)
    wanted = smallest.difference / 2 if gain is None else gain
    if gain is not None and not gain > 0:
        raise ParamsError(f"--gain {gain}: what is to be found has to be more than 0")
    if wanted <= 0:
        raise ParamsError(
            f"{smallest.what}: seen was {smallest.difference:+.4f}, of which half is no gain to find; give --gain"
        )
    about = "half of the smallest" if gain is None else "as it was given"
    lines = [f"{one.what}: seen {one.difference:+.4f}" for one in of]
    lines.append(f"to be found, in {'all of them' if len(of) > 1 else 'it'}: {wanted:.4f}, {about}")
    lines.append("users  policies  seeds  found four times of five  enough")
    lines += [
        f"{p.users:5}  {p.policies:8}  {p.seeds:5}  {p.effect:24.4f}  {'yes' if p.effect <= wanted else 'no'}"
        for p in made
    ]
    return "\n".join(lines)


def write(path: Path, text: str) -> None:
    """Put the text between its marks, as a block that quotes a command's output; InputError where marks are missing."""
    whole = path.read_text(encoding="utf-8")
    head, begin, rest = whole.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{path}: the marks {BEGIN} and {END} are missing; put them on lines of their own")
    with atomic(path) as temporary:
        temporary.write_text(f"{head}{BEGIN}\n```text\n{text}\n```\n{END}{tail}", encoding="utf-8")
