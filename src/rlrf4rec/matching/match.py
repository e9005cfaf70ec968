"""A policy that has moved as far as another: trained at least as far, then scaled back.

A training is repeated from its beginning in 1, 2, 4 ... times its own epochs, each time in one schedule whose rate
falls to 0, until its policy has moved at least as far as is asked; then the update of its adapter is multiplied by the
factor in (0, 1] at which KL is what is asked. So all policies end annealed and at the same distance on these texts. A
scaled update is no point that its training has passed: it lies on the line from the LLM to where the training ended.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from scipy.optimize import brentq

from rlrf4rec.errors import RLRFError
from rlrf4rec.movement.divergence import Apart, Moved


@dataclass(frozen=True)
class Limits:
    """longest: most times a training's own epochs; tolerance: of KL, relative."""

    longest: int
    tolerance: float


@dataclass(frozen=True)
class Matched:
    """What came of it; `trained`: how far the policy had moved at the end of each training, unscaled, by its length.

    why: what is wrong where `matched` is false, else nothing.
    """

    matched: bool
    why: str
    scale: float
    apart: Apart
    trained: dict[int, Moved]


def require_distance(target: Moved, floor: float, name: str) -> None:
    """RLRFError where policy `name`, whom others are to be matched with, has moved too little for it.

    It has where KL is at least `floor` and above two standard errors. Else nothing that is found about the others would
    say anything.
    """
    if target.kl >= floor and target.kl > 2 * target.kl_standard_error:
        return
    raise RLRFError(
        f"match_policy: {name} is {target.kl:.3g} nats a text from the LLM, which is no distance to bring others to: "
        f"two standard errors are {2 * target.kl_standard_error:.3g}, match_policy.floor is {floor:.3g}; tune it "
        "further (dpo.epochs, pair.max_pairs, train_dpo.learning_rate), or lower the floor"
    )


def match(train: Callable[[int], None], measure: Callable[[float], Apart], target: Moved, limits: Limits) -> Matched:
    """Train and scale back until KL is that of `target`.

    train: in so many times its own epochs, from the beginning; measure: how far the policy that was trained last has
    moved with its update multiplied by a factor. One that has not moved so far in the longest training is not matched,
    and stays as it is. RLRFError for one whose training has diverged.
    """
    times = 1
    trained: dict[int, Moved] = {}
    while True:
        train(times)
        found = measure(1.0)
        trained[times] = found.mean()
        if not math.isfinite(trained[times].kl):
            raise RLRFError(
                f"match_policy: after {times} times its epochs the policy's KL is {trained[times].kl}: its training "
                "has diverged; lower train_dpo.learning_rate, or train_policy.sft_learning_rate for sft"
            )
        if trained[times].kl >= target.kl * (1 - limits.tolerance) or 2 * times > limits.longest:
            break
        times *= 2
    scale, found = _scaled(measure, target.kl, found, limits.tolerance)
    kl = found.mean().kl
    matched = abs(kl / target.kl - 1) <= limits.tolerance
    why = "" if matched else f"it has moved by {kl:.3g} of {target.kl:.3g} nats a text in {times} times its epochs"
    return Matched(matched, why, scale, found, trained)


def _scaled(measure: Callable[[float], Apart], target: float, whole: Apart, tolerance: float) -> tuple[float, Apart]:
    """The factor of the update at which KL is `target`, and how far the policy is then; 1 where `whole` is no further.

    The square root of KL is nearly linear in the factor, as KL is nearly quadratic around the LLM, where it is 0.
    """
    if whole.mean().kl <= target * (1 + tolerance):
        return 1.0, whole
    known = {1.0: whole}

    def gap(scale: float) -> float:
        """Of the square roots; 0, which ends the search, within the tolerance."""
        if scale == 0:
            return -math.sqrt(target)
        if scale not in known:
            known[scale] = measure(scale)
        kl = known[scale].mean().kl
        return 0.0 if abs(kl / target - 1) <= tolerance else math.sqrt(kl) - math.sqrt(target)

    scale = brentq(gap, 0.0, 1.0)
    return scale, known[scale]
