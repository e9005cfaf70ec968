"""Variance components of paired differences: what users, policies and re-ranker seeds add, and the error of a mean.

A difference is [users, policies, seeds]. A policy is one replicate of the tuned LLM: its pairs, its tuning and its
sampling reseeded together. All three factors are random and crossed, as seed n starts the re-rankers of every policy
alike (and may be the very same re-ranker in the arm that is subtracted): what it adds to all of them is not averaged
out by more policies. Seeds that are policies' own are a special case of it, with nothing in common.
"""

from collections.abc import Mapping
from itertools import combinations
from math import prod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from rlrf4rec.errors import RLRFError

Array = npt.NDArray[np.float64]
Factors = tuple[int, ...]  # places in FACTORS, rising
Squares = dict[Factors, tuple[float, int]]  # mean square and degrees of freedom of a factor or an interaction

FACTORS = ("users", "policies", "seeds")
TERMS = {t: " x ".join(FACTORS[axis] for axis in t) for size in (1, 2, 3) for t in combinations(range(3), size)}
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
    """Variances that a study's differences show, by factor and interaction (`users`, `users x policies`, ...).

    Those of mean squares, not below 0. A factor of one level has none of its own: it is in the others'. Three policies
    tell little of the variance of policies: its estimate has two degrees of freedom.
    """
    values = checked(difference)
    squares = _mean_squares(values)
    return {
        TERMS[term]: max(0.0, sum((-1) ** (len(s) - len(term)) * m for s, (m, _) in squares.items() if {*term} <= {*s}))
        / _others(term, values.shape)
        for term in squares
    }


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
    """Mean squares of every factor of several levels and of all their interactions."""
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
    """Standard error of the mean and its degrees of freedom (Satterthwaite 1946)."""
    users, *others = (term for term in squares if len(term) == 1)
    square, freedom = squares[users][0], float(squares[users][1])
    if others:
        square, freedom = _of_two(squares[users], squares[others[0]], squares[users + others[0]])
    if len(others) == 2:
        square, freedom = _with_common_seeds(square, freedom, squares)
    return float(np.sqrt(square / prod(shape))), float(freedom)


def _of_two(a: tuple[float, int], b: tuple[float, int], rest: tuple[float, int]) -> tuple[float, float]:
    """Mean square of the mean over two crossed factors: those of both, less that of their interaction.

    A component that is estimated below 0 counts as 0. The difference of mean squares can drive Satterthwaite's
    formula below the fewest degrees of freedom of its parts; it stops there.
    """
    if a[0] > rest[0] and b[0] > rest[0]:
        square = a[0] + b[0] - rest[0]
        freedom = square**2 / sum(part**2 / of for part, of in (a, b, rest))
        return square, max(freedom, min(a[1], b[1]))
    return max(rest, b, a)


def _with_common_seeds(square: float, freedom: float, squares: Squares) -> tuple[float, float]:
    """The same with what seeds have in common in all policies; what they add to one alone is in the policies' own."""
    seeds = [squares[term] for term in ((2,), (0, 2), (1, 2), (0, 1, 2))]
    common = seeds[0][0] - seeds[1][0] - seeds[2][0] + seeds[3][0]
    if common <= 0:
        return square, freedom
    whole = square + common
    found = whole**2 / (square**2 / freedom + sum(part**2 / of for part, of in seeds))
    return whole, max(found, min(freedom, seeds[0][1]))


def _varied(shape: tuple[int, ...]) -> list[Factors]:
    """Factors of several levels and their interactions."""
    return [term for term in TERMS if all(shape[axis] > 1 for axis in term)]


def _freedom(term: Factors, shape: tuple[int, ...]) -> int:
    return prod(shape[axis] - 1 for axis in term)


def _others(term: Factors, shape: tuple[int, ...]) -> int:
    """How many values each level of a term stands for."""
    return prod(levels for axis, levels in enumerate(shape) if axis not in term)
