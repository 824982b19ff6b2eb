"""The binomial distribution where its tails are needed: sums of probabilities, and the exact two-sided test.

`scipy.stats` has them too, and takes a second to import; a first verdict does not wait for it.
"""

from __future__ import annotations

import numpy as np

_TIES = 1 + 1e-7
"""Probabilities that differ by rounding alone count as equal, as in R's `binom.test`."""


def at_most(x: int, n: int, share: float) -> float:
    """P(X <= x) for X of `n` trials with chance `share` each."""
    from scipy.special import bdtr

    return 0.0 if x < 0 else 1.0 if x >= n else float(bdtr(x, n, share))


def at_least(x: int, n: int, share: float) -> float:
    """P(X >= x)."""
    from scipy.special import bdtrc

    return 1.0 if x <= 0 else 0.0 if x > n else float(bdtrc(x - 1, n, share))


def probabilities(x: np.ndarray, n: int, share: float) -> np.ndarray:
    """P(X = x) for every x from 0 to n."""
    from scipy.special import gammaln, xlog1py, xlogy

    ways = gammaln(n + 1) - gammaln(x + 1) - gammaln(n - x + 1)
    return np.exp(ways + xlogy(x, share) + xlog1py(n - x, -share))


def two_sided_p_value(x: int, n: int, share: float) -> float:
    """Chance of an outcome that is at most as likely as `x`: the method of small p-values.

    Examples
    --------
    >>> round(two_sided_p_value(7, 10, 0.5), 6)  # R: binom.test(7, 10)
    0.34375
    """
    likely = float(probabilities(np.array([x]), n, share)[0]) * _TIES

    def first_unlikely(near: int, step: int, most: int) -> int:
        """The first outcome that is as unlikely, at most so many steps from `near`; else one step beyond."""
        low, high = 0, most + 1  # the probabilities fall all the way: halve
        while low < high:
            middle = (low + high) // 2
            if float(probabilities(np.array([near + step * middle]), n, share)[0]) <= likely:
                high = middle
            else:
                low = middle + 1
        return near + step * low

    mean = n * share
    if x < mean:
        other = first_unlikely(int(np.ceil(mean)), 1, n - int(np.ceil(mean)))
        return min(1.0, at_most(x, n, share) + at_least(other, n, share))
    if x > mean:
        other = first_unlikely(int(np.floor(mean)), -1, int(np.floor(mean)))
        return min(1.0, at_least(x, n, share) + at_most(other, n, share))
    return 1.0
