"""The rate ratio with limits that hold at every look: the event e-process inverted over its null."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from canarykit.stats.any_look.event_process import EventMixture, event_intervals
from canarykit.stats.checks import require_choice, require_share
from canarykit.stats.estimate import ConfidenceSequence, Sided

__all__ = ["event_ratio_bounds", "event_ratio_estimate"]

_EDGE = 30.0  # limits beyond exp(+-30) are reported as 0 or infinite


def event_ratio_bounds(
    x: ArrayLike,
    n: ArrayLike,
    exposure_canary: ArrayLike,
    exposure_control: ArrayLike,
    *,
    confidence: float = 0.95,
    sided: Sided = "two",
    mixture: EventMixture | None = None,
) -> ConfidenceSequence:
    """Confidence sequence of the ratio of event rates, canary over control.

    Parameters
    ----------
    x, n, exposure_canary, exposure_control
        As in `EventMixture.log_e`: events of the canary and of both arms per interval, and exposures;
        time on the last axis.
    confidence
        Chance that the limits hold at every look, strictly between 0 and 1.
    sided
        "two" splits the error between the limits; "lower" and "upper" spend it on one. The upper limit
        at confidence 1 - a is below a margin exactly when the "safe" mixture against that margin has
        reached an e-value of 1 / a.
    mixture
        Spread of the alternatives (its side and null are not used).

    Returns
    -------
    ConfidenceSequence
        Limits after each look that only ever tighten: each is the best of all looks so far. A lower
        limit of 0 and an infinite upper limit say that the counts do not bound that side.

    Examples
    --------
    >>> spread = EventMixture(sd=0.4, low=0.02, high=1.2)
    >>> low = event_ratio_bounds([12], [72], [10], [90], sided="lower", mixture=spread).low[-1]
    >>> high = event_ratio_bounds([12], [72], [10], [90], sided="upper", mixture=spread).high[-1]
    >>> round(float(low), 4), round(float(high), 4)
    (0.5656, 4.18)
    """
    require_choice("sided", sided, ("two", "lower", "upper"))
    alpha = 1 - require_share("confidence", confidence)
    threshold = math.log((2 if sided == "two" else 1) / alpha)
    x, n, canary, control = event_intervals(x, n, exposure_canary, exposure_control)
    shape = np.broadcast_shapes(x.shape, canary.shape)
    x, n, canary, control = (np.broadcast_to(a, shape) for a in (x, n, canary, control))
    grid = replace(mixture or EventMixture(), side="harm", null_ratio=1.0).grid
    spread = (grid.log_ratios, grid.log_weights, threshold)
    value = np.full(shape, np.nan)
    low, high = np.zeros(shape), np.full(shape, np.inf)
    for row in np.ndindex(shape[:-1]):
        series = (x[row], n[row], canary[row], control[row])
        value[row] = _estimates(*series)
        if sided != "upper":
            low[row] = _lower_limits(*series, *spread)
        if sided != "lower":  # swap the arms: an upper limit of d is one over a lower limit of 1 / d
            swapped = _lower_limits(n[row] - x[row], n[row], control[row], canary[row], *spread)
            with np.errstate(divide="ignore"):
                high[row] = 1 / swapped
    return ConfidenceSequence(
        value=value,
        low=low,
        high=high,
        confidence=confidence,
        method="conditional-binomial mixture confidence sequence",
        sided=sided,
        unit="ratio",
        n=n.sum(axis=-1),
        source="Lindon & Malek (2022), arXiv:2011.03567",
    )


def event_ratio_estimate(
    x: ArrayLike, n: ArrayLike, exposure_canary: ArrayLike, exposure_control: ArrayLike
) -> float | None:
    """The rate ratio that fits all intervals of one series best; None without events.

    Examples
    --------
    >>> round(event_ratio_estimate([12], [72], [10_000], [90_000]), 6)
    1.8
    """
    x, n, canary, control = event_intervals(x, n, exposure_canary, exposure_control)
    x, n, canary, control = np.broadcast_arrays(x, n, canary, control)
    if n.sum() == 0:
        return None
    return _estimate(x.ravel(), n.ravel(), canary.ravel(), control.ravel())


def _lower_limits(
    x: np.ndarray,
    n: np.ndarray,
    canary: np.ndarray,
    control: np.ndarray,
    log_ratios: np.ndarray,
    log_weights: np.ndarray,
    threshold: float,
) -> np.ndarray:
    """Best lower limit so far, per look. E falls as the null grows, so one root a look suffices."""

    def states(log_null: float, until: int, since: int = 0) -> np.ndarray:
        part = slice(since, until)
        events, at_risk, rest = n[part, None], canary[part, None] * math.exp(log_null), control[part, None]
        term = np.log(rest + at_risk) - np.log(rest + at_risk * np.exp(log_ratios)[None, :])
        return (x[part, None] * log_ratios[None, :] + events * term).sum(axis=0)

    def log_e(state: np.ndarray) -> float:
        largest = float(state.max())
        return largest + math.log(float(np.exp(state - largest + log_weights).sum()))

    limits = np.zeros(x.size)
    best, state = -_EDGE, np.zeros(log_ratios.size)
    for look in range(x.size):
        if n[look] > 0:
            state = state + states(best, look + 1, look)
            if log_e(state) >= threshold:
                inside, outside = _EDGE, best
                for _ in range(60):
                    middle = (inside + outside) / 2
                    if log_e(states(middle, look + 1)) >= threshold:
                        outside = middle
                    else:
                        inside = middle
                best = inside
                state = states(best, look + 1)
        limits[look] = 0.0 if best <= -_EDGE else math.exp(best)
    return limits


def _estimates(x: np.ndarray, n: np.ndarray, canary: np.ndarray, control: np.ndarray) -> np.ndarray:
    """Maximum likelihood ratio after each look; NaN before the first event."""
    values = np.full(x.size, np.nan)
    for look in range(x.size):
        part = slice(0, look + 1)
        if n[look] == 0 and look > 0:
            values[look] = values[look - 1]
        elif n[part].sum() > 0:
            values[look] = _estimate(x[part], n[part], canary[part], control[part])
    return values


def _estimate(x: np.ndarray, n: np.ndarray, canary: np.ndarray, control: np.ndarray) -> float:
    informative = (n > 0) & (canary > 0) & (control > 0)
    x, n, canary, control = x[informative], n[informative], canary[informative], control[informative]
    seen, total = float(x.sum()), float(n.sum())
    if total == 0:
        return math.nan
    if seen == 0:
        return 0.0
    if seen == total:
        return math.inf
    odds = canary / control
    if np.all(odds == odds[0]):
        return seen / (total - seen) / float(odds[0])
    low, high = -_EDGE - float(np.log(odds.max())), _EDGE - float(np.log(odds.min()))
    for _ in range(80):
        middle = (low + high) / 2
        if float((n / (1 + np.exp(-middle) / odds)).sum()) < seen:
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)
