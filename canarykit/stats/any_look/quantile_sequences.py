"""Quantiles that may be watched: tests and bands for distributions, valid at every look.

References
----------
Howard & Ramdas (2022), Sequential estimation of quantiles, doi:10.3150/21-BEJ1388; Lindon, Sanden &
Shirikian (2022), Rapid regression detection in software deployments, arXiv:2205.14762.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from canarykit.errors import DataError
from canarykit.stats.any_look.boundaries import beta_binomial_log_e, stitching_constants, tuned_rho
from canarykit.stats.checks import lowest, require_number, require_numbers, require_share
from canarykit.stats.estimate import Estimate, HypothesisTest

__all__ = ["distribution_band", "lil_band", "quantile_bounds", "quantile_stitching_bound", "quantile_test"]

_SOURCE = "Howard & Ramdas (2022), doi:10.3150/21-BEJ1388"


def quantile_test(
    canary: ArrayLike, control: ArrayLike, probability: float, *, tuned_at: float
) -> HypothesisTest | None:
    """Always-valid test that a quantile is the same in both arms, from all values so far.

    Parameters
    ----------
    canary, control
        Independent values of each arm up to this look.
    probability
        Which quantile, strictly between 0 and 1.
    tuned_at
        Values per arm at which the test should be sharpest.

    Returns
    -------
    HypothesisTest or None
        `statistic` is log E; the p-value may be looked at any number of times. None when an arm is empty.

    Examples
    --------
    >>> control = list(range(1, 1001))
    >>> canary = [value + 100 for value in control]
    >>> round(quantile_test(canary, control, 0.5, tuned_at=100).p_value, 6)
    0.005495
    """
    p, tuned = require_share("probability", probability), require_number("tuned_at", tuned_at, above=0.0)
    arms = [np.sort(require_numbers(n, v).ravel()) for n, v in (("canary", canary), ("control", control))]
    if min(arm.size for arm in arms) == 0:
        return None
    shared = np.unique(np.concatenate(arms))
    total = sum(_least_evidence(arm, shared, p, tuned) for arm in arms)
    log_e = float(np.min(total))  # evidence against the common quantile that fits best
    return HypothesisTest(
        statistic=log_e,
        p_value=min(1.0, math.exp(-log_e)),
        null=f"the quantile at {p:g} is the same in both arms",
        method="two-arm quantile e-process (always valid)",
        n=sum(arm.size for arm in arms),
        source=_SOURCE,
    )


def quantile_bounds(
    values: ArrayLike,
    probability: float,
    *,
    tuned_at: float,
    confidence: float = 0.95,
    unit: str = "number",
) -> Estimate | None:
    """A quantile with limits that hold at every look; infinite while there are too few values.

    Examples
    --------
    >>> median = quantile_bounds(range(1, 1001), 0.5, tuned_at=500)
    >>> median.low, median.high
    (452.0, 549.0)
    """
    array = np.sort(require_numbers("values", list(values) if isinstance(values, range) else values).ravel())
    p, level = require_share("probability", probability), require_share("confidence", confidence)
    if array.size == 0:
        return None
    points = np.unique(array)
    evidence = _least_evidence(array, points, p, require_number("tuned_at", tuned_at, above=0.0))
    inside = np.flatnonzero(evidence < -math.log(1 - level))
    ends = _edge_evidence(array.size, p, tuned_at)
    open_low, open_high = ends[0] < -math.log(1 - level), ends[1] < -math.log(1 - level)
    return Estimate(
        value=float(np.quantile(array, p)),
        low=-math.inf if open_low else float(points[inside[0]]),
        high=math.inf if open_high else float(points[inside[-1]]),
        confidence=level,
        method="quantile confidence sequence",
        unit=unit,
        n=array.size,
        source=_SOURCE,
        always_valid=True,
    )


def quantile_stitching_bound(
    n: float,
    probability: float,
    *,
    alpha: float,
    tuned_at: float,
    step: float = 0.5,
    power: float = 1.4,
    growth: float = 2.0,
) -> float:
    """How many values above a quantile's share can lie below it, at all times and for all quantiles.

    Examples
    --------
    >>> round(quantile_stitching_bound(1000, 0.5, alpha=0.05, tuned_at=100), 5)
    68.62803
    """
    from scipy.special import zeta

    p, used = require_share("probability", probability), max(n, tuned_at)
    logit = math.log(p / (1 - p))
    if p >= 0.5:
        r = p
    else:
        r = min(0.5, 1 / (1 + math.exp(-logit - 2 * step * math.sqrt(tuned_at * growth / used))))
    spread, zeta_s = r * (1 - r), float(zeta(power))
    epochs = math.sqrt(used / tuned_at) * abs(logit) / (2 * step) + 1
    level = power * (math.log(math.log(growth * used / tuned_at)) + math.log(epochs))
    level += math.log(
        2 * zeta_s * (2 * zeta_s + 1) / (require_share("alpha", alpha) * math.log(growth) ** power)
    )
    k1, k2 = stitching_constants(growth)
    skew = k2 * (1 - 2 * p) / 3 * level
    across = step * math.sqrt(growth * used * spread / tuned_at)
    return across + math.sqrt(k1**2 * spread * used * level + skew**2) + skew


def distribution_band(n: float, *, alpha: float = 0.05) -> float:
    """Half-width of a band around the share of values below any point, at all times (Lindon et al. 2022).

    Examples
    --------
    >>> round(distribution_band(1000), 7)
    0.0865691
    """
    n = require_number("n", n, at_least=1.0)
    level = 0.8 * math.log(1612 / require_share("alpha", alpha))
    return 0.85 * math.sqrt((math.log(math.log(math.e * n)) + level) / n)


def lil_band(n: float, *, alpha: float = 0.05, from_n: float = 1.0, width: float = 0.85) -> float:
    """Half-width of a band from `from_n` values on, with its constant optimised; infinite before.

    Examples
    --------
    >>> round(lil_band(1000, from_n=100), 7)
    0.0820478
    """
    alpha = require_share("alpha", alpha)
    if not width > 1 / math.sqrt(2):
        raise DataError(f"width is {width!r}; expected more than {1 / math.sqrt(2):.4f}")
    if n < from_n:
        return math.inf

    def error(constant: float) -> float:
        """The smallest total error over the epochs' growth factor."""

        def total(growth: float) -> float:
            exponent = 2 / growth * (width - math.sqrt(2 * (growth - 1) / constant)) ** 2
            if exponent <= 1 or math.sqrt(2 * (growth - 1) / constant) >= width:
                return math.inf
            return 4 * math.exp(-exponent * constant) * (1 + 1 / ((exponent - 1) * math.log(growth)))

        steps = np.linspace(1.0, 2 * width**2, 402)[1:-1]
        best = int(np.argmin([total(float(growth)) for growth in steps]))
        low, high = float(steps[max(best - 1, 0)]), float(steps[min(best + 1, steps.size - 1)])
        return total(lowest(total, low, high))

    low, high = 1.0, 64.0
    while error(high) > alpha:
        high *= 2
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if error(middle) <= alpha else (middle, high)
    return width * math.sqrt((math.log1p(math.log(n / from_n)) + high) / n)


def _least_evidence(values: np.ndarray, points: np.ndarray, p: float, tuned_at: float) -> np.ndarray:
    """Log E against "the quantile is this point", taking the kindest share among ties."""
    n = values.size
    under = np.searchsorted(values, points, side="left") / n
    up_to = np.searchsorted(values, points, side="right") / n
    best = _kindest_share(n, p, tuned_at)
    return _share_evidence(np.clip(best, under, up_to), n, p, tuned_at)


def _kindest_share(n: int, p: float, tuned_at: float) -> float:
    """Where the mixture is lowest: near p, not exactly at it."""
    return lowest(lambda share: float(_share_evidence(np.array(share), n, p, tuned_at)), 0.0, 1.0)


def _share_evidence(share: np.ndarray, n: int, p: float, tuned_at: float) -> np.ndarray:
    rho = tuned_rho(tuned_at * p * (1 - p), sided="two")
    return beta_binomial_log_e((share - p) * n, p * (1 - p) * n, rho=rho, below=p, above=1 - p)


def _edge_evidence(n: int, p: float, tuned_at: float) -> np.ndarray:
    """Evidence against a quantile below, and above, everything that was seen."""
    return _share_evidence(np.array([0.0, 1.0]), n, p, tuned_at)
