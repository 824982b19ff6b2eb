"""Time-uniform boundaries for sums that are bounded or skewed, and the share of one arm watched over time.

A sum S with variance process V stays under its boundary at all times with probability 1 - a. The mixture
boundaries differ in what is assumed of the tails: bounded to both sides (beta-binomial), lighter than an
exponential to the right (gamma-exponential), like a Poisson count (gamma-Poisson). Stitching needs no
root. The beta-binomial one gives the confidence sequence of a share, exact for people seen one by one.

References
----------
Howard, Ramdas, McAuliffe & Sekhon (2021), Time-uniform, nonparametric, nonasymptotic confidence
sequences, doi:10.1214/20-AOS1991.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from canarykit.stats.checks import require_number, require_share, require_successes
from canarykit.stats.estimate import Estimate

__all__ = [
    "beta_binomial_log_e",
    "gamma_exponential_log_e",
    "gamma_poisson_log_e",
    "mixture_bound",
    "share_bounds",
    "stitching_bound",
    "tuned_rho",
]

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


def gamma_exponential_log_e(s: float, v: float, *, rho: float, scale: float) -> float:
    """Log mixture for sums whose right tail is at worst exponential with this scale."""
    from scipy.special import gammainc, gammaln

    square = scale * scale
    start, now = rho / square, (v + rho) / square
    moved = (scale * s + v) / square
    constant = start * math.log(start) - gammaln(start) - math.log(gammainc(start, start))
    rest = gammaln(now) + math.log(gammainc(now, moved + start)) - now * math.log(moved + start) + moved
    return float(constant + rest)


def gamma_poisson_log_e(s: float, v: float, *, rho: float, scale: float) -> float:
    """Log mixture for sums of centred Poisson counts of this step."""
    from scipy.special import gammaincc, gammaln

    square = scale * scale
    start, now = rho / square, (v + rho) / square
    moved = s / scale + now
    constant = start * math.log(start) - gammaln(start) - math.log(gammaincc(start, start))
    rest = gammaln(moved) + math.log(gammaincc(moved, now)) - moved * math.log(now) + v / square
    return float(constant + rest)


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


def mixture_bound(
    log_e: Callable[[float], float], v: float, alpha: float, *, limit: float = math.inf
) -> float:
    """The sum at which a mixture reaches 1 / alpha, or `limit` where the sum cannot go further.

    Examples
    --------
    >>> rho = tuned_rho(100)
    >>> round(mixture_bound(lambda s: gamma_poisson_log_e(s, 100, rho=rho, scale=2), 100, 0.05), 4)
    30.1949
    """
    threshold = -math.log(require_share("alpha", alpha))
    high = min(require_number("v", v, above=0.0), limit)
    while log_e(high) < threshold:
        if high >= limit:
            return limit
        high = min(2 * high, limit)
    low = 0.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (low, middle) if log_e(middle) >= threshold else (middle, high)
    return high


def stitching_bound(
    v: float, *, alpha: float, from_v: float, scale: float = 0.0, power: float = 1.4, growth: float = 2.0
) -> float:
    """Polynomial stitching: a closed-form boundary that grows as sqrt(v log log v), from `from_v` on.

    Examples
    --------
    >>> round(stitching_bound(100, alpha=0.05, from_v=10, scale=3), 5)
    64.48755
    """
    from scipy.special import zeta

    used = max(require_number("v", v, at_least=0.0), require_number("from_v", from_v, above=0.0))
    k1, k2 = stitching_constants(growth)
    level = power * math.log(math.log(growth * used / from_v))
    level += math.log(float(zeta(power)) / math.log(growth) ** power / require_share("alpha", alpha))
    skew = k2 * scale * level
    return math.sqrt(k1**2 * used * level + skew**2) + skew


def stitching_constants(growth: float) -> tuple[float, float]:
    """The two constants of a stitched boundary whose epochs grow by this factor."""
    return (growth**0.25 + growth**-0.25) / math.sqrt(2), (math.sqrt(growth) + 1) / 2


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
