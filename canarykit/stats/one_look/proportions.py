"""Shares of people: one arm, and the canary against the control.

Units must be independent (people, not events) and the look planned: these intervals are for the final
report, the ones that may be watched are in `sequential` and `events`.
"""

from __future__ import annotations

import math
from typing import Literal

from canarykit.stats.checks import (
    critical_value,
    normal_tail,
    require_choice,
    require_inside,
    require_share,
    require_successes,
)
from canarykit.stats.estimate import Estimate, Sided
from canarykit.stats.one_look.scores import score_interval, score_statistic

DifferenceMethod = Literal["miettinen-nurminen", "farrington-manning", "newcombe", "agresti-caffo", "wald"]

_DIFFERENCE_SOURCES = {
    "miettinen-nurminen": "Miettinen & Nurminen (1985), doi:10.1002/sim.4780040211",
    "farrington-manning": "Farrington & Manning (1990), doi:10.1002/sim.4780091208",
    "newcombe": "Newcombe (1998), Statistics in Medicine 17, 873-890, method 10",
    "agresti-caffo": "Agresti & Caffo (2000), doi:10.1080/00031305.2000.10474560",
    "wald": "normal approximation; covers badly for rare events and small arms",
}

_SCORE_METHODS = ("miettinen-nurminen", "farrington-manning")


def wilson(successes: int, n: int, *, confidence: float = 0.95, sided: Sided = "two") -> Estimate | None:
    """A share with Wilson's score interval.

    Parameters
    ----------
    successes, n
        Counts of distinct units, `0 <= successes <= n`.
    confidence
        Coverage, strictly between 0 and 1.
    sided
        "two", or only the "lower" or the "upper" limit at that confidence.

    Returns
    -------
    Estimate or None
        Fractions in [0, 1]. None when `n` is 0: no data is not a share of zero.

    Raises
    ------
    DataError
        If a count is negative, not whole, not finite, or more succeeded than there were.

    References
    ----------
    Wilson (1927), doi:10.1080/01621459.1927.10502953; Brown, Cai & DasGupta (2001),
    doi:10.1214/ss/1009213286.

    Examples
    --------
    >>> share = wilson(0, 500)
    >>> round(share.high, 4)  # zero failures seen is not a failure rate of zero
    0.0076
    """
    x, n = require_successes(successes, n)
    z = critical_value(confidence, sided)
    if n == 0:
        return None
    source = "Wilson (1927), doi:10.1080/01621459.1927.10502953"
    return _share(x, n, _wilson_limits(x, n, z), confidence, sided, "Wilson score", source)


def clopper_pearson(
    successes: int, n: int, *, confidence: float = 0.95, sided: Sided = "two"
) -> Estimate | None:
    """A share with the exact binomial interval: never covers less than it says.

    Parameters
    ----------
    successes, n
        Counts of distinct units, `0 <= successes <= n`.
    confidence
        Coverage, strictly between 0 and 1.
    sided
        "two", or only the "lower" or the "upper" limit at that confidence.

    Returns
    -------
    Estimate or None
        Fractions in [0, 1]; None when `n` is 0.

    Raises
    ------
    DataError
        If a count is negative, not whole, not finite, or more succeeded than there were.

    References
    ----------
    Clopper & Pearson (1934), doi:10.1093/biomet/26.4.404.

    Examples
    --------
    >>> bound = clopper_pearson(0, 40, sided="upper")
    >>> round(bound.high, 4)  # no error in forty sessions still allows seven per cent
    0.0722
    """
    x, n = require_successes(successes, n)
    require_choice("sided", sided, ("two", "lower", "upper"))
    alpha = 1 - require_share("confidence", confidence)
    if n == 0:
        return None
    from scipy.special import betaincinv

    tail = alpha / 2 if sided == "two" else alpha
    low = 0.0 if x == 0 else float(betaincinv(x, n - x + 1, tail))
    high = 1.0 if x == n else float(betaincinv(x + 1, n - x, 1 - tail))
    source = "Clopper & Pearson (1934), doi:10.1093/biomet/26.4.404"
    return _share(x, n, (low, high), confidence, sided, "Clopper-Pearson (exact)", source)


def _share(
    x: int, n: int, limits: tuple[float, float], confidence: float, sided: Sided, method: str, source: str
) -> Estimate:
    return Estimate(
        value=x / n,
        low=0.0 if sided == "upper" else limits[0],
        high=1.0 if sided == "lower" else limits[1],
        confidence=confidence,
        method=method,
        sided=sided,
        n=n,
        source=source,
    )


def risk_difference(
    x_canary: int,
    n_canary: int,
    x_control: int,
    n_control: int,
    *,
    confidence: float = 0.95,
    method: DifferenceMethod = "miettinen-nurminen",
    margin: float | None = None,
    sided: Sided = "two",
) -> Estimate | None:
    """Difference of two shares, canary minus control, with its interval and test.

    Parameters
    ----------
    x_canary, n_canary, x_control, n_control
        Distinct units with the event, and all units, of each arm.
    confidence
        Coverage, strictly between 0 and 1.
    method
        "miettinen-nurminen" (score, the default), "farrington-manning" (score without the factor
        N / (N - 1), the same as Mee), "newcombe" (Wilson limits combined), "agresti-caffo" (Wald after
        one success and one failure more an arm), "wald".
    margin
        The largest harm that is acceptable, as a fraction. `statistic` and `p_value` then test
        "the difference is at least `margin`": a small p-value shows non-inferiority. Without it they
        test "no difference".
    sided
        "two", or only one limit at that confidence. `upper < margin` at confidence 1 - a says the same
        as `p_value < a` of the margin (score methods).

    Returns
    -------
    Estimate or None
        A difference of fractions (unit "points"); above zero the event is more frequent in the canary.
        None when either arm is empty.

    Raises
    ------
    DataError
        If a count is impossible, or the margin is not inside (-1, 1).

    Examples
    --------
    >>> difference = risk_difference(120, 5000, 100, 5000, margin=0.01)
    >>> round(difference.low, 6), round(difference.high, 6), round(difference.p_value, 4)
    (-0.001764, 0.009825, 0.0218)
    """
    x1, n1 = require_successes(x_canary, n_canary, "x_canary", "n_canary")
    x0, n0 = require_successes(x_control, n_control, "x_control", "n_control")
    require_choice("method", method, _DIFFERENCE_SOURCES)
    z = critical_value(confidence, sided)
    null = 0.0 if margin is None else require_inside("margin", margin, -1.0, 1.0)
    if n1 == 0 or n0 == 0:
        return None
    low, high = _difference_limits(x1, n1, x0, n0, z, method)
    unbiased = method != "farrington-manning"
    statistic = score_statistic(x1, n1, x0, n0, null, unbiased=unbiased)
    test_side = sided if margin is None else "upper"
    notes = () if 0 < x1 + x0 < n1 + n0 else ("every unit of both arms had the same outcome",)
    return Estimate(
        value=x1 / n1 - x0 / n0,
        low=-1.0 if sided == "upper" else low,
        high=1.0 if sided == "lower" else high,
        confidence=confidence,
        method=method if method in _SCORE_METHODS else f"{method} interval, score test",
        sided=sided,
        unit="points",
        n=n1 + n0,
        source=_DIFFERENCE_SOURCES[method],
        statistic=statistic,
        p_value=normal_tail(statistic, test_side),
        null=null,
        notes=notes,
    )


def _wilson_limits(x: int, n: int, z: float) -> tuple[float, float]:
    centre = (x + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(x * (n - x) / n + z * z / 4)
    low = 0.0 if x == 0 else max(centre - half, 0.0)
    high = 1.0 if x == n else min(centre + half, 1.0)
    return low, high


def _difference_limits(x1: int, n1: int, x0: int, n0: int, z: float, method: str) -> tuple[float, float]:
    if method in _SCORE_METHODS:
        return score_interval(x1, n1, x0, n0, z, unbiased=method == "miettinen-nurminen")
    p1, p0 = x1 / n1, x0 / n0
    if method == "newcombe":
        (low1, high1), (low0, high0) = _wilson_limits(x1, n1, z), _wilson_limits(x0, n0, z)
        down = math.hypot(p1 - low1, high0 - p0)
        up = math.hypot(high1 - p1, p0 - low0)
        return p1 - p0 - down, p1 - p0 + up
    if method == "agresti-caffo":
        n1, n0 = n1 + 2, n0 + 2
        p1, p0 = (x1 + 1) / n1, (x0 + 1) / n0
    half = z * math.sqrt(p1 * (1 - p1) / n1 + p0 * (1 - p0) / n0)
    return max(p1 - p0 - half, -1.0), min(p1 - p0 + half, 1.0)
