"""Whether a re-ranker was trained out: a plateau that some seeds never left looks like an effect of knowledge."""

from typing import Any

FALL, SPREAD = 0.02, 0.05


def describe(losses: list[list[float]], validation: list[list[float]]) -> dict[str, Any]:
    """Training curves of all seeds, [seeds][epochs], validation [seeds][some of the epochs], as one verdict.

    `late_fall`: share of the whole fall of the mean training loss that came in the last quarter of the epochs;
    `below_best`: best epoch's mean validation NDCG@5 less the last one's; `spread`: of the seeds' last values.
    Trained out: the last quarter brought at most a quarter of the fall, the last epoch is at most 0.02 below the
    best one, and no seed stands more than 0.05 from another (one that stayed on a plateau would).
    """
    epochs = len(losses[0])
    loss, value = _mean(losses), _mean(validation)
    fall = loss[0] - loss[-1]
    late = loss[max(0, epochs - 1 - epochs // 4)] - loss[-1]
    last = [curve[-1] for curve in validation]
    spread, below = max(last) - min(last), max(value) - value[-1]
    late_fall = late / fall if fall > 0 else 1.0
    return {
        "last": last,
        "below_best": below,
        "late_fall": late_fall,
        "spread": spread,
        "trained_out": bool(late_fall <= 0.25 and below <= FALL and spread <= SPREAD),
    }


def _mean(curves: list[list[float]]) -> list[float]:
    return [sum(values) / len(values) for values in zip(*curves, strict=True)]
