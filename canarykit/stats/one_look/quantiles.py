"""Quantiles such as the p90 of latency: one arm and the difference, for the final report.

For a decision, turn latency into the share of people slower than a limit: that is exact and may be
watched. These are normal intervals around order statistics; requests of one person are not independent,
so give the person as the cluster.

References
----------
Deng, Knoblich & Lu (2018), section 4.1, doi:10.1145/3219819.3219919.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from canarykit.errors import DataError
from canarykit.stats.checks import critical_value, normal_tail, require_numbers, require_share
from canarykit.stats.estimate import Estimate, Sided
from canarykit.stats.one_look.moments import PairMoments

_SOURCE = "Deng, Knoblich & Lu (2018), doi:10.1145/3219819.3219919"


def quantile(
    values: ArrayLike,
    probability: float,
    *,
    clusters: ArrayLike | None = None,
    confidence: float = 0.95,
    sided: Sided = "two",
    unit: str = "number",
) -> Estimate | None:
    """A quantile with a standard error from the ranks around it.

    Parameters
    ----------
    values
        One a row.
    probability
        Which quantile, strictly between 0 and 1: 0.9 is the p90.
    clusters
        Who or what each row belongs to (people, organisations), when rows are not independent.
    confidence
        Coverage, strictly between 0 and 1.
    sided
        "two", or only the "lower" or "upper" limit; the p-value goes with it.
    unit
        Unit of the answer for display, such as "ms" or "EUR"; it changes no number.

    Returns
    -------
    Estimate or None
        Interpolated as numpy does. None without values; unbounded, with a note, when there are too few
        rows beyond the quantile: at least 4 p / (1 - p) are needed.

    Examples
    --------
    >>> p90 = quantile([1.01**i for i in range(1, 401)], 0.9)
    >>> round(p90.value, 3), round(p90.standard_error, 3)
    (35.986, 2.148)
    """
    estimate, error, n, notes = _quantile(values, probability, clusters, confidence, "values")
    if n == 0:
        return None
    return _normal(estimate, error, n, confidence, sided, unit, "quantile from ranks", notes, tested=False)


def quantile_difference(
    canary: ArrayLike,
    control: ArrayLike,
    probability: float,
    *,
    clusters_canary: ArrayLike | None = None,
    clusters_control: ArrayLike | None = None,
    confidence: float = 0.95,
    sided: Sided = "two",
    unit: str = "number",
) -> Estimate | None:
    """Difference of a quantile, canary minus control; None when an arm has no values.

    Parameters
    ----------
    canary, control
        Values of each arm, one a row.
    probability
        Which quantile, strictly between 0 and 1: 0.9 is the p90.
    clusters_canary, clusters_control
        Who or what each row belongs to; None when rows are independent.
    confidence
        Coverage, strictly between 0 and 1.
    sided
        "two", or only the "lower" or "upper" limit; the p-value goes with it.
    unit
        Unit of the answer for display, such as "ms" or "EUR"; it changes no number.

    Returns
    -------
    Estimate or None
        In the unit of the values.

    Examples
    --------
    >>> control = [1.01**i for i in range(1, 401)]
    >>> round(quantile_difference([2 * value for value in control], control, 0.5).value, 4)
    7.3526
    """
    first, error, n, notes = _quantile(canary, probability, clusters_canary, confidence, "canary")
    second, other, m, more = _quantile(control, probability, clusters_control, confidence, "control")
    if n == 0 or m == 0:
        return None
    error = math.hypot(error, other)
    name = "difference of quantiles from ranks"
    return _normal(first - second, error, n + m, confidence, sided, unit, name, notes + more, tested=True)


def _quantile(
    values: ArrayLike, probability: float, clusters: ArrayLike | None, confidence: float, name: str
) -> tuple[float, float, int, tuple[str, ...]]:
    array = require_numbers(name, values).ravel()
    p, z = require_share("probability", probability), critical_value(confidence)
    n = array.size
    if n == 0:
        return math.nan, math.nan, 0, ()
    value = float(np.quantile(array, p))
    rank_error = math.sqrt(p * (1 - p) / n)
    if n <= 4 * max(p / (1 - p), (1 - p) / p) or not 0 < p - z * rank_error < p + z * rank_error < 1:
        return value, math.inf, n, (f"{name} has {n} rows: too few around this quantile for an interval",)
    low, high = np.quantile(array, [p - z * rank_error, p + z * rank_error])
    error = float(high - low) / (2 * z)
    notes = ("all rows around the quantile are equal: its error is understated",) if error == 0 else ()
    if clusters is not None:
        error *= _cluster_error(array <= value, clusters, name) / rank_error
    return value, error, n, notes


def _cluster_error(below: np.ndarray, clusters: ArrayLike, name: str) -> float:
    """Standard error of the share of rows below the quantile when clusters were sampled."""
    keys = np.asarray(clusters).ravel()
    if keys.size != below.size:
        raise DataError(
            f"clusters of {name} has {keys.size} entries, {name} {below.size}; expected one a row"
        )
    _, codes = np.unique(keys, return_inverse=True)
    moments = PairMoments.of(np.bincount(codes, weights=below), np.bincount(codes))
    share = moments.mean / moments.mean_other
    spread = moments.variance - 2 * share * moments.covariance + share**2 * moments.variance_other
    return math.sqrt(max(spread, 0.0) / moments.n) / moments.mean_other


def _normal(
    value: float,
    error: float,
    n: int,
    confidence: float,
    sided: Sided,
    unit: str,
    method: str,
    notes: tuple[str, ...],
    *,
    tested: bool,
) -> Estimate:
    """A normal interval and test around a value; without a standard error it is unbounded."""
    z = critical_value(confidence, sided)
    is_finite = 0 < error < math.inf
    half = z * error if is_finite else math.inf
    statistic = value / error if is_finite and tested else None
    return Estimate(
        value=value,
        low=-math.inf if sided == "upper" else value - half,
        high=math.inf if sided == "lower" else value + half,
        confidence=confidence,
        method=method,
        sided=sided,
        unit=unit,
        n=n,
        source=_SOURCE,
        standard_error=error if is_finite else None,
        statistic=statistic,
        p_value=None if statistic is None else normal_tail(statistic, sided),
        null=0.0 if tested else None,
        notes=notes,
    )
