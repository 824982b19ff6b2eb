"""The rate ratio with limits that hold at every look: the event e-process inverted over its null."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from canarykit.errors import DataError
from canarykit.stats.any_look.cohort_events import CohortEvents
from canarykit.stats.any_look.event_process import EventMixture, event_intervals
from canarykit.stats.checks import require_choice, require_share
from canarykit.stats.estimate import ConfidenceSequence, Sided

_EDGE = 30.0  # limits beyond exp(+-30) are reported as 0 or infinite
_NODES = _EDGE * np.sinh(np.linspace(-6.0, 6.0, 97)) / math.sinh(6.0)  # dense around a ratio of 1
_CLOSE = 1e-9  # of a root: in log E, or in the log of the ratio
_BLOCK = 256  # looks whose likelihoods are in memory at once


def event_ratio_bounds(
    x: ArrayLike,
    n: ArrayLike,
    exposure_canary: ArrayLike,
    exposure_control: ArrayLike,
    *,
    confidence: float = 0.95,
    sided: Sided = "two",
    mixture: EventMixture | None = None,
    cohorts: CohortEvents | None = None,
    running: bool = True,
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
    cohorts
        The events one by one where they are compared within entry cohorts: the exposures then follow from
        them anew for each ratio that is tried, and those given serve the estimate. One series only.
    running
        Whether each limit is the best of all looks so far; otherwise it is that of the look alone, which
        holds as surely and follows a ratio that changes.

    Returns
    -------
    ConfidenceSequence
        Limits after each look; running ones only ever tighten. A lower
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
    if cohorts is not None and (x.ndim != 1 or cohorts.n_looks != x.shape[-1]):
        raise DataError(f"x has shape {shape}, cohorts {cohorts.n_looks} looks; expected one series of them")
    grid = replace(mixture or EventMixture(), side="harm", null_ratio=1.0).grid
    spread = (grid.log_ratios, grid.log_weights, threshold, running)
    value = np.full(shape, np.nan)
    low, high = np.zeros(shape), np.full(shape, np.inf)

    def log_odds(at_risk: np.ndarray, rest: np.ndarray, swap: bool) -> Callable[[np.ndarray], np.ndarray]:
        if cohorts is not None:
            events = cohorts.swapped() if swap else cohorts
            return lambda nulls: _logit(events.expected(np.exp(nulls)))
        odds = _logit(at_risk / (at_risk + rest))
        return lambda nulls: nulls[:, None] + odds

    for row in np.ndindex(shape[:-1]):
        a, b, e, f = x[row], n[row], canary[row], control[row]
        value[row] = _estimates(a, b, e, f)
        if sided != "upper":
            low[row] = _lower_limits(a, b, log_odds(e, f, swap=False), *spread)
        if sided != "lower":  # swap the arms: an upper limit of d is one over a lower limit of 1 / d
            swapped = _lower_limits(b - a, b, log_odds(f, e, swap=True), *spread)
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

    Parameters
    ----------
    x
        Events of the canary in each interval.
    n
        Events of both arms together in each interval.
    exposure_canary, exposure_control
        Units, or time, at risk in each interval.

    Returns
    -------
    float or None

    Examples
    --------
    >>> round(event_ratio_estimate([12], [72], [10_000], [90_000]), 6)
    1.8
    """
    x, n, canary, control = event_intervals(x, n, exposure_canary, exposure_control)
    x, n, canary, control = (a.ravel() for a in np.broadcast_arrays(x, n, canary, control))
    return None if n.sum() == 0 else float(_estimates(x, n, canary, control)[-1])


def _lower_limits(
    x: np.ndarray,
    n: np.ndarray,
    log_odds: Callable[[np.ndarray], np.ndarray],
    log_ratios: np.ndarray,
    log_weights: np.ndarray,
    threshold: float,
    running: bool,
) -> np.ndarray:
    """Lower limit, per look: the largest null that is refuted, or ever was.

    E falls as the null grows. It is computed at all looks on one grid of nulls, which brackets the limit of
    each; between them the likelihoods are so smooth that a cubic through four nulls gives the limit itself.
    """
    at = np.flatnonzero(n > 0)
    if at.size == 0:
        return np.zeros(x.size)
    nodes = _NODES
    parts = 1 / (1 + np.exp(-log_odds(nodes)[:, at]))
    spent = np.zeros((len(nodes), 1, log_ratios.size))
    seen = np.cumsum(x[at])
    roots = np.full(at.size, -np.inf)
    best = -1
    for begin in range(0, at.size, _BLOCK):
        part = slice(begin, begin + _BLOCK)
        cost = np.log1p(parts[:, part, None] * np.expm1(log_ratios)) * n[at[part], None]
        spent = spent[:, -1:] + np.cumsum(cost, axis=1)
        refuted = _log_e(seen[part, None] * log_ratios - spent, log_weights) >= threshold
        last = np.where(refuted.any(axis=0), len(nodes) - 1 - np.argmax(refuted[::-1], axis=0), -1)
        record = np.maximum(np.maximum.accumulate(last), best)
        ahead = (last == record) if running else True  # the others are behind an earlier one
        looks = np.flatnonzero((last >= 0) & ahead)
        places = np.clip(last[looks], 1, len(nodes) - 3)
        around = places[:, None] + np.arange(-1, 3)
        gained = seen[part][looks, None] * log_ratios
        roots[begin + looks] = _roots(
            nodes[around], spent[around, looks[:, None]], gained, log_weights, threshold
        )
        best = int(record[-1])
    limits = np.exp(np.maximum.accumulate(roots) if running else roots)
    latest = np.searchsorted(at, np.arange(x.size), side="right") - 1
    return np.where(latest >= 0, limits[np.maximum(latest, 0)], 0.0)


def _log_e(state: np.ndarray, log_weights: np.ndarray) -> np.ndarray:
    largest = state.max(axis=-1)
    return np.asarray(largest + np.log(np.exp(state - largest[..., None]) @ np.exp(log_weights)))


def _roots(
    nodes: np.ndarray, spent: np.ndarray, gained: np.ndarray, log_weights: np.ndarray, threshold: float
) -> np.ndarray:
    """Null at which log E is at the threshold, between the middle two of four nodes each (Illinois)."""

    def beyond(null: np.ndarray) -> np.ndarray:
        cost = np.einsum("ri,rij->rj", _through(nodes, null), spent)
        return _log_e(gained - cost, log_weights) - threshold

    low, high = nodes[:, 1], nodes[:, 2]
    over, under = np.maximum(beyond(low), 0.0), np.minimum(beyond(high), 0.0)
    side = np.zeros(len(low))
    middle = low
    for _ in range(40):
        step = np.where(over > under, over / np.where(over > under, over - under, 1.0), 0.0)
        middle = low + (high - low) * step
        value = beyond(middle)
        if bool(np.all((np.abs(value) < _CLOSE) | (high - low < _CLOSE))):
            break
        above = value >= 0  # an end that stays twice counts half, or it would stay for ever
        over, under = (
            np.where(above, value, np.where(side < 0, over / 2, over)),
            np.where(above, np.where(side > 0, under / 2, under), value),
        )
        low, high = np.where(above, middle, low), np.where(above, high, middle)
        side = np.where(above, 1.0, -1.0)
    return np.asarray(middle)


def _through(nodes: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Weights of the values at four nodes, in rows, in the cubic through them (Lagrange)."""
    weights = np.ones_like(nodes)
    for i in range(4):
        for j in range(4):
            if i != j:
                weights[:, i] *= (at - nodes[:, j]) / (nodes[:, i] - nodes[:, j])
    return weights


def _estimates(x: np.ndarray, n: np.ndarray, canary: np.ndarray, control: np.ndarray) -> np.ndarray:
    """Maximum likelihood ratio after each look, all looks at once; NaN before the first event."""
    informed = (n > 0) & (canary > 0) & (control > 0)
    x, n = np.where(informed, x, 0), np.where(informed, n, 0)
    with np.errstate(divide="ignore"):
        log_odds = np.where(
            informed, np.log(np.where(informed, canary, 1)) - np.log(np.where(informed, control, 1)), 0.0
        )
    seen, total = np.cumsum(x), np.cumsum(n)
    if bool(np.all(log_odds[informed] == log_odds[informed][:1])):  # one share at all looks: no search
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = seen / (total - seen) * np.exp(-log_odds[informed][:1].sum())
    else:
        ratio = _solved(seen, np.cumsum(n / (1 + np.exp(-_NODES[:, None] - log_odds)), axis=1))
    ratio = np.where(seen == 0, 0.0, np.where(seen == total, np.inf, ratio))
    return np.where(total > 0, ratio, np.nan)


def _solved(seen: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """The ratio at which as many events are expected as were seen; `expected` has a row for each node."""
    last = np.clip((expected < seen).sum(axis=0) - 1, 1, len(_NODES) - 3)
    around = last[:, None] + np.arange(-1, 3)
    nodes, values = _NODES[around], expected[around, np.arange(seen.size)[:, None]]
    low, high = nodes[:, 1], nodes[:, 2]
    for _ in range(50):
        middle = (low + high) / 2
        fewer = (_through(nodes, middle) * values).sum(axis=1) < seen
        low, high = np.where(fewer, middle, low), np.where(fewer, high, middle)
    return np.exp((low + high) / 2)


def cohort_estimates(x: ArrayLike, cohorts: CohortEvents) -> np.ndarray:
    """The ratio that fits the events one by one after each look: Cox regression stratified by cohort.

    Parameters
    ----------
    x
        Events of the canary at each look.
    cohorts
        The events one by one, with the canary's part of those of their cohort who were left.

    Returns
    -------
    numpy.ndarray
        Canary over control; NaN before an event could have been of either arm, 0 or infinite where all that
        could have been are of one.

    References
    ----------
    Cox (1975), doi:10.1093/biomet/62.2.269, with Breslow's treatment of ties.

    Examples
    --------
    >>> events = CohortEvents(np.array([0, 0, 1]), np.array([0.5, 0.5, 0.5]), 2)
    >>> cohort_estimates([1, 1], events).round(6).tolist()
    [1.0, 2.0]
    """
    open_ = (cohorts.share > 0) & (cohorts.share < 1)
    undecided = CohortEvents(cohorts.look[open_], cohorts.share[open_], cohorts.n_looks)
    certain = np.bincount(cohorts.look[cohorts.share >= 1], minlength=cohorts.n_looks)
    seen, total = np.cumsum(np.asarray(x) - certain), np.cumsum(undecided.n)
    ratio = _solved(seen, np.cumsum(undecided.n * undecided.expected(np.exp(_NODES)), axis=1))
    ratio = np.where(seen == 0, 0.0, np.where(seen == total, np.inf, ratio))
    return np.where(total > 0, ratio, np.nan)


def _logit(part: np.ndarray) -> np.ndarray:
    """Log odds of a part; certainty stays finite, and so far away that no alternative changes it."""
    part = np.clip(part, 1e-300, 1 - 1e-16)
    return np.asarray(np.log(part) - np.log1p(-part))
