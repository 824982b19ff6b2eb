"""Compiled steps of the event e-process, for many simulated rollouts.

One rollout keeps a `state`: the log likelihood ratio of each alternative so far, starting at zero. An
interval adds to it, and the mixture turns it into log E. Each function is an ordinary compiled function
that other compiled loops may call; its plain form is `.py_func`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from canarykit.compiler import njit

if TYPE_CHECKING:
    from canarykit.stats.any_look.event_process import EventMixture

_FAST = {"reassoc", "nsz", "contract", "nnan"}
STEADY_FROM = 4
"""Looks with the same exposures from which their sums are worth a way of their own."""


@njit()
def interval_terms(
    canary: float, control: float, null_ratio: float, ratios: np.ndarray, out: np.ndarray
) -> None:
    """What one event costs each alternative under these exposures: ln(eC + eT d0) - ln(eC + eT d)."""
    log_null = math.log(control + canary * null_ratio)
    for j in range(ratios.size):
        out[j] = log_null - math.log(control + canary * ratios[j])


@njit(fastmath=_FAST)
def add_interval(state: np.ndarray, x: float, n: float, log_ratios: np.ndarray, terms: np.ndarray) -> None:
    """Add one interval with `x` canary events of `n` to the state, in place."""
    for j in range(state.size):
        state[j] += x * log_ratios[j] + n * terms[j]


@njit(fastmath=_FAST)
def log_mixture(
    state: np.ndarray, log_weights: np.ndarray, exact_above: float, exact_below: float = math.inf
) -> float:
    """Log E of a state; outside of two thresholds, a bound of it that is outside too.

    The mixture cannot exceed its largest likelihood ratio, nor fall below its largest term, so a look
    with the first under `exact_above`, or the second at `exact_below` or over it, needs no exponential at
    all. Without thresholds (`-inf`, `inf`) it is the value itself.
    """
    largest = state[0]
    for j in range(1, state.size):
        largest = max(largest, state[j])
    if largest < exact_above:
        return largest
    if largest >= exact_below:
        term = state[0] + log_weights[0]
        for j in range(1, state.size):
            term = max(term, state[j] + log_weights[j])
        if term >= exact_below:
            return term
    total = 0.0
    for j in range(state.size):
        total += math.exp(state[j] - largest + log_weights[j])
    return largest + math.log(total)


@njit(fastmath=_FAST)
def log_bound(state: np.ndarray, log_weights: np.ndarray, log_points: float) -> float:
    """A bound above log E without an exponential: the largest ratio, or as many times the largest term."""
    largest, term = state[0], state[0] + log_weights[0]
    for j in range(1, state.size):
        largest = max(largest, state[j])
        term = max(term, state[j] + log_weights[j])
    return min(largest, term + log_points)


@njit()
def run_paths(
    x: np.ndarray,
    n: np.ndarray,
    terms: np.ndarray,
    log_ratios: np.ndarray,
    log_weights: np.ndarray,
    exact_above: float,
    out: np.ndarray,
    exact_below: float = math.inf,
    wanted: float = -math.inf,
) -> None:
    """Log E of every run and look, for exposures that all runs share.

    `x`, `n`, `out` are (runs, looks); `terms` is (looks, points), one row of `interval_terms` a look. Only
    between `exact_above` and `exact_below` is it the value itself, see `log_mixture`; up to the first look
    at which a run has `wanted` it may be a bound above, which is below `wanted` too.
    """
    runs, looks = x.shape
    state, log_points = np.empty(log_ratios.size), math.log(log_ratios.size)
    for run in range(runs):
        state[:] = 0.0
        current, has_it = 0.0, wanted == -math.inf
        for look in range(looks):
            events = n[run, look]
            if events > 0:
                add_interval(state, x[run, look], events, log_ratios, terms[look])
                current = math.inf if has_it else log_bound(state, log_weights, log_points)
                if current >= wanted:
                    current = log_mixture(state, log_weights, exact_above, exact_below)
                    has_it = has_it or current >= wanted
            out[run, look] = current


@njit()
def run_steady(
    x: np.ndarray,
    n: np.ndarray,
    chance: float,
    terms: np.ndarray,
    before: np.ndarray,
    log_ratios: np.ndarray,
    log_weights: np.ndarray,
    exact_above: float,
    exact_below: float,
    wanted: float,
    out: np.ndarray,
) -> None:
    """What `run_paths` says from `before` on, where all looks have the same `terms` (points).

    `before` is (runs, points), the state that each run comes with, or (1, points) for all; `chance` is an
    event's to be the canary's under the null. The state hangs on the sums of `x` and `n` alone, and no ratio
    of likelihoods is above that of the best chance there is, so most looks need two logarithms and no state.
    """
    runs, looks = x.shape
    points = log_ratios.size
    state = np.empty(points)
    above, below = log_ratios.min() >= 0, log_ratios.max() <= 0
    for run in range(runs):
        start = before[run if before.shape[0] > 1 else 0]
        most = start[0]
        for j in range(1, points):
            most = max(most, start[j])
        ours, events, has_it = 0.0, 0.0, wanted == -math.inf
        current = log_mixture(start, log_weights, exact_above, exact_below)
        for look in range(looks):
            if n[run, look] > 0:
                ours += x[run, look]
                events += n[run, look]
                expected = events * chance
                bound = most
                if not (above and ours <= expected) and not (below and ours >= expected):
                    theirs = events - ours
                    if ours > 0:
                        bound += ours * math.log(ours / expected)
                    if theirs > 0:
                        bound += theirs * math.log(theirs / (events - expected))
                if bound < (exact_above if has_it else wanted):
                    current = bound
                else:
                    for j in range(points):
                        state[j] = start[j] + ours * log_ratios[j] + events * terms[j]
                    current = log_mixture(state, log_weights, exact_above, exact_below)
                    has_it = has_it or current >= wanted
            out[run, look] = current


def bounded_log_e(
    mixture: EventMixture,
    x: np.ndarray,
    n: np.ndarray,
    canary: np.ndarray,
    control: np.ndarray,
    thresholds: tuple[float, float],
    wanted: float,
) -> np.ndarray:
    """Log E of many runs for exposures that all share, a bound where its value does not matter.

    `x`, `n` are (runs, looks), `canary`, `control` one value a look; `thresholds` and `wanted` as `run_paths`
    has them. The looks with the last exposures, mostly those of one stage, are gone through by their sums.
    """
    grid, out = mixture.grid, np.empty(x.shape)
    x, n, terms = x.astype(np.float64), n.astype(np.float64), terms_of(mixture, canary, control)
    looks = len(canary)
    if not looks:
        return out
    other = np.flatnonzero((canary != canary[-1]) | (control != control[-1]))
    first = int(other[-1]) + 1 if len(other) else 0
    null = canary[-1] * mixture.null_ratio
    if (wanted > -math.inf and first) or looks - first < STEADY_FROM or null <= 0 or control[-1] <= 0:
        first = looks
    points = grid.log_ratios, grid.log_weights
    before = np.zeros((1, grid.log_ratios.size))
    if first:
        early = x[:, :first], n[:, :first], terms[:first]
        run_paths(*early, *points, thresholds[0], out[:, :first], thresholds[1], wanted)
        before = early[0].sum(axis=1)[:, None] * grid.log_ratios + early[1] @ early[2]
    if first < looks:
        chance = null / (control[-1] + null)
        late = x[:, first:], n[:, first:], chance, terms[-1]
        run_steady(*late, before, *points, *thresholds, wanted, out[:, first:])
    return out


@njit()
def _run_own_exposures(
    x: np.ndarray,
    n: np.ndarray,
    canary: np.ndarray,
    control: np.ndarray,
    null_ratio: float,
    ratios: np.ndarray,
    log_ratios: np.ndarray,
    log_weights: np.ndarray,
    out: np.ndarray,
) -> None:
    runs, looks = x.shape
    state, terms = np.empty(log_ratios.size), np.empty(log_ratios.size)
    for run in range(runs):
        state[:] = 0.0
        current = 0.0
        for look in range(looks):
            events = n[run, look]
            if events > 0:
                interval_terms(canary[run, look], control[run, look], null_ratio, ratios, terms)
                add_interval(state, x[run, look], events, log_ratios, terms)
                current = log_mixture(state, log_weights, -np.inf)
            out[run, look] = current


def terms_of(mixture: EventMixture, exposure_canary: np.ndarray, exposure_control: np.ndarray) -> np.ndarray:
    """The (looks, points) table of `interval_terms` for exposures that all runs share."""
    canary, control = np.atleast_1d(exposure_canary)[:, None], np.atleast_1d(exposure_control)[:, None]
    idle = (canary <= 0) & (control <= 0)
    canary, control = np.where(idle, 1.0, canary), np.where(idle, 1.0, control)
    ratios = mixture.grid.ratios[None, :]
    return np.ascontiguousarray(
        np.log(control + canary * mixture.null_ratio) - np.log(control + canary * ratios)
    )


def running_log_e(
    mixture: EventMixture, x: np.ndarray, n: np.ndarray, canary: np.ndarray, control: np.ndarray
) -> np.ndarray:
    """The compiled form of `EventMixture.log_e`, on arrays that were checked."""
    shape = np.broadcast_shapes(x.shape, canary.shape)
    looks, grid = shape[-1], mixture.grid
    flat_x = np.ascontiguousarray(np.broadcast_to(x, shape).reshape(-1, looks))
    flat_n = np.ascontiguousarray(np.broadcast_to(n, shape).reshape(-1, looks))
    out = np.empty(flat_x.shape)
    if canary.size == canary.shape[-1]:
        row_canary = np.broadcast_to(canary.reshape(-1), (looks,))
        row_control = np.broadcast_to(control.reshape(-1), (looks,))
        terms = terms_of(mixture, row_canary, row_control)
        run_paths(flat_x, flat_n, terms, grid.log_ratios, grid.log_weights, -np.inf, out)
    else:
        flat_canary = np.ascontiguousarray(np.broadcast_to(canary, shape).reshape(-1, looks))
        flat_control = np.ascontiguousarray(np.broadcast_to(control, shape).reshape(-1, looks))
        null, ratios = mixture.null_ratio, grid.ratios
        _run_own_exposures(
            flat_x, flat_n, flat_canary, flat_control, null, ratios, grid.log_ratios, grid.log_weights, out
        )
    return out.reshape(shape)
