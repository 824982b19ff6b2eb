"""The ratio of two shares, and of their odds, with score intervals also where an arm has none or all.

The variance is taken at the proportions that fit best *if the ratio were r*, so the interval exists for
0 of 10 against 3 of 20 and needs no correction.

References
----------
Koopman (1984), doi:10.2307/2531405; Miettinen & Nurminen (1985), doi:10.1002/sim.4780040211.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from canarykit.stats.checks import critical_value, normal_tail, require_successes
from canarykit.stats.estimate import Estimate, Sided
from canarykit.stats.one_look.scores import last_true

_SOURCE = "Miettinen & Nurminen (1985), doi:10.1002/sim.4780040211; Koopman (1984), doi:10.2307/2531405"


def risk_ratio(
    x_canary: int,
    n_canary: int,
    x_control: int,
    n_control: int,
    *,
    confidence: float = 0.95,
    sided: Sided = "two",
) -> Estimate | None:
    """Ratio of two shares, canary over control, with Miettinen and Nurminen's score interval.

    Parameters
    ----------
    x_canary, n_canary, x_control, n_control
        Distinct units with the event, and all units, of each arm.
    confidence
        Coverage, strictly between 0 and 1.
    sided
        "two", or only one limit at that confidence.

    Returns
    -------
    Estimate or None
        Unit "ratio"; infinite when only the canary has the event. None when an arm is empty, or when
        nobody in either arm had the event: zero over zero is not a ratio.

    Raises
    ------
    DataError
        If a count is impossible.

    Examples
    --------
    >>> ratio = risk_ratio(56, 70, 48, 80)
    >>> round(ratio.value, 4), round(ratio.low, 4), round(ratio.high, 4)
    (1.3333, 1.079, 1.6721)
    """
    x1, n1 = require_successes(x_canary, n_canary, "x_canary", "n_canary")
    x0, n0 = require_successes(x_control, n_control, "x_control", "n_control")
    z = critical_value(confidence, sided)
    if n1 == 0 or n0 == 0 or x1 + x0 == 0:
        return None
    observed = math.inf if x0 == 0 else (x1 / n1) / (x0 / n0)
    shape = (observed, 1.0 if x0 == 0 else observed / (1 + observed), 0.0)
    return _estimate(ratio_score_statistic, (x1, n1, x0, n0), shape, z, confidence, sided, "ratio")


def risk_odds_ratio(
    x_canary: int,
    n_canary: int,
    x_control: int,
    n_control: int,
    *,
    confidence: float = 0.95,
    sided: Sided = "two",
) -> Estimate | None:
    """Ratio of the odds of two shares, canary over control, with Miettinen and Nurminen's score interval.

    Parameters
    ----------
    x_canary, n_canary, x_control, n_control
        Distinct units with the event, and all units, of each arm.
    confidence, sided
        As in `risk_ratio`.

    Returns
    -------
    Estimate or None
        Unit "odds ratio". None when an arm is empty, or when all units of both arms had the same outcome.

    Examples
    --------
    >>> odds = risk_odds_ratio(56, 70, 48, 80)
    >>> round(odds.value, 4), round(odds.low, 4), round(odds.high, 4)
    (2.6667, 1.2816, 5.5402)
    """
    x1, n1 = require_successes(x_canary, n_canary, "x_canary", "n_canary")
    x0, n0 = require_successes(x_control, n_control, "x_control", "n_control")
    z = critical_value(confidence, sided)
    if n1 == 0 or n0 == 0 or x1 + x0 in (0, n1 + n0):
        return None
    across, against = x1 * (n0 - x0), (n1 - x1) * x0
    shape = (math.inf if against == 0 else across / against, across / (across + against), 1e-12)
    return _estimate(odds_score_statistic, (x1, n1, x0, n0), shape, z, confidence, sided, "odds ratio")


def _estimate(
    score: Callable[..., float],
    counts: tuple[int, int, int, int],
    shape: tuple[float, float, float],
    z: float,
    confidence: float,
    sided: Sided,
    unit: str,
) -> Estimate:
    """Value and limits of a ratio; `shape` is the ratio, its place on (0, 1), and the least place searched.

    Ratios r from 0 to infinity lie at r / (1 + r) on (0, 1), where the limits are searched.
    """
    value, zero, least = shape
    most = 1 - 1e-12

    def statistic(at: float) -> float:
        return score(*counts, at / (1 - at))

    low, high = 0.0, math.inf
    if value > 0 and sided != "upper":
        at = last_true(lambda at: statistic(at) <= z, min(zero, most), least)
        low = at / (1 - at)
    if value < math.inf and sided != "lower":
        at = last_true(lambda at: statistic(at) >= -z, max(zero, least), most)
        high = at / (1 - at)
    at_one = score(*counts, 1.0)
    return Estimate(
        value=value,
        low=low,
        high=high,
        confidence=confidence,
        method="miettinen-nurminen",
        sided=sided,
        unit=unit,
        n=counts[1] + counts[3],
        source=_SOURCE,
        statistic=at_one,
        p_value=normal_tail(at_one, sided),
        null=1.0,
    )


def odds_score_statistic(
    x_canary: int, n_canary: int, x_control: int, n_control: int, odds_ratio: float
) -> float:
    """How far the canary's events are from those that an odds ratio implies, in its standard errors.

    Examples
    --------
    >>> round(odds_score_statistic(56, 70, 48, 80, 1.0), 4)  # the pooled test
    2.6413
    """
    total, successes = n_canary + n_control, x_canary + x_control
    # Miettinen & Nurminen (1985), eq. 17: a p^2 + b p - successes = 0 for the control's share
    a = n_control * (odds_ratio - 1)
    b = n_canary * odds_ratio + n_control - successes * (odds_ratio - 1)
    control = 2 * successes / (b + math.sqrt(max(b * b + 4 * a * successes, 0.0)))
    control = min(max(control, 0.0), 1.0)
    canary = control * odds_ratio / (1 + control * (odds_ratio - 1))
    canary_information, other = n_canary * canary * (1 - canary), n_control * control * (1 - control)
    distance = x_canary - n_canary * canary
    if canary_information <= 0 or other <= 0:
        return 0.0 if abs(distance) < 1e-9 else math.copysign(math.inf, distance)
    return distance * math.sqrt((1 / canary_information + 1 / other) * (total - 1) / total)


def ratio_score_statistic(
    x_canary: int, n_canary: int, x_control: int, n_control: int, ratio: float
) -> float:
    """How far the canary's share is from `ratio` times the control's, in its standard errors.

    The shares behind the variance are the likeliest ones with that ratio; the variance is N / (N - 1)
    times theirs.

    Examples
    --------
    >>> round(ratio_score_statistic(56, 70, 48, 80, 1.0), 4)  # the pooled test
    2.6413
    """
    total, successes = n_canary + n_control, x_canary + x_control
    # Miettinen & Nurminen (1985), eq. 12: the smaller root of a p^2 - b p + c = 0 is the control's share
    a = total * ratio
    b = n_canary * ratio + x_canary + n_control + x_control * ratio
    control = 2 * successes / (b + math.sqrt(max(b * b - 4 * a * successes, 0.0)))
    canary = min(max(control * ratio, 0.0), 1.0)
    control = min(max(control, 0.0), 1.0)
    variance = canary * (1 - canary) / n_canary + ratio**2 * control * (1 - control) / n_control
    variance *= total / (total - 1)
    distance = x_canary / n_canary - ratio * x_control / n_control
    if variance <= 0:
        return 0.0 if abs(distance) < 1e-12 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)
