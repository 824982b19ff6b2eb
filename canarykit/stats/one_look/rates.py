"""Events per exposure: ratio and difference of two Poisson rates, at one planned look.

Every event must be independent of the others, which the errors of one chatty person are not: count people
with an error, or use the sequential `events` with one event a unit.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from canarykit.errors import DataError, part
from canarykit.stats.checks import require_choice, require_count, require_number, require_share
from canarykit.stats.estimate import Estimate, Sided
from canarykit.stats.one_look.proportions import clopper_pearson

RateMethod = Literal["exact-cond", "cond-midp", "score", "wald", "sqrt", "etest"]

_TESTS = {
    "exact-cond": "exact-cond",
    "cond-midp": "cond-midp",
    "score": "score",
    "wald": "wald",
    "sqrt": "sqrt",
    "etest": "etest-score",
}
_INTERVALS = {"exact-cond": "exact-cond", "cond-midp": "exact-cond", "wald": "wald-log"}
_SOURCE = "Gu, Ng, Tang & Schucany (2008), doi:10.1002/bimj.200710403"


def rate_ratio(
    x_canary: int,
    exposure_canary: float,
    x_control: int,
    exposure_control: float,
    *,
    method: RateMethod = "exact-cond",
    confidence: float = 0.95,
    sided: Sided = "two",
    margin: float = 1.0,
) -> Estimate | None:
    """Rate of the canary over the rate of the control.

    Parameters
    ----------
    x_canary, x_control
        Events of each arm.
    exposure_canary, exposure_control
        Units or time at risk, above 0 wherever there were events.
    method
        "exact-cond" (exact, given the total), "cond-midp" (its mid-p form), "score", "wald", "sqrt",
        "etest". The interval of "cond-midp" is the exact one, of "sqrt" and "etest" the score one.
    confidence
        Coverage, strictly between 0 and 1.
    sided
        "two", or only one limit; the p-value goes with it.
    margin
        Ratio under the null. Other than 1, the p-value is one-sided: "the ratio is at least `margin`".

    Returns
    -------
    Estimate or None
        None when an arm was not exposed, or neither had an event.

    Examples
    --------
    >>> ratio = rate_ratio(60, 51477.5, 30, 54308.7, method="score")
    >>> round(ratio.low, 6), round(ratio.high, 6), round(ratio.p_value, 9)
    (1.365962, 3.259306, 0.000632219)
    """
    require_choice("method", method, _TESTS)
    x, y, canary, control = _rates(x_canary, exposure_canary, x_control, exposure_control)
    null = require_number("margin", margin, above=0.0)
    require_choice("sided", sided, ("two", "lower", "upper"))
    level = require_share("confidence", confidence)
    if canary == 0 or control == 0 or x + y == 0:
        return None
    rates = part("statsmodels.stats.rates", what="this statistic", install="statsmodels")

    tested = sided if null == 1.0 else "upper"
    alternative = {"two": "two-sided", "lower": "larger", "upper": "smaller"}[tested]
    with np.errstate(divide="ignore", invalid="ignore"):  # an arm without events
        answer = rates.test_poisson_2indep(
            x, canary, y, control, value=null, method=_TESTS[method], compare="ratio", alternative=alternative
        )
    interval = _INTERVALS.get(method, "score")
    if interval == "exact-cond" or x == 0 or y == 0:  # the others have no limits without events in an arm
        interval = "exact-cond"
        share = clopper_pearson(x, x + y, confidence=level, sided=sided)
        assert share is not None
        low, high = (_odds(limit) * control / canary for limit in (share.low, share.high))
    else:
        alpha = (1 - level) * (1 if sided == "two" else 2)
        low, high = rates.confint_poisson_2indep(
            x, canary, y, control, method=interval, compare="ratio", alpha=alpha
        )
    return Estimate(
        value=math.inf if y == 0 else (x / canary) / (y / control),
        low=0.0 if sided == "upper" else float(low),
        high=math.inf if sided == "lower" else float(high),
        confidence=level,
        method=f"{method} test, {interval} interval",
        sided=sided,
        unit="ratio",
        n=x + y,
        source=_SOURCE,
        p_value=float(answer.pvalue),
        null=null,
    )


def rate_difference(
    x_canary: int,
    exposure_canary: float,
    x_control: int,
    exposure_control: float,
    *,
    confidence: float = 0.95,
    unit: str = "number",
) -> Estimate | None:
    """Difference of two rates, canary minus control, with a score interval.

    Parameters
    ----------
    x_canary, x_control
        Events of each arm.
    exposure_canary, exposure_control
        Units or time at risk, above 0 wherever there were events.
    confidence
        Coverage, strictly between 0 and 1.
    unit
        Unit of the answer for display, such as "ms" or "EUR"; it changes no number.

    Returns
    -------
    Estimate or None
        None when an arm has no exposure.

    Examples
    --------
    >>> difference = rate_difference(60, 51477.5, 30, 54308.7)
    >>> round(difference.low, 9), round(difference.high, 9)
    (0.000265797, 0.000989191)
    """
    x, y, canary, control = _rates(x_canary, exposure_canary, x_control, exposure_control)
    level = require_share("confidence", confidence)
    if canary == 0 or control == 0:
        return None
    rates = part("statsmodels.stats.rates", what="this statistic", install="statsmodels")

    value = x / canary - y / control
    source = "statsmodels, score interval"
    if x + y == 0:
        bounds = (-math.log(2 / (1 - level)) / control, math.log(2 / (1 - level)) / canary)
        note = ("no event in either arm: the limits are those of each arm alone",)
        return Estimate(value, *bounds, level, "exact Poisson limits", "two", unit, 0, source, notes=note)
    low, high = rates.confint_poisson_2indep(
        x, canary, y, control, method="score", compare="diff", alpha=1 - level
    )
    test = rates.test_poisson_2indep(x, canary, y, control, value=0, method="score", compare="diff")
    return Estimate(
        value=value,
        low=float(low),
        high=float(high),
        confidence=level,
        method="score",
        unit=unit,
        n=x + y,
        source=source,
        p_value=float(test.pvalue),
        null=0.0,
    )


def _rates(
    x_canary: int, exposure_canary: float, x_control: int, exposure_control: float
) -> tuple[int, int, float, float]:
    x, y = require_count("x_canary", x_canary), require_count("x_control", x_control)
    canary = require_number("exposure_canary", exposure_canary, at_least=0.0)
    control = require_number("exposure_control", exposure_control, at_least=0.0)
    for name, events, exposure in (("canary", x, canary), ("control", y, control)):
        if events and not exposure:
            raise DataError(f"x_{name} is {events} but exposure_{name} is 0: events need exposure")
    return x, y, canary, control


def _odds(share: float) -> float:
    return math.inf if share >= 1 else share / (1 - share)
