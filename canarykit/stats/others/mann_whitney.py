"""Kayenta's judge, for comparison: a Mann-Whitney interval of the shift, and labels from it.

It compares time series of one point a minute as if the points were independent, so slow waves in both look
like a difference, and it misses changes of spread. The rules are those of the public Netflix judge.

References
----------
Graff, Sanden et al. (2018), Automated canary analysis at Netflix with Kayenta; Bauer (1972),
doi:10.1080/01621459.1972.10481279.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from canarykit.errors import DataError
from canarykit.stats.checks import require_choice, require_number, require_numbers, require_share

Label = Literal["Pass", "High", "Low", "Nodata", "NodataFailMetric"]


@dataclass(frozen=True)
class MannWhitneyLabel:
    """The label of one metric, with the shift it comes from.

    Parameters
    ----------
    label
        "Pass", "High", "Low" or "Nodata".
    shift, low, high
        Hodges-Lehmann estimate of canary minus control and its interval; None where none was computed.
    effect
        Mean of the canary over mean of the control; None where it does not exist.
    """

    label: Label
    shift: float | None = None
    low: float | None = None
    high: float | None = None
    effect: float | None = None


def classify_series(
    canary: ArrayLike,
    control: ArrayLike,
    *,
    direction: Literal["increase", "decrease", "either"] = "either",
    tolerance: float = 0.25,
    confidence: float = 0.98,
    allowed_increase: float = 1.0,
    allowed_decrease: float = 1.0,
    effect_size: Literal["mean-ratio", "cles"] = "mean-ratio",
) -> MannWhitneyLabel:
    """Label one metric as the Netflix judge of Kayenta does.

    Parameters
    ----------
    canary, control
        One value an interval of time.
    direction
        Which change fails.
    tolerance
        The interval must clear this share of the estimated shift.
    confidence
        Of the interval of the shift.
    allowed_increase, allowed_decrease
        Effects within them pass (0.5 is no effect for "cles").
    effect_size
        "mean-ratio", or "cles": the chance that a canary value exceeds a control value.

    Returns
    -------
    Label
        "Pass", "High", "Low" or "Nodata".

    Examples
    --------
    >>> classify_series([20, 22, 21, 25, 30], [1, 2.2, 1.1, 2.5, 3]).label
    'High'
    """
    require_choice("direction", direction, ("increase", "decrease", "either"))
    require_choice("effect_size", effect_size, ("mean-ratio", "cles"))
    x, y = require_numbers("canary", canary).ravel(), require_numbers("control", control).ravel()
    share = require_number("tolerance", tolerance, at_least=0.0)
    quantile = NormalDist().inv_cdf(0.5 + require_share("confidence", confidence) / 2)
    if x.size == 0 or y.size == 0:
        return MannWhitneyLabel("Nodata")
    if np.array_equal(np.sort(x), np.sort(y)) or np.unique(np.concatenate([x, y])).size == 1:
        return MannWhitneyLabel("Pass", effect=_effect(x, y, effect_size))
    effect = _effect(x, y, effect_size)
    low, high = _root(x, y, quantile), _root(x, y, -quantile)
    shift = _root(x, y, 0.0)
    bound = share * abs(shift)
    up = effect is None or effect >= allowed_increase
    down = effect is None or effect <= allowed_decrease
    label: Label = "Pass"
    if direction in ("increase", "either") and low > bound and up:
        label = "High"
    elif direction in ("decrease", "either") and high < -bound and down:
        label = "Low"
    return MannWhitneyLabel(label, shift, low, high, effect)


def kayenta_score(
    labels: Mapping[str, Sequence[Label]],
    *,
    weights: Mapping[str, float] | None = None,
    critical: Sequence[Label] = (),
) -> float:
    """Summary score from 0 to 100 of labels by group of metrics.

    Parameters
    ----------
    labels
        Labels of the metrics of each group.
    weights
        Per cent of the groups; groups without one share what is left.
    critical
        Labels of the critical metrics: any that is not "Pass" makes the score 0.

    Returns
    -------
    float
        0 to 100.

    Examples
    --------
    >>> round(kayenta_score({"errors": ["Pass", "High", "Low"]}), 2)
    33.33
    """
    given = dict(weights or {})
    unknown = sorted(set(given) - set(labels))
    if unknown:
        raise DataError(f"weights names {unknown}; the groups are {sorted(labels)}")
    every = [label for group in labels.values() for label in group]
    if any(label != "Pass" for label in critical):
        return 0.0
    if every and sum(label == "Nodata" for label in every) >= len(every) / 2:
        return 0.0
    unweighted = [group for group in labels if group not in given]
    rest = (100 - sum(given.values())) / len(unweighted) if unweighted else 0.0
    total = 0.0
    for group, of_group in labels.items():
        judged = [label for label in of_group if label != "Nodata"]
        score = 100 * sum(label == "Pass" for label in judged) / len(judged) if judged else 100.0
        total += score * given.get(group, rest) / 100
    return round(total, 2)


def _effect(x: np.ndarray, y: np.ndarray, kind: str) -> float | None:
    if kind == "mean-ratio":
        ratio = float(x.mean() / y.mean()) if y.mean() != 0 else math.nan
        return None if math.isnan(ratio) else ratio
    more = (x[:, None] > y[None, :]).mean() + 0.5 * (x[:, None] == y[None, :]).mean()
    return float(more)


def _root(x: np.ndarray, y: np.ndarray, quantile: float) -> float:
    """The shift at which the corrected rank statistic is `quantile`."""
    lowest, highest = float(x.min() - y.max()), float(x.max() - y.min())

    def gap(shift: float) -> float:
        return _rank_statistic(x - shift, y) - quantile

    if gap(lowest) <= 0:
        return lowest
    if gap(highest) >= 0:
        return highest
    return _brent(gap, lowest, highest, tolerance=1e-4)


def _brent(fn: Callable[[float], float], low: float, high: float, *, tolerance: float) -> float:
    """Where a function changes its sign, step by step as `scipy.optimize.brentq`, which is slow to import.

    `blocked` is on the other side of the root than `here`; `step` and `step_before` are the last two moves.
    """
    before, here, blocked = low, high, low
    at_before, at_here, at_blocked = fn(before), fn(here), 0.0
    step = step_before = 0.0
    while True:
        if at_before != 0 and (at_before < 0) != (at_here < 0):
            blocked, at_blocked = before, at_before
            step_before = step = here - before
        if abs(at_blocked) < abs(at_here):
            before, here, blocked = here, blocked, here
            at_before, at_here, at_blocked = at_here, at_blocked, at_here
        least = (tolerance + 4 * np.finfo(float).eps * abs(here)) / 2
        half = (blocked - here) / 2
        if at_here == 0 or abs(half) < least:
            return here
        chosen = half
        if abs(step_before) > least and abs(at_here) < abs(at_before):
            if before == blocked:  # a secant; else the inverse parabola through three points
                tried = -at_here * (here - before) / (at_here - at_before)
            else:
                slope = (at_before - at_here) / (before - here)
                other = (at_blocked - at_here) / (blocked - here)
                rise = other * slope * (at_blocked - at_before)
                tried = -at_here * (at_blocked * other - at_before * slope) / rise
            if 2 * abs(tried) < min(abs(step_before), 3 * abs(half) - least):
                chosen = tried
        step_before, step = (half if chosen is half else step), chosen
        before, at_before = here, at_here
        here += step if abs(step) > least else math.copysign(least, half)
        at_here = fn(here)


def _rank_statistic(x: np.ndarray, y: np.ndarray) -> float:
    n, m = x.size, y.size
    _, at, ties = np.unique(np.concatenate([x, y]), return_inverse=True, return_counts=True)
    ranks = np.cumsum(ties) - (ties - 1) / 2  # of equal values the mean of their places
    distance = float(ranks[at.ravel()[:n]].sum()) - n * (n + 1) / 2 - n * m / 2
    spread = (
        n * m / 12 * (n + m + 1 - float((ties.astype(float) ** 3 - ties).sum()) / ((n + m) * (n + m - 1)))
    )
    if spread <= 0:
        return 0.0
    return (distance - math.copysign(0.5, distance) * (distance != 0)) / math.sqrt(spread)
