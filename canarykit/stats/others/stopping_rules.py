"""Rules by which other systems stop a rollout: published formulas on counts, not the products themselves.

The simulation of decisions, a report's comparison of rules and the calibration all ask here. Arrays have
looks on the last axis; the first arm is the one whose events are harm.

References
----------
GrowthBook, docs/features/safe-rollouts and the code of its statistics; Statsig documentation, "Frequentist
sequential testing"; Argo Rollouts analysis (failureLimit) and Flagger (threshold) for fixed thresholds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from canarykit.stats.any_look.sequential import mixture_boundary
from canarykit.stats.others.published_sequences import tuned_k

ALPHA = 0.05
Z_ONE_SIDED = 1.6448536269514722
TOLERATED_RATE = 2.0
"""Fixed thresholds are set at twice the control's rate: those systems leave the number to the user."""


def pooled_z(x: ArrayLike, y: ArrayLike, n: ArrayLike, m: ArrayLike) -> np.ndarray:
    """Z of the shares x / n and y / m by their common variance, 0 where it cannot be computed.

    Examples
    --------
    >>> round(float(pooled_z(30, 15, 1000, 1000)), 3)
    2.262
    """
    x, y, n, m = (np.asarray(count, dtype=float) for count in (x, y, n, m))
    with np.errstate(invalid="ignore", divide="ignore"):
        pooled = (x + y) / (n + m)
        return np.nan_to_num((x / n - y / m) / np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m)))


def unpooled_z(x: ArrayLike, y: ArrayLike, n: ArrayLike, m: ArrayLike) -> np.ndarray:
    """Z of the shares x / n and y / m by their own variances, 0 where it cannot be computed.

    Examples
    --------
    >>> round(float(unpooled_z(30, 15, 1000, 1000)), 3)
    2.265
    """
    x, y, n, m = (np.asarray(count, dtype=float) for count in (x, y, n, m))
    with np.errstate(invalid="ignore", divide="ignore"):
        p, q = x / n, y / m
        z = (p - q) / np.sqrt(p * (1 - p) / n + q * (1 - q) / m)
    return np.where(np.isfinite(z), z, 0.0)


def growthbook_boundary(people: ArrayLike) -> np.ndarray:
    """The z above which GrowthBook calls harm: its one-sided closed form, tuned at 5,000 people.

    `people`: people of both arms so far.

    Examples
    --------
    >>> growthbook_boundary([500, 5000, 50_000]).round(3).tolist()
    [3.679, 2.779, 2.989]
    """
    k = np.maximum(np.asarray(people, dtype=float) * tuned_k(1, tuned_at=5000, sided="lower"), 1e-9)
    return mixture_boundary(k, ALPHA, "one", closed_form=True)


def statsig_boundary(share: ArrayLike) -> np.ndarray:
    """The z above which Statsig's one-sided boundary calls harm, by the canary's share alone.

    Examples
    --------
    >>> statsig_boundary([0.05, 0.5]).round(3).tolist()
    [5.516, 3.451]
    """
    share = np.asarray(share, dtype=float)
    return mixture_boundary(2 * Z_ONE_SIDED**2 * share * (1 - share), ALPHA, "two")


def looks_above(events: ArrayLike, people: ArrayLike, usual: float, *, times: int) -> np.ndarray:
    """Looks from which the canary's rate was above twice the usual one `times` times in all.

    Examples
    --------
    >>> looks_above([1, 5, 0, 9], [100, 100, 0, 100], 0.02, times=2).tolist()
    [False, False, False, True]
    """
    events, people = np.asarray(events, dtype=float), np.asarray(people, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(people > 0, events / people, 0.0)
    return np.cumsum(rate > TOLERATED_RATE * usual, axis=-1) >= times


@dataclass(frozen=True)
class Counts:
    """Events and people of both arms per look, oriented so that more canary events are harm."""

    events_canary: np.ndarray
    events_control: np.ndarray
    canary: np.ndarray
    control: np.ndarray
    base: float

    @property
    def so_far(self) -> tuple[np.ndarray, ...]:
        """Cumulative events of both arms, then people of both, at least one."""
        counts = (self.events_canary, self.events_control, self.canary, self.control)
        x, y, n, m = (np.cumsum(count, axis=-1, dtype=np.float64) for count in counts)
        return x, y, np.maximum(n, 1.0), np.maximum(m, 1.0)


def _growthbook(counts: Counts) -> np.ndarray:
    x, y, n, m = counts.so_far
    return unpooled_z(x, y, n, m) >= growthbook_boundary(n + m)


def _statsig(counts: Counts) -> np.ndarray:
    x, y, n, m = counts.so_far
    return unpooled_z(x, y, n, m) >= statsig_boundary(n / (n + m))


RIVALS: dict[str, Callable[[Counts], np.ndarray]] = {
    "fixed p<.05": lambda counts: pooled_z(*counts.so_far) > Z_ONE_SIDED,
    "growthbook": _growthbook,
    "statsig": _statsig,
    "threshold": lambda counts: looks_above(counts.events_canary, counts.canary, counts.base, times=5),
}
"""At which looks each rule would call harm, by its name in `simulate_decisions`."""
