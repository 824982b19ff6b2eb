"""The time-uniform boundary of sums whose steps are bounded, and the share of one arm watched over time.

A sum S with variance process V stays under its boundary at all times with probability 1 - a. The
beta-binomial mixture gives the confidence sequence of a share, exact for people seen one by one.

References
----------
Howard, Ramdas, McAuliffe & Sekhon (2021), Time-uniform, nonparametric, nonasymptotic confidence
sequences, doi:10.1214/20-AOS1991.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from canarykit.stats.checks import require_number, require_share, require_successes
from canarykit.stats.estimate import Estimate

_SOURCE = "Howard, Ramdas, McAuliffe & Sekhon (2021), doi:10.1214/20-AOS1991"


def tuned_rho(tuned_at: float, *, alpha: float = 0.05, sided: Literal["one", "two"] = "one") -> float:
    """Mixture precision that makes a boundary lowest about where the variance process is `tuned_at`.

    Examples
    --------
    >>> round(tuned_rho(100, sided="two"), 5)
    12.60056
    """
    spent = 2 * require_share("alpha", alpha) if sided == "one" else alpha
    return tuned_at / (-2 * math.log(spent) + math.log1p(-2 * math.log(spent)))


def beta_binomial_log_e(
    s: ArrayLike,
    v: ArrayLike,
    *,
    rho: float,
    below: float,
    above: float,
    sided: Literal["one", "two"] = "two",
) -> np.ndarray:
    """Log mixture for sums whose steps lie between -`below` and `above`, such as successes minus expected."""
    from scipy.special import betainc, betaln

    s, v = np.asarray(s, dtype=float), np.asarray(v, dtype=float)
    width = below + above
    r = max(rho - below * above, 1e-3 * below * above)

    def log_beta(a: np.ndarray | float, b: np.ndarray | float) -> np.ndarray:
        whole = betaln(a, b)
        return whole if sided == "two" else whole + np.log(betainc(a, b, above / width))

    return np.asarray(
        v / (below * above) * math.log(width)
        - (v + above * s) / (above * width) * math.log(below)
        - (v - below * s) / (below * width) * math.log(above)
        + log_beta((r + v - below * s) / (below * width), (r + v + above * s) / (above * width))
        - log_beta(r / (below * width), r / (above * width))
    )


def share_bounds(successes: int, n: int, *, tuned_at: float, confidence: float = 0.95) -> Estimate | None:
    """A share with limits that hold at every look, for people who come one by one.

    Parameters
    ----------
    successes, n
        Counts so far, `0 <= successes <= n`.
    tuned_at
        Number of people at which the limits should be tightest: about the size of the first decision.
    confidence
        Chance that the limits of all looks hold together.

    Returns
    -------
    Estimate or None
        None when nobody was seen.

    Examples
    --------
    >>> share = share_bounds(700, 1000, tuned_at=100)
    >>> round(share.low, 6), round(share.high, 6)
    (0.65163, 0.74595)
    """
    x, n = require_successes(successes, n)
    level, tuned = require_share("confidence", confidence), require_number("tuned_at", tuned_at, above=0.0)
    if n == 0:
        return None
    threshold = -math.log(1 - level)

    def outside(share: float) -> bool:
        spread = share * (1 - share)
        rho = tuned_rho(spread * tuned, sided="two")
        log_e = beta_binomial_log_e(x - n * share, n * spread, rho=rho, below=share, above=1 - share)
        return float(log_e) > threshold

    limits = []
    for edge in (0.0, 1.0):
        inside, beyond = x / n, edge
        for _ in range(60):
            middle = (inside + beyond) / 2
            if middle in (inside, beyond):
                break
            inside, beyond = (inside, middle) if outside(middle) else (middle, beyond)
        limits.append(edge if x / n == edge else beyond)
    return Estimate(
        value=x / n,
        low=limits[0],
        high=limits[1],
        confidence=level,
        method="beta-binomial confidence sequence",
        n=n,
        source=_SOURCE,
        always_valid=True,
    )
