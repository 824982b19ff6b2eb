"""Quantiles of latencies, of people with several values that are alike: unchanged, and at the margin."""

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from benchmarks.tables.judged import judged
from canarykit.stats.any_look.two_arm_quantiles import ArmValues, log_e_above, quantile_curves

__all__ = ["quantiles_kept"]

ALPHA = 0.05
NEEDED = -math.log(ALPHA)
HOURS, PEOPLE, GATE = 30, 30, 24


def quantiles_kept(rows: int, rng: int = 83) -> Iterator[dict[str, Any]]:
    """Rolled back though no slower, and promoted though slower by the margin exactly.

    Values are lognormal; a person's values share a part of their spread, and a few people have many. Where
    the canary's values are as many times the control's as the margin says, "within the margin" is "the
    control lies above the canary divided by the margin": the same as harm with the arms changed over.
    """
    cells = [*product((0.5, 0.95), (0.1, 0.5), (0.0, 0.7)), (0.75, 0.5, 0.7), (0.95, 0.9, 0.7)]
    for place, (q, share, alike) in enumerate(cells):
        draw = np.random.default_rng([rng, place])
        people = PEOPLE if q < 0.9 else 2 * PEOPLE
        harm = safe = 0
        for _ in range(rows):
            canary, control = _arms(draw, share, alike, people)
            one, other = quantile_curves(canary, control, q, n_looks=HOURS, gate=GATE)
            harm += _shown(log_e_above(one, other, _as_it_is))
            safe += _shown(log_e_above(other, one, _as_it_is))
        rule = f"{100 * q:g} % quantile, {people} an hour, canary {100 * share:g} %"
        rule += ", values of a person alike" if alike else ""
        yield judged("quantiles kept, rolled back", rule, 1, rows, harm / rows, bound=ALPHA)
        yield judged("quantiles at the margin, promoted", rule, "margin", rows, safe / rows, bound=ALPHA)


def _as_it_is(point: np.ndarray) -> np.ndarray:
    return point


def _arms(draw: np.random.Generator, share: float, alike: float, people: int) -> tuple[ArmValues, ArmValues]:
    n = draw.poisson(people * HOURS)
    look = np.sort(draw.integers(0, HOURS, n))
    each = 1 + draw.poisson(1.0, n) + np.where(draw.random(n) < 0.02, 20, 0)
    person = np.repeat(np.arange(n), each)
    noise = alike * draw.standard_normal(n)[person]
    noise += math.sqrt(1 - alike**2) * draw.standard_normal(len(person))
    value, on = 800 * np.exp(0.5 * noise), draw.random(n) < share
    arms = []
    for mine in (on, ~on):
        number = np.cumsum(mine) - 1
        kept = mine[person]
        arms.append(ArmValues(number[person[kept]], value[kept], look[mine]))
    return arms[0], arms[1]


def _shown(log_e: np.ndarray) -> bool:
    known = log_e[np.isfinite(log_e)]
    return bool(known.size and known.max() >= NEEDED)
