"""Means and ratios: the canary against the control, at one planned look.

All on moments of independent units, which are the units that were assigned: people, or clusters when
organisations were assigned. Limits are t intervals with Satterthwaite's degrees of freedom.
"""

from __future__ import annotations

import math
from typing import Literal

from canarykit.stats.checks import require_choice, require_number, require_share
from canarykit.stats.estimate import Estimate, Sided
from canarykit.stats.one_look.moments import Moments, PairMoments

_WELCH = "Welch (1947), doi:10.1093/biomet/34.1-2.28"
_DELTA = "Deng, Knoblich & Lu (2018), doi:10.1145/3219819.3219919"
_CUPED = "Deng, Xu, Kohavi & Walker (2013), doi:10.1145/2433396.2433413"


def mean_difference(
    canary: Moments,
    control: Moments,
    *,
    confidence: float = 0.95,
    sided: Sided = "two",
    margin: float | None = None,
    unit: str = "number",
) -> Estimate | None:
    """Difference of two means, canary minus control (Welch).

    Parameters
    ----------
    canary, control
        Moments of the metric over the units of each arm.
    confidence
        Coverage, strictly between 0 and 1.
    sided
        "two", or only the "lower" or "upper" limit; the p-value goes with it.
    margin
        Harm that is acceptable, in the unit of the metric: the p-value is then of "at least the margin".
    unit
        Unit of the answer for display, such as "ms" or "EUR"; it changes no number.

    Returns
    -------
    Estimate or None
        None when an arm is empty. Unbounded, with a note and no p-value, when no spread was seen.

    Examples
    --------
    >>> control = Moments.of_sums(3407, 1396.87, 52377.9767)
    >>> canary = Moments.of_sums(3461, 2422.7, 134698.29)
    >>> difference = mean_difference(canary, control)
    >>> round(difference.value, 4), round(difference.low, 7), round(difference.high, 7)
    (0.29, 0.0453779, 0.5346221)
    """
    if canary.n == 0 or control.n == 0:
        return None
    return t_estimate(
        canary.mean - control.mean,
        (canary.variance / canary.n, control.variance / control.n),
        (canary.n, control.n),
        confidence=confidence,
        sided=sided,
        margin=margin,
        unit=unit,
        method="Welch t",
        source=_WELCH,
    )


def relative_difference(
    canary: Moments,
    control: Moments,
    *,
    confidence: float = 0.95,
    sided: Sided = "two",
    margin: float | None = None,
) -> Estimate | None:
    """Change of the mean as a fraction of the control's: canary / control - 1, by the delta method.

    Parameters
    ----------
    canary, control
        Moments of the metric over the units of each arm.
    confidence
        Coverage, strictly between 0 and 1.
    sided
        "two", or only the "lower" or "upper" limit; the p-value goes with it.
    margin
        Relative harm that is acceptable, as a fraction; None: no difference is the null.

    Returns
    -------
    Estimate or None
        None when an arm is empty or the control's mean is 0, of which nothing is a fraction.

    Examples
    --------
    >>> control = Moments.of_sums(3407, 1396.87, 52377.9767)
    >>> canary = Moments.of_sums(3461, 2422.7, 134698.29)
    >>> change = relative_difference(canary, control)
    >>> round(change.value, 7), round(change.low, 7), round(change.p_value, 7)
    (0.7073171, -0.0352601, 0.0619118)
    """
    if canary.n == 0 or control.n == 0 or control.mean == 0:
        return None
    parts = _relative_parts(
        canary.mean, canary.variance / canary.n, control.mean, control.variance / control.n
    )
    degrees = _satterthwaite(
        (canary.variance / canary.n, control.variance / control.n), (canary.n, control.n)
    )
    return t_estimate(
        canary.mean / control.mean - 1,
        parts,
        (canary.n, control.n),
        confidence=confidence,
        sided=sided,
        margin=margin,
        unit="relative",
        method="delta method, Welch t",
        source=_DELTA,
        degrees=degrees,
    )


def ratio_difference(
    canary: PairMoments,
    control: PairMoments,
    *,
    relative: bool = False,
    confidence: float = 0.95,
    sided: Sided = "two",
    margin: float | None = None,
    unit: str = "number",
) -> Estimate | None:
    """Difference of two ratios of sums, such as errors per session, with people as the units.

    Parameters
    ----------
    canary, control
        Moments of numerator and denominator per unit.
    relative
        False: canary minus control, in `unit`. True: canary / control - 1.
    confidence
        Coverage, strictly between 0 and 1.
    sided
        "two", or only the "lower" or "upper" limit; the p-value goes with it.
    margin
        Harm that is acceptable, in the unit of the metric: the p-value is then of "at least the
        margin". None: of no difference.
    unit
        Unit of the answer for display, such as "ms" or "EUR"; it changes no number.

    Returns
    -------
    Estimate or None
        None when an arm is empty or a denominator (or, for `relative`, the control's ratio) is 0.

    Examples
    --------
    >>> canary = PairMoments.of([1, 0, 2, 4], [2, 1, 3, 4])
    >>> control = PairMoments.of([1, 1, 0, 2], [3, 2, 1, 4])
    >>> round(ratio_difference(canary, control).value, 4)
    0.3
    """
    if canary.n == 0 or control.n == 0 or canary.mean_other == 0 or control.mean_other == 0:
        return None
    (value, variance), (base, base_variance) = _ratio(canary), _ratio(control)
    if relative and base == 0:
        return None
    parts = _relative_parts(value, variance, base, base_variance) if relative else (variance, base_variance)
    return t_estimate(
        value / base - 1 if relative else value - base,
        parts,
        (canary.n, control.n),
        confidence=confidence,
        sided=sided,
        margin=margin,
        unit="relative" if relative else unit,
        method="ratio by the delta method",
        source=_DELTA,
        degrees=_satterthwaite((variance, base_variance), (canary.n, control.n)),
    )


def cluster_difference(
    canary: PairMoments,
    control: PairMoments,
    *,
    correction: Literal["delta", "cr0", "cr1"] = "delta",
    confidence: float = 0.95,
    sided: Sided = "two",
    margin: float | None = None,
    unit: str = "number",
) -> Estimate | None:
    """Difference of two means over people when whole clusters were assigned, such as organisations.

    Parameters
    ----------
    canary, control
        One row a cluster: the sum of the metric within it, and its size.
    correction
        "delta": K / (K - 1) in each arm. "cr0": none. "cr1": that of statsmodels' clustered regression.
    confidence
        Coverage, strictly between 0 and 1.
    sided
        "two", or only the "lower" or "upper" limit; the p-value goes with it.
    margin
        Harm that is acceptable, in the unit of the metric: the p-value is then of "at least the
        margin". None: of no difference.
    unit
        Unit of the answer for display, such as "ms" or "EUR"; it changes no number.

    Returns
    -------
    Estimate or None
        With t limits at K - 2 degrees of freedom, K clusters in both arms together. None when an arm
        has no cluster or nobody in its clusters. Below 20 clusters an arm the level is not reliable, nor
        where a few clusters hold most of the people: then use `cluster_jackknife`.

    Examples
    --------
    >>> canary = PairMoments.of([12, 30, 8], [3, 6, 2])
    >>> control = PairMoments.of([10, 18, 9], [3, 5, 3])
    >>> difference = cluster_difference(canary, control)
    >>> round(difference.value, 3), difference.degrees_of_freedom
    (1.182, 4.0)
    """
    require_choice("correction", correction, ("delta", "cr0", "cr1"))
    if canary.n == 0 or control.n == 0 or canary.mean_other == 0 or control.mean_other == 0:
        return None
    clusters = canary.n + control.n
    people = canary.n * canary.mean_other + control.n * control.mean_other
    estimates = []
    for arm in (canary, control):
        ratio, variance = _ratio(arm)
        if correction != "delta":
            variance *= (arm.n - 1) / arm.n
        if correction == "cr1":
            variance *= clusters / max(clusters - 1, 1) * (people - 1) / max(people - 2, 1)
        estimates.append((ratio, variance))
    (value, error), (base, other) = estimates
    few = min(canary.n, control.n) < 20
    note = f"only {canary.n} and {control.n} clusters: below 20 an arm the level is not reliable"
    return t_estimate(
        value - base,
        (error, other),
        (canary.n, control.n),
        confidence=confidence,
        sided=sided,
        margin=margin,
        unit=unit,
        method=f"cluster-robust ({correction})",
        source=_DELTA,
        degrees=float(clusters - 2),
        notes=(note,) if few else (),
    )


def cuped_difference(
    canary: PairMoments,
    control: PairMoments,
    *,
    theta: float | Literal["within", "pooled"] = "within",
    confidence: float = 0.95,
    sided: Sided = "two",
    margin: float | None = None,
    unit: str = "number",
) -> Estimate | None:
    """Difference of two means after taking out what the units were like before exposure (CUPED).

    Parameters
    ----------
    canary, control
        Outcome and the same units' value from before exposure; a value from after it would bias.
    theta
        Slope that is taken out: "within" (covariance within the arms), "pooled" (over all units as one
        sample), or a number fixed beforehand.
    confidence
        Coverage, strictly between 0 and 1.
    sided
        "two", or only the "lower" or "upper" limit; the p-value goes with it.
    margin
        Harm that is acceptable, in the unit of the metric: the p-value is then of "at least the
        margin". None: of no difference.
    unit
        Unit of the answer for display, such as "ms" or "EUR"; it changes no number.

    Returns
    -------
    Estimate or None
        None when an arm is empty. Without spread before exposure it is the plain difference, and says so.

    Examples
    --------
    >>> before, after = [1, 2, 3, 4, 5], [2.1, 3.9, 6.2, 8.1, 9.7]
    >>> canary = PairMoments.of([value + 1 for value in after], before)
    >>> round(cuped_difference(canary, PairMoments.of(after, before)).value, 6)
    1.0
    """
    if canary.n == 0 or control.n == 0:
        return None
    slope, notes = _slope(canary, control, theta)
    adjusted = []
    for arm in (canary, control):
        spread = arm.variance - 2 * slope * arm.covariance + slope**2 * arm.variance_other
        adjusted.append(max(spread, 0.0) / arm.n)
    before = canary.mean_other - control.mean_other
    return t_estimate(
        canary.mean - control.mean - slope * before,
        (adjusted[0], adjusted[1]),
        (canary.n, control.n),
        confidence=confidence,
        sided=sided,
        margin=margin,
        unit=unit,
        method=f"CUPED (theta {slope:.6g}), Welch t",
        source=_CUPED,
        notes=notes,
    )


def _slope(
    canary: PairMoments, control: PairMoments, theta: float | Literal["within", "pooled"]
) -> tuple[float, tuple[str, ...]]:
    if not isinstance(theta, str):
        return require_number("theta", theta), ()
    require_choice("theta", theta, ("within", "pooled"))
    if theta == "pooled":
        both = canary + control
        together, before = both.covariance, both.variance_other
    else:
        together = (canary.n - 1) * canary.covariance + (control.n - 1) * control.covariance
        before = (canary.n - 1) * canary.variance_other + (control.n - 1) * control.variance_other
    if before <= 0:
        return 0.0, ("no spread before exposure: nothing was taken out",)
    return together / before, ()


def _ratio(arm: PairMoments) -> tuple[float, float]:
    """Ratio of means and its variance by the delta method."""
    ratio = arm.mean / arm.mean_other
    spread = arm.variance - 2 * ratio * arm.covariance + ratio**2 * arm.variance_other
    return ratio, max(spread, 0.0) / arm.mean_other**2 / arm.n


def _relative_parts(value: float, variance: float, base: float, base_variance: float) -> tuple[float, float]:
    return variance / base**2, value**2 * base_variance / base**4


def _satterthwaite(parts: tuple[float, float], sizes: tuple[int, int]) -> float:
    total = sum(parts)
    below = sum(part**2 / (n - 1) for part, n in zip(parts, sizes, strict=True) if n > 1)
    return total**2 / below if below > 0 else math.inf


def t_estimate(
    value: float,
    parts: tuple[float, float],
    sizes: tuple[int, int],
    *,
    confidence: float,
    sided: Sided,
    margin: float | None,
    unit: str,
    method: str,
    source: str,
    degrees: float | None = None,
    notes: tuple[str, ...] = (),
) -> Estimate:
    """An estimate with t limits from the variances of both arms; Satterthwaite's degrees by default."""
    from scipy.special import stdtr, stdtrit

    require_choice("sided", sided, ("two", "lower", "upper"))
    level = require_share("confidence", confidence)
    null = 0.0 if margin is None else require_number("margin", margin)
    notes = (*notes, *_spread_notes(parts, sizes))
    error = math.sqrt(sum(parts))
    degrees = _satterthwaite(parts, sizes) if degrees is None else degrees
    low, high, statistic, p_value = -math.inf, math.inf, None, None
    if 0 < error < math.inf and min(sizes) > 1 and degrees > 0:
        quantile = float(stdtrit(degrees, (1 + level) / 2 if sided == "two" else level))
        statistic = (value - null) / error
        low = value - quantile * error if sided != "upper" else low
        high = value + quantile * error if sided != "lower" else high
        below = float(stdtr(degrees, statistic))
        above = float(stdtr(degrees, -statistic))
        tested = sided if margin is None else "upper"
        p_value = {"two": 2 * min(below, above), "lower": above, "upper": below}[tested]
    return Estimate(
        value=value,
        low=low,
        high=high,
        confidence=confidence,
        method=method,
        sided=sided,
        unit=unit,
        n=sum(sizes),
        source=source,
        standard_error=error,
        statistic=statistic,
        p_value=p_value,
        null=null,
        degrees_of_freedom=degrees if math.isfinite(degrees) else None,
        notes=notes,
    )


def _spread_notes(parts: tuple[float, float], sizes: tuple[int, int]) -> tuple[str, ...]:
    if min(sizes) < 2:
        return (f"an arm has {min(sizes)} unit: its spread is unknown, so the interval is unbounded",)
    if sum(parts) == 0:
        return ("no spread in either arm: the interval is unbounded, no test is possible",)
    if min(parts) == 0:
        return ("no spread in one arm: all of its units have the same value",)
    return ()
