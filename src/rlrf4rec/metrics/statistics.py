"""Intervals and correlations."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def paired_interval(difference: Array, resamples: int, seed: int) -> tuple[float, float, float]:
    """Mean of per-user differences and its 95 % percentile bootstrap interval over users.

    difference: [users], a - b of the same user. Returns (mean, low, high). Efron & Tibshirani 1993, ch. 13.
    """
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(difference), size=(resamples, len(difference)))
    means = difference[draws].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(difference.mean()), float(low), float(high)


def correlation(a: Array, b: Array) -> float:
    """Pearson correlation; 0 when one side does not vary."""
    a, b = a.ravel() - a.mean(), b.ravel() - b.mean()
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum() / scale) if scale > 0 else 0.0
