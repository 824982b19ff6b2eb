"""Binomial counts that are the same with every release of numpy.

numpy keeps the uniform numbers of a seed for good, not what it makes of them, and `Generator.binomial`
did change. So the counts are made here, from uniforms alone.
"""

from __future__ import annotations

import numpy as np

_FEW = 10.0
"""Expected successes from which the rejection method is valid (and the quicker one)."""


def binomial(stream: np.random.Generator, trials: np.ndarray, share: np.ndarray | float) -> np.ndarray:
    """How many of each number of trials succeed, exactly binomial, from uniform numbers of a stream only.

    The chance of a success, within [0, 1], is broadcast against the trials.

    References
    ----------
    Hörmann (1993), "The generation of binomial random variates", doi:10.1080/00949659308811496
    (algorithm BTRS); below ten expected successes the cumulative probabilities are inverted.

    Examples
    --------
    >>> binomial(np.random.default_rng(7), np.array([10, 1_000, 1_000_000]), 0.3).tolist()
    [2, 305, 300683]
    """
    trials, share = np.broadcast_arrays(np.asarray(trials, np.int64), np.asarray(share, float))
    common = share > 0.5  # count the rarer of success and failure
    rarer = np.where(common, 1 - share, share)
    expected = trials * rarer
    counts = np.zeros(trials.shape, np.int64)
    many, few = expected >= _FEW, (expected > 0) & (expected < _FEW)
    if many.any():
        counts[many] = _by_rejection(stream, trials[many], rarer[many])
    if few.any():
        counts[few] = _by_inversion(stream.random(int(few.sum())), trials[few], rarer[few])
    return np.where(common, trials - counts, counts)


def _by_inversion(uniform: np.ndarray, trials: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The smallest count whose cumulative probability reaches the uniform number."""
    counts = np.zeros(len(uniform), np.int64)
    odds = share / (1 - share)
    mass = np.exp(trials * np.log1p(-share))  # P(0); then P(k + 1) = P(k) odds (n - k) / (k + 1)
    left = uniform - mass
    open_ = np.flatnonzero(left > 0)
    trials, odds, mass, left = trials[open_], odds[open_], mass[open_], left[open_]
    k = 0
    while len(open_):
        mass = mass * odds * (trials - k) / (k + 1)
        k += 1
        left = left - mass
        counts[open_] = k
        # where rounding keeps the last crumb of probability open, no mass is left to fill it
        going = (left > 0) & (mass > 1e-300) & (k < trials)
        open_, trials, odds, mass, left = open_[going], trials[going], odds[going], mass[going], left[going]
    return counts


def _by_rejection(stream: np.random.Generator, trials: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Transformed rejection with a squeeze (BTRS): about nine in ten are taken in each round."""
    from scipy.special import gammaln

    counts = np.empty(len(trials), np.int64)
    pending = np.arange(len(trials))
    while len(pending):
        n, p = trials[pending], share[pending]
        deviation = np.sqrt(n * p * (1 - p))
        b = 1.15 + 2.53 * deviation
        a = -0.0873 + 0.0248 * b + 0.01 * p
        u, v = stream.random(len(pending)) - 0.5, stream.random(len(pending))
        edge = 0.5 - np.abs(u)
        k = np.floor((2 * a / np.maximum(edge, 1e-300) + b) * u + n * p + 0.5)
        taken = (edge >= 0.07) & (v <= 0.92 - 4.2 / b)
        unsure = np.flatnonzero(~taken & (k >= 0) & (k <= n))
        n, p, k_unsure, edge = n[unsure], p[unsure], k[unsure], edge[unsure]
        a, b, deviation = a[unsure], b[unsure], deviation[unsure]
        mode = np.floor((n + 1) * p)
        # log of P(k) / P(mode), the height that the transformed uniform must stay below
        height = (
            gammaln(mode + 1) + gammaln(n - mode + 1) - gammaln(k_unsure + 1) - gammaln(n - k_unsure + 1)
            + (k_unsure - mode) * np.log(p / (1 - p))
        )  # fmt: skip
        with np.errstate(divide="ignore"):
            drawn = np.log(v[unsure] * (2.83 + 5.1 / b) * deviation / (a / edge**2 + b))
        taken[unsure] = drawn <= height
        counts[pending[taken]] = k[taken].astype(np.int64)
        pending = pending[~taken]
    return counts
