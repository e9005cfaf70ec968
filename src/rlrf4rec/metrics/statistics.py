"""Paired differences: intervals, permutation tests, Holm, power; correlations and their reliability.

A difference is [users], [users, seeds] or [users, policies, seeds]: re-ranker a minus re-ranker b for the same user,
the same replicate of the tuned LLM and the same training seed. With one policy nothing here tells what another would
have given.
"""

from collections.abc import Iterator

import numpy as np
from scipy.special import stdtr, stdtrit

from rlrf4rec.errors import RLRFError
from rlrf4rec.metrics.components import Array as Array
from rlrf4rec.metrics.components import checked, detectable, standard_error

BLOCK = 500  # resamples held in memory at a time
EXACT_USERS = 12  # up to 2**12 sign patterns are enumerated
TIE = 1e-12
NORMAL_975 = 1.959963984540054


def paired_interval(difference: Array, resamples: int, seed: int) -> tuple[float, float, float]:
    """Mean of paired differences and its 95 % interval: (mean, low, high).

    [users] or one seed: percentile bootstrap over users (Efron & Tibshirani 1993, ch. 13).
    [users, seeds]: users and seeds are drawn independently with replacement (pigeonhole bootstrap, Owen 2007), and the
    quantiles' distances from the mean are stretched to the width t * standard error of the variance components.
    Why stretched: in simulations with 200 users, 5 seeds and normal effects the plain pigeonhole interval covered 87 %
    where seeds dominate (five seeds drawn anew vary too little, and 1.96 is no quantile for five) and 99 % where the
    rest does (it counts the rest three times); stretched it covered 94 to 97.5 % in all mixtures. Few seeds are no
    safety against seeds that fail outright: with exponential seed effects it covered 88 %, so look at the seeds. With
    three seeds it fell to 92 %.
    [users, policies, seeds]: mean +- t * standard error of the variance components (`components.standard_error`), as
    three to five policies drawn anew have no shape to show. Where policies dominate there are as many degrees of
    freedom as policies less one: with three t is 4.3, and the interval more than twice as wide as the error says.
    Simulated with 80 and 200 users, 3 and 5 policies, 4 seeds of each policy's own and normal effects it covered 94 to
    97 %, whether users, policies, seeds, user x policy or the rest dominated. Policies that now and then go astray are
    seen by nothing here: with exponential effects that dominate it covered 89 to 90 %.
    """
    values = checked(difference)
    mean = float(values.mean())
    error, freedom = standard_error(values)
    if values.shape[1] > 1:
        room = error * float(stdtrit(freedom, 0.975))
        return mean, mean - room, mean + room
    flat = values[:, 0]
    users, seeds = flat.shape
    rng = np.random.default_rng(seed)
    blocks = []
    for size in _blocks(resamples):
        by_seed = _weights(rng, size, users) @ flat
        blocks.append((by_seed * _weights(rng, size, seeds)).sum(axis=1))
    offsets = np.concatenate(blocks) / flat.size - mean
    low, high = np.quantile(offsets, [0.025, 0.975])
    spread = float(offsets.std())
    stretch = 1.0
    if seeds > 1 and spread > 0:
        stretch = error * float(stdtrit(freedom, 0.975)) / (spread * NORMAL_975)
    return mean, mean + float(low) * stretch, mean + float(high) * stretch


def t_interval(values: Array) -> tuple[float, float, float]:
    """Mean of independent values [n] and its 95 % interval, mean +- t * s / sqrt(n); RLRFError for fewer than two."""
    if np.ndim(values) != 1 or len(values) < 2:
        raise RLRFError(f"an interval by t is of two values or more; found {np.shape(values)}")
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / len(values) ** 0.5
    room = error * float(stdtrit(len(values) - 1, 0.975))
    return mean, mean - room, mean + room


def weighted(difference: Array, weights: Array) -> Array:
    """Differences [users, ...] whose plain mean over users is that with `weights` [users], not below 0.

    Linearised (Cochran 1977, 6.9): w * (d - m) / mean of w + m, with m the weighted mean. Their spread over users is
    thus that of a ratio of two means, so that an interval knows that other users have other weights too. By the
    numbers of users' lists, it is the mean over lists.
    """
    values = np.asarray(difference, dtype=np.float64)
    each = (weights / weights.mean()).reshape(-1, *(1,) * (values.ndim - 1))
    mean = float((each * values).mean())
    return each * (values - mean) + mean


def permutation_test(difference: Array, resamples: int, seed: int) -> float:
    """Two-sided p of a mean difference of 0, in (0, 1], by random sign flips of users (each user's mean of the rest).

    (1 + hits) / (1 + resamples), a tie is a hit; all 2**users sign patterns are enumerated up to 12 users. It asks
    whether *these* trained re-rankers differ for new users; the interval asks about newly trained seeds too.
    `scipy.stats.permutation_test` gives the same (a test holds it to that) in about nine times the time, measured with
    240 users and 10,000 resamples: it makes a copy of the data for each resample, where a product of matrices does.
    With several policies a claim is about tuning, not about these policies: p is then the larger of that of the sign
    flips and that of the interval's t.
    """
    values = checked(difference)
    flipped = _sign_flips(values.mean(axis=(1, 2)), resamples, seed)
    return max(flipped, _t_test(values)) if values.shape[1] > 1 else flipped


def _t_test(values: Array) -> float:
    """Two-sided p of the mean of [users, policies, seeds] by its standard error over new ones of all."""
    error, freedom = standard_error(values)
    mean = abs(float(values.mean()))
    if error == 0:
        return 1.0 if mean <= TIE else 0.0
    return float(2 * stdtr(freedom, -mean / error))


def _sign_flips(means: Array, resamples: int, seed: int) -> float:
    """p of the users' means [users] by sign flips."""
    users = len(means)
    observed = abs(means.mean()) - TIE
    if users <= EXACT_USERS:
        signs = 1.0 - 2.0 * (np.arange(2**users)[:, None] >> np.arange(users) & 1)
        return float((np.abs(signs @ means) / users >= observed).mean())
    rng = np.random.default_rng(seed)
    hits = 0
    for size in _blocks(resamples):
        signs = 1.0 - 2.0 * rng.integers(0, 2, size=(size, users), dtype=np.int8)
        hits += int((np.abs(signs @ means) / users >= observed).sum())
    return (1 + hits) / (1 + resamples)


def holm(p: dict[str, float]) -> dict[str, float]:
    """Holm's (1979) adjusted p of a family of tests, in the order given; never below the raw p, at most 1."""
    adjusted: dict[str, float] = {}
    worst = 0.0
    for done, name in enumerate(sorted(p, key=lambda name: p[name])):
        worst = max(worst, min(1.0, (len(p) - done) * p[name]))
        adjusted[name] = worst
    return {name: adjusted[name] for name in p}


def minimum_detectable_effect(difference: Array, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest true mean difference (> 0) whose interval leaves 0 out with probability `power`.

    (q_{1-alpha/2} + q_power) * standard error (Bloom 1995), with the interval's standard error, seeds included, and
    policies where there are several. q are t quantiles with the interval's degrees of freedom: 2.80 errors for many
    users and no seed variance, as with normal quantiles, up to 3.72 where the variance is that of five seeds, and 5.36
    where it is that of three policies. `components.planned_effect` gives that of a study of other sizes.
    """
    return detectable(*standard_error(checked(difference)), alpha, power)


def correlation(a: Array, b: Array) -> float:
    """Pearson correlation; 0 when one side does not vary."""
    a, b = a.ravel() - a.mean(), b.ravel() - b.mean()
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum() / scale) if scale > 0 else 0.0


def disattenuated(r_xy: float, rel_x: float, rel_y: float) -> float:
    """Correlation of what two noisy measures mean, r_xy / sqrt(rel_x * rel_y) (Spearman 1904), within [-1, 1].

    rel_x, rel_y: their reliabilities. 0 if one is not above 0: a measure that is noise tells of nothing.
    """
    if rel_x <= 0 or rel_y <= 0:
        return 0.0
    return float(np.clip(r_xy / np.sqrt(rel_x * rel_y), -1.0, 1.0))


def spearman_brown(r: float, factor: float) -> float:
    """Reliability of a measure `factor` (> 0) times as long as one of reliability r (Spearman 1910, Brown 1910).

    A split-half r with factor 2 gives that of the whole. r <= 0 has no true part to add up and is given back.
    """
    return factor * r / (1 + (factor - 1) * r) if r > 0 else r


def _blocks(resamples: int) -> Iterator[int]:
    for start in range(0, resamples, BLOCK):
        yield min(BLOCK, resamples - start)


def _weights(rng: np.random.Generator, resamples: int, n: int) -> Array:
    """How often each of n is drawn in n draws with replacement, [resamples, n]."""
    draws = rng.integers(0, n, size=(resamples, n)) + n * np.arange(resamples)[:, None]
    return np.bincount(draws.ravel(), minlength=resamples * n).reshape(resamples, n).astype(np.float64)
