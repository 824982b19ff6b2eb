"""Sequential intervals as other products publish them, to see what they would have said on the same data.

All three are the boundary of `sequential` with their own k. GrowthBook and Eppo tune it to a fixed number
of users, 5,000 and 10,000; a 1 % canary may never see as many. Statsig lets the mixture shrink as the
sample grows, so its multiplier is constant in time: it is not a mixture martingale, gives no guarantee for
an unlimited horizon, and is nearly powerless when the arms are very unequal.

References
----------
GrowthBook documentation, "Sequential testing"; Eppo documentation, "Confidence interval methods"; Statsig
documentation, "Frequentist sequential testing"; Schmit & Miller (2024), arXiv:2210.08589 for Eppo.
"""

from __future__ import annotations

import math
from typing import Literal

from canarykit.stats.any_look.sequential import mixture_boundary, mixture_log_e
from canarykit.stats.checks import (
    critical_value,
    require_choice,
    require_count,
    require_number,
    require_share,
)
from canarykit.stats.estimate import Estimate, Sided

_Product = Literal["GrowthBook", "Eppo", "Statsig"]


def tuned_k(n: float, *, tuned_at: float = 5000, alpha: float = 0.05, sided: Sided = "two") -> float:
    """k of a boundary tuned to a fixed number of users, as GrowthBook and Eppo do.

    Examples
    --------
    >>> round(tuned_k(5000), 6), round(tuned_k(5000, sided="lower"), 6)
    (7.936155, 6.32886)
    """
    level = require_share("alpha", alpha)
    spent = -2 * math.log(level if sided == "two" else min(2 * level, 0.9999))
    users = require_number("n", n, at_least=0.0) / require_number("tuned_at", tuned_at, above=0.0)
    return users * (spent + math.log1p(spent))


def growthbook_interval(
    effect: float,
    standard_error: float,
    n: int,
    *,
    tuned_at: float = 5000,
    confidence: float = 0.95,
    sided: Sided = "two",
    unit: str = "number",
) -> Estimate | None:
    """GrowthBook's asymptotic confidence sequence at one look.

    Parameters
    ----------
    effect, standard_error
        The difference and its error, absolute or relative.
    n
        Users of both arms together.
    tuned_at
        Users at which it is tightest; 5,000 unless changed.
    confidence
        Coverage, strictly between 0 and 1.
    sided
        "two", or only the "lower" or "upper" limit; the p-value goes with it.
    unit
        Unit of the answer for display, such as "ms" or "EUR"; it changes no number.

    Returns
    -------
    Estimate or None
        With the closed one-sided form and its p-value searched over the level, as published. None without
        users; unbounded when the error is 0.

    Examples
    --------
    >>> interval = growthbook_interval(0.2343767, 0.1298308, 6461)
    >>> round(interval.low, 5), round(interval.high, 5)
    (-0.16012, 0.62887)
    """
    k = tuned_k(n, tuned_at=tuned_at, alpha=1 - confidence, sided=sided)
    return _interval("GrowthBook", effect, standard_error, n, k, confidence, sided, unit)


def eppo_interval(
    effect: float,
    standard_error: float,
    n: int,
    *,
    tuned_at: float = 10_000,
    confidence: float = 0.95,
    unit: str = "number",
) -> Estimate | None:
    """Eppo's sequential interval at one look, two-sided.

    Parameters
    ----------
    effect, standard_error
        The difference and its standard error, absolute or relative.
    n
        Users of both arms together.
    tuned_at
        Users at which it is tightest; 10,000 as published.
    confidence
        Coverage, strictly between 0 and 1.
    unit
        Unit of the answer for display, such as "ms" or "EUR"; it changes no number.

    Returns
    -------
    Estimate or None
        None without users.

    Examples
    --------
    >>> interval = eppo_interval(0.0, 1.0, 10_000)
    >>> round(interval.high, 4)
    3.0352
    """
    k = tuned_k(n, tuned_at=tuned_at, alpha=1 - confidence)
    return _interval("Eppo", effect, standard_error, n, k, confidence, "two", unit)


def statsig_interval(
    effect: float,
    standard_error: float,
    n: int,
    *,
    canary_share: float = 0.5,
    confidence: float = 0.95,
    sided: Sided = "two",
    unit: str = "number",
) -> Estimate | None:
    """Statsig's published sequential interval at one look.

    Parameters
    ----------
    effect, standard_error
        The difference and its standard error, absolute or relative.
    n
        Users of both arms together.
    canary_share
        Share of the canary among both arms; the multiplier depends on it and not on the time.
    confidence
        Coverage, strictly between 0 and 1.
    sided
        "two", or only the "lower" or "upper" limit; the p-value goes with it.
    unit
        Unit of the answer for display, such as "ms" or "EUR"; it changes no number.

    Returns
    -------
    Estimate or None
        None without users.

    Examples
    --------
    >>> round(statsig_interval(0.0, 1.0, 1000).high, 4)
    3.5845
    """
    share = require_share("canary_share", canary_share)
    k = 2 * critical_value(confidence, sided) ** 2 * share * (1 - share)
    return _interval("Statsig", effect, standard_error, n, k, confidence, sided, unit)


def _interval(
    product: _Product,
    effect: float,
    standard_error: float,
    n: int,
    k: float,
    confidence: float,
    sided: Sided,
    unit: str,
) -> Estimate | None:
    """An interval as a product publishes it: the effect and its multiple of the standard error."""
    require_choice("sided", sided, ("two", "lower", "upper"))
    value, users = require_number("effect", effect), require_count("n", n)
    error = require_number("standard_error", standard_error, at_least=0.0)
    alpha = 1 - require_share("confidence", confidence)
    if users == 0:
        return None
    half, p_value = math.inf, None
    if error > 0:
        half = error * _multiplier(product, k, alpha, sided)
        z = value / error
        if sided == "two":
            p_value = min(1.0, math.exp(-float(mixture_log_e(z, k, "two"))))
        elif product == "GrowthBook":
            p_value = _searched_level(z if sided == "lower" else -z, k)
    return Estimate(
        value=value,
        low=-math.inf if sided == "upper" else value - half,
        high=math.inf if sided == "lower" else value + half,
        confidence=confidence,
        method=f"{product}, as published (k = {k:.4g})",
        sided=sided,
        unit=unit,
        n=users,
        source=f"{product} documentation",
        standard_error=error,
        p_value=p_value,
        null=0.0,
        always_valid=product != "Statsig",
        notes=() if error > 0 else ("no spread: the interval is unbounded",),
    )


def _multiplier(product: _Product, k: float, alpha: float, sided: Sided) -> float:
    if product == "Statsig":  # half the level in both forms of the two-sided one, all of it one-sided
        spent = alpha / 2 if sided == "two" else alpha
        return float(mixture_boundary(k, spent, "two"))
    return float(mixture_boundary(k, alpha, "two" if sided == "two" else "one", closed_form=True))


def _searched_level(z: float, k: float) -> float:
    """The level at which the closed one-sided limit touches zero, k held fixed, within [1e-5, .4999]."""
    low, high = 1e-5, 0.4999
    if z >= float(mixture_boundary(k, low, "one", closed_form=True)):
        return low
    if z <= float(mixture_boundary(k, high, "one", closed_form=True)):
        return high
    for _ in range(60):
        middle = (low + high) / 2
        crossed = z >= float(mixture_boundary(k, middle, "one", closed_form=True))
        low, high = (low, middle) if crossed else (middle, high)
    return high
