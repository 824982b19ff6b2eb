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
