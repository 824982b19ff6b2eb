"""Other rules of stopping a rollout, on the same counts: published formulas, not the products themselves.

Each takes cumulative counts with looks on the last axis and says at which looks harm would be called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from canarykit.stats.any_look.sequential import mixture_boundary

__all__ = ["RIVALS", "Counts"]

Z_ONE_SIDED = 1.6448536269514722


@dataclass(frozen=True)
class Counts:
    """Events and people of both arms per look, oriented so that more canary events are harm."""

    events_canary: np.ndarray
    events_control: np.ndarray
    canary: np.ndarray
    control: np.ndarray
    base: float

    @property
    def running(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Cumulative counts, people at least one."""
        counts = (self.events_canary, self.events_control, self.canary, self.control)
        first, second, third, fourth = (np.cumsum(count, axis=-1, dtype=np.float64) for count in counts)
        return first, second, np.maximum(third, 1.0), np.maximum(fourth, 1.0)


def fixed_p(counts: Counts) -> np.ndarray:
    """One-sided pooled z test at 5 %, as if each look were the only one."""
    x, y, n, m = counts.running
    pooled = (x + y) / (n + m)
    error = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(error > 0, (x / n - y / m) / error, 0.0) > Z_ONE_SIDED


def growthbook(counts: Counts) -> np.ndarray:
    """One-sided asymptotic confidence sequence tuned at 5,000 people, threshold zero."""
    z, total = _unpooled(counts)
    level = -2 * np.log(0.10)
    rho2 = (level + np.log(1 + level)) / 5000
    return z >= _boundary(total * rho2)


def statsig(counts: Counts) -> np.ndarray:
    """One-sided boundary that depends on the canary's share so far alone, and not on the time."""
    z, total = _unpooled(counts)
    _, _, canary, _ = counts.running
    share = canary / total
    k = 2 * Z_ONE_SIDED**2 * share * (1 - share)
    return z >= np.sqrt((1 + k) / k * (np.log1p(k) - 2 * np.log(0.05)))


def threshold(counts: Counts) -> np.ndarray:
    """Five looks in all at which the canary's rate was above twice the usual one."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(counts.canary > 0, counts.events_canary / counts.canary, 0.0)
    return np.cumsum(rate > 2 * counts.base, axis=-1) >= 5


RIVALS: dict[str, Callable[[Counts], np.ndarray]] = {
    "fixed p<.05": fixed_p,
    "growthbook": growthbook,
    "statsig": statsig,
    "threshold": threshold,
}


def _unpooled(counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    x, y, n, m = counts.running
    p, q = x / n, y / m
    error = np.sqrt(p * (1 - p) / n + q * (1 - q) / m)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(error > 0, (p - q) / error, 0.0), n + m


def _boundary(k: np.ndarray) -> np.ndarray:
    """`mixture_boundary` on a fine grid of k, read off by interpolation: exact to four digits, and quick."""
    grid = np.geomspace(max(float(k.min()), 1e-9), max(float(k.max()), 2e-9), 400)
    return np.interp(np.log(k), np.log(grid), mixture_boundary(grid, 0.05, "one"))
