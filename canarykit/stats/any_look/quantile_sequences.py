"""Quantiles that may be watched: a test and limits that hold at every look.

References
----------
Howard & Ramdas (2022), Sequential estimation of quantiles, doi:10.3150/21-BEJ1388.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from canarykit.stats.any_look.boundaries import beta_binomial_log_e, tuned_rho
from canarykit.stats.checks import lowest, require_number, require_numbers, require_share
from canarykit.stats.estimate import Estimate, HypothesisTest

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

    Parameters
    ----------
    values
        One a row, independent of each other.
    probability
        Which quantile, strictly between 0 and 1: 0.9 is the p90.
    tuned_at
        Rows at which the limits are tightest.
    confidence
        Coverage, strictly between 0 and 1.
    unit
        Unit of the answer for display, such as "ms" or "EUR"; it changes no number.

    Returns
    -------
    Estimate or None
        None without values.

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
    # evidence against a quantile below, and above, everything that was seen
    ends = _share_evidence(np.array([0.0, 1.0]), array.size, p, tuned_at)
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


def _least_evidence(values: np.ndarray, points: np.ndarray, p: float, tuned_at: float) -> np.ndarray:
    """Log E against "the quantile is this point", taking the kindest share among ties."""
    n = values.size
    under = np.searchsorted(values, points, side="left") / n
    up_to = np.searchsorted(values, points, side="right") / n
    # the mixture is lowest near p, not exactly at it
    best = lowest(lambda share: float(_share_evidence(np.array(share), n, p, tuned_at)), 0.0, 1.0)
    return _share_evidence(np.clip(best, under, up_to), n, p, tuned_at)


def _share_evidence(share: np.ndarray, n: int, p: float, tuned_at: float) -> np.ndarray:
    rho = tuned_rho(tuned_at * p * (1 - p), sided="two")
    return beta_binomial_log_e((share - p) * n, p * (1 - p) * n, rho=rho, below=p, above=1 - p)
