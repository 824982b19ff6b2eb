"""Value guardrails: amounts with heavy tails, counts with a few who do it often, capped rates per session."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from benchmarks.attacks.value_kernel import value_crossed
from benchmarks.tables.judged import judged
from canarykit.health.decision import Rules, log_thresholds

__all__ = ["VALUES", "ValueCell", "crossed_in", "draw_values", "values_at_the_margin", "values_unchanged"]

ALPHA = 0.05
PEOPLE_AT_ONCE = 200_000
Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def _mean(draw: Callable[[np.random.Generator, int], np.ndarray]) -> Draw:
    return lambda rng, n: (draw(rng, n), np.ones(n))


def _some(share: float, draw: Callable[[np.random.Generator, int], np.ndarray]) -> Draw:
    return _mean(lambda rng, n: np.where(rng.random(n) < share, draw(rng, n), 0.0))


def _sessions(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Failed requests per session: some people fail often, and some have many sessions."""
    sessions = 1 + np.minimum(rng.geometric(0.3, n) - 1 + np.where(rng.random(n) < 0.01, 60, 0), 200)
    return rng.binomial(sessions, rng.beta(0.15, 2.0, n)).astype(float), sessions.astype(float)


@dataclass(frozen=True)
class Values:
    """What people do, and how the metric caps it: by the control's quantile, by a fixed most, or not."""

    draw: Draw
    cap: float = 0.0
    most: float = math.inf


VALUES: dict[str, Values] = {
    "normal": Values(_mean(lambda rng, n: 100 + 30 * rng.standard_normal(n))),
    "lognormal 1, capped": Values(_mean(lambda rng, n: rng.lognormal(3, 1, n)), cap=0.995),
    "3 % pay, lognormal 2, capped": Values(_some(0.03, lambda rng, n: rng.lognormal(3, 2, n)), cap=0.995),
    "3 % pay, lognormal 1": Values(_some(0.03, lambda rng, n: rng.lognormal(3, 1, n))),
    "30 % pay, Pareto 1.5, capped": Values(
        _some(0.3, lambda rng, n: 10 * (1 + rng.pareto(1.5, n))), cap=0.995
    ),
    "counts, capped at 50": Values(
        _mean(lambda rng, n: rng.poisson(rng.gamma(0.2, 5.0, n) * np.where(rng.random(n) < 0.005, 200, 1))),
        most=50,
    ),
    "100, of one in 20 400": Values(_mean(lambda rng, n: np.where(rng.random(n) < 0.05, 400.0, 100.0))),
    "100, of one in 100 1,100": Values(_mean(lambda rng, n: np.where(rng.random(n) < 0.01, 1100.0, 100.0))),
    "one in five does it once": Values(_mean(lambda rng, n: (rng.random(n) < 0.2).astype(float))),
    "rate per session, capped at 20": Values(_sessions, most=20),
    "rate per session": Values(_sessions),
}


SKEWED = (
    "lognormal 1, capped",
    "3 % pay, lognormal 1",
    "100, of one in 20 400",
    "100, of one in 100 1,100",
    "one in five does it once",
)
"""Of these a small canary sees few of the large values, and seems to lose what it has not met yet."""


@dataclass(frozen=True)
class ValueCell:
    """One kind of value, and how it is looked at.

    Parameters
    ----------
    values
        Name in `VALUES`.
    share, traffic, hours
        The canary's part, new people an hour, and length of the stage.
    every
        Hours between calls; looks are hourly.
    factor, sign
        Canary's values times this, compared with `factor` times the control's; 1 asks for more, -1 for less.
    gate
        Hours until the first gate.
    grows
        Hours over which a person's sum grows.
    """

    values: str
    share: float
    traffic: float
    hours: float = 28.0
    every: float = 1.0
    factor: float = 1.0
    sign: float = 1.0
    gate: float = 24.0
    grows: float = 0.0
    side: str = "harm"

    @property
    def words(self) -> str:
        """What a table calls it."""
        parts = [self.values, f"{self.traffic:g} an hour", f"canary {100 * self.share:g} %"]
        parts.append("more is harm" if (self.sign > 0) == (self.side == "harm") else "less is harm")
        parts.append(f"{self.hours:g} h, a call every {60 * self.every:g} min, gate at {self.gate:g} h")
        if self.grows:
            parts.append(f"sums grow over {self.grows:g} h")
        return ", ".join(parts)


def draw_values(rng: np.random.Generator, runs: int, cell: ValueCell) -> tuple[np.ndarray, ...]:
    """Edges, hours, arms, sums and denominators of the people of many releases."""
    expected = runs * cell.hours * cell.traffic
    at = np.cumsum(rng.standard_exponential(int(expected + 6 * expected**0.5 + 20)) / cell.traffic)
    at = at[at < runs * cell.hours]
    run = (at / cell.hours).astype(np.int64)
    canary = rng.random(len(at)) < cell.share
    x, y = VALUES[cell.values].draw(rng, len(at))
    x = np.where(canary, cell.factor * x, x)
    edges = np.searchsorted(run, np.arange(runs + 1))
    return edges, np.clip(at - run * cell.hours, 0, None), canary, x.astype(float), y.astype(float)


def crossed_in(cell: ValueCell, drawn: tuple[np.ndarray, ...]) -> np.ndarray:
    """Whether any call sees the evidence reach its threshold, by release."""
    spec = VALUES[cell.values]
    calls = np.arange(1, round(cell.hours / cell.every) + 1) * cell.every
    needed = log_thresholds(Rules())[cell.side == "safe"]
    options = (spec.cap, spec.most, cell.factor, cell.sign, needed, cell.grows)
    return value_crossed(*drawn, calls, 1.0, cell.gate, *options)


def _lines(table: str, cells: list[ValueCell], rows: int, rng: int) -> Iterator[dict[str, Any]]:
    for place, cell in enumerate(cells):
        draw = np.random.default_rng([rng, place])
        block = max(1, int(PEOPLE_AT_ONCE / cell.traffic / cell.hours))
        found = np.concatenate(
            [crossed_in(cell, draw_values(draw, min(block, rows - at), cell)) for at in range(0, rows, block)]
        )
        yield judged(table, cell.words, cell.factor, rows, float(found.mean()), bound=ALPHA)


def values_unchanged(rows: int, rng: int = 80) -> Iterator[dict[str, Any]]:
    """False rollbacks by any call, hourly and between the looks, before the gate and after it."""
    cells = [
        ValueCell(name, share, 30, sign=sign)
        for name, share, sign in product(VALUES, (0.05, 0.5, 0.95), (1.0, -1.0))
    ]
    cells += [
        ValueCell(name, 0.5, 20, every=every, gate=gate)
        for name, (every, gate) in product(
            ("normal", "3 % pay, lognormal 2, capped"), ((0.25, 24.0), (0.25, 168.0), (1.0, 168.0))
        )
    ]
    cells += [
        ValueCell(name, share, 60, grows=24, sign=-1.0)
        for name, share in product(("lognormal 1, capped", "counts, capped at 50"), (0.1, 0.5))
    ]
    cells += [ValueCell("normal", 0.5, 10, every=1 / 12)]
    cells += [
        ValueCell(name, share, traffic, sign=-1.0)
        for name, (share, traffic) in product(SKEWED, ((0.01, 400), (0.05, 600)))
    ]
    yield from _lines("values that did not change, rolled back", cells, rows, rng)


def values_at_the_margin(rows: int, rng: int = 81) -> Iterator[dict[str, Any]]:
    """False promotions: every value of the canary is exactly at the margin, more or less by the factor.

    A cap at the control's quantile or a fixed one takes off more of the larger values, so what is compared
    lies within the margin where more is harm: there the values are those without a cap.
    """
    cells = [
        ValueCell(name, share, 60, factor=factor, sign=-1.0 if factor > 1 else 1.0, side="safe")
        for name, share, factor in product(
            ("normal", "3 % pay, lognormal 1", "rate per session"), (0.1, 0.5, 0.9), (0.9, 1.1)
        )
    ]
    yield from _lines("values exactly at the margin, promoted", cells, rows, rng)
