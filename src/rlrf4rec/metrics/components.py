"""Variance components of paired differences: what users, policies and re-ranker seeds add, and the error of a mean.

A difference is [users, policies, seeds]. A policy is one replicate of the tuned LLM: its pairs, its tuning and its
sampling reseeded together. All are random, users and policies crossed. Seeds are each policy's own, as the stage `arm`
draws them: seed 2 of two policies has nothing in common but its number, so seeds are nested in policies (Searle,
Casella & McCulloch 1992, ch. 5). Of one policy users and seeds are crossed.
"""

from collections.abc import Mapping
from math import prod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from rlrf4rec.errors import RLRFError

Array = npt.NDArray[np.float64]
Factors = tuple[int, ...]  # places in FACTORS, rising
Squares = dict[Factors, tuple[float, float]]  # mean square and degrees of freedom of a factor or an interaction

FACTORS = ("users", "policies", "seeds")
TERMS: dict[Factors, str] = {  # a seed is one of its policy; what it is a part of stands before it
    (0,): "users",
    (1,): "policies",
    (0, 1): "users x policies",
    (1, 2): "seeds",
    (0, 1, 2): "users x seeds",
}
LARGEST = 10_000  # size that `size_needed` looks up to


def checked(difference: Array) -> Array:
    """The differences as [users, policies, seeds], finite, of at least two users; [users, seeds] are of one policy."""
    values = np.asarray(difference, dtype=np.float64)
    if values.ndim < 3:
        values = values[:, None, None] if values.ndim == 1 else values[:, None]
    if values.ndim != 3 or len(values) < 2 or not values.size:
        shape = np.shape(difference)
        known = "[users], [users, seeds] or [users, policies, seeds]"
        raise RLRFError(f"a paired difference is {known} of 2 users or more; found {shape}")
    broken = np.argwhere(~np.isfinite(values))
    if len(broken):
        user, policy, seed = broken[0]
        where = f"row {user}, policy {policy}, seed {seed}" if values.shape[1] > 1 else f"row {user}, seed {seed}"
        raise RLRFError(f"paired difference: {where} is {values[user, policy, seed]}; mend the table it is of")
    return values


def standard_error(values: Array) -> tuple[float, float]:
    """Standard error of the mean of [users, policies, seeds] over new ones of all of them, and its degrees of freedom.

    A factor of one level adds nothing that could be seen: the error is then about this policy, or this seed.
    """
    return _error(_mean_squares(values), values.shape)


def detectable(error: float, freedom: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """(q_{1-alpha/2} + q_power) * error, the smallest effect that is found with probability `power` (Bloom 1995)."""
    return error * float(stdtrit(freedom, 1 - alpha / 2) + stdtrit(freedom, power))


def components(difference: Array) -> dict[str, float]:
    """Variances that a study's differences show, by the names of `TERMS`; `seeds` are those within a policy.

    Those of mean squares, not below 0. A factor of one level has none of its own: it is in the others'. Three policies
    tell little of the variance of policies: its estimate has two degrees of freedom.
    """
    values = checked(difference)
    squares, shape = _mean_squares(values), values.shape
    parts: dict[Factors, float] = {}  # what each adds to the mean squares of the terms that it is an interaction of
    for term in reversed(squares):
        parts[term] = squares[term][0] - sum(part for whole, part in parts.items() if {*term} < {*whole})
    return {TERMS[term]: max(0.0, parts[term]) / _others(term, shape) for term in squares}


def planned_effect(
    variances: Mapping[str, float], users: int, policies: int, seeds: int, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Minimum detectable effect of a study of these sizes, were its variances those of `components`.

    One policy or one seed: of an interval that is about this one alone. RLRFError if a factor of several levels has no
    variance in `variances`: a study of one policy doesn't tell what another would have given.
    """
    shape = (users, policies, seeds)
    if users < 2 or min(shape) < 1:
        raise RLRFError(f"a study has 2 users or more, and a policy and a seed at least; found {shape}")
    for factor, size in zip(FACTORS, shape, strict=True):
        if size > 1 and factor not in variances:
            raise RLRFError(
                f"the variance of {factor} is not known: the differences that it was to be estimated on have one level "
                f"of it; plan with one, or estimate on a study of several"
            )
    return detectable(*_error(_expected_squares(variances, shape), shape), alpha, power)


def size_needed(
    factor: Literal["users", "policies"], effect: float, variances: Mapping[str, float], **sizes: int
) -> int | None:
    """Fewest users or policies (`factor`) with a minimum detectable effect of at most `effect`, at 5 % and power 80 %.

    sizes: the other two of users, policies, seeds. None: 10,000 do not suffice, as when the variance of so few
    policies alone is too large. The first size that suffices, not all above it: more users lower the error, but where
    few policies are then what is left of it, with their few degrees of freedom, t can grow faster.
    """
    for size in range(2, LARGEST + 1):
        if planned_effect(variances, **{**sizes, factor: size}) <= effect:
            return size
    return None


def _mean_squares(values: Array) -> Squares:
    """Mean squares of every term that varies."""
    effects: dict[Factors, Any] = {(): values.mean()}
    found: Squares = {}
    for term in _varied(values.shape):
        effect = values.mean(axis=tuple(a for a in range(3) if a not in term), keepdims=True)
        for part, known in effects.items():
            if {*part} < {*term}:
                effect = effect - known
        effects[term] = effect
        freedom = _freedom(term, values.shape)
        found[term] = float(_others(term, values.shape) * (effect**2).sum() / freedom), freedom
    return found


def _expected_squares(variances: Mapping[str, float], shape: tuple[int, ...]) -> Squares:
    """What the mean squares of a study of this shape are on average."""
    parts = [(term, variances.get(name, 0.0) * _others(term, shape)) for term, name in TERMS.items()]
    return {
        term: (sum(part for whole, part in parts if {*term} <= {*whole}), _freedom(term, shape))
        for term in _varied(shape)
    }


def _error(squares: Squares, shape: tuple[int, ...]) -> tuple[float, float]:
    """Standard error of the mean and its degrees of freedom (Satterthwaite 1946).

    The mean square of policies has what their seeds add in it.
    """
    users, second = (0,), next((term for term in ((1,), (1, 2)) if term in squares), None)
    square, freedom = squares[users]
    if second:
        square, freedom = _of_two(squares[users], squares[second], squares[users + second])
    return float(np.sqrt(square / prod(shape))), float(freedom)


def _of_two(a: tuple[float, float], b: tuple[float, float], rest: tuple[float, float]) -> tuple[float, float]:
    """Mean square of the mean over two crossed factors: those of both, less that of their interaction.

    A component that is estimated below 0 counts as 0. The difference of mean squares can drive Satterthwaite's
    formula below the fewest degrees of freedom of its parts; it stops there.
    """
    if a[0] > rest[0] and b[0] > rest[0]:
        square = a[0] + b[0] - rest[0]
        freedom = square**2 / sum(part**2 / of for part, of in (a, b, rest))
        return square, max(freedom, min(a[1], b[1]))
    return max(rest, b, a)


def _varied(shape: tuple[int, ...]) -> list[Factors]:
    """Terms of which there are several levels, or several in a policy."""
    return [term for term in TERMS if all(shape[axis] > 1 for axis in term if axis != 1 or 2 not in term)]


def _freedom(term: Factors, shape: tuple[int, ...]) -> float:
    """Degrees of freedom; seeds are counted in every policy."""
    return float(prod(shape[axis] - (axis != 1 or 2 not in term) for axis in term))


def _others(term: Factors, shape: tuple[int, ...]) -> int:
    """How many values each level of a term stands for."""
    return prod(levels for axis, levels in enumerate(shape) if axis not in term)
