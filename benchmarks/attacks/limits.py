"""Shares against a fixed limit, and differences of a funnel, at every look."""

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from benchmarks.tables.judged import judged
from canarykit.funnels.answers.compare import FEWEST_EITHER_WAY, FEWEST_FOR_ANY_LOOK
from canarykit.stats import best_k, confidence_sequence
from canarykit.stats.any_look.share_limits import share_limit_log_e

__all__ = ["difference_limits", "funnels_compared", "limits_kept", "missed"]

ALPHA = 0.05
NEEDED = -math.log(ALPHA)
PLANNED_PEOPLE = 5000
"""Default of `funnel.compare`."""
LEAST_APART = 2.0
"""Log likelihood ratio that any interval which leaves out zero exceeds by far: z is above 2.5 there."""


def limits_kept(rows: int, rng: int = 72) -> Iterator[dict[str, Any]]:
    """Exactly at an absolute limit: rolled back (randomised and targeted stages), or shown to keep it.

    A targeted stage and a randomised one ask the canary's people alone; the control can only prevent a
    rollback. Where events come late, those who are to have one count as people without it at first.
    """
    table = "limits that are just kept"
    cells: list[tuple[float, float, int, float, int]] = [
        (limit, traffic, hours, 0.0, 1)
        for limit, traffic, hours in product(
            (0.001, 0.01, 0.05, 0.3, 0.5, 0.9, 0.99), (5, 20, 250), (72, 336)
        )
        if limit * traffic * hours > 1 and traffic * hours < 50_000
    ]
    cells += [(limit, 40, 72, lag, 1) for limit, lag in product((0.05, 0.5), (6.0, 24.0))]
    cells += [(limit, 40, 72, 0.0, 12) for limit in (0.05, 0.5, 0.9)]
    for place, (limit, traffic, hours, lag, parts) in enumerate(cells):
        draw = np.random.default_rng([rng, place])
        looks = hours * parts
        x, n = _counts(draw, rows, limit, traffic / parts, looks, lag * parts)
        when = f"{traffic:g} an hour, {hours} h" + (f", events {lag:g} h late" if lag else "")
        when += f", a look every {60 // parts} min" if parts > 1 else ""
        for side in ("above", "below"):
            if lag and side == "below":
                continue  # a low share is judged by people whose time is over: nothing is late then
            broken = (share_limit_log_e(x, n, limit, side) >= NEEDED).any(axis=1).mean()
            yield judged(
                table, f"limit {100 * limit:g} %, shown {side}, {when}", 1, rows, float(broken), bound=ALPHA
            )


def _counts(
    draw: np.random.Generator, rows: int, share: float, traffic: float, looks: int, lag: float
) -> tuple[np.ndarray, np.ndarray]:
    """People with the event and people, up to each look; events come after so many looks on average."""
    people = draw.poisson(traffic, (rows, looks))
    events = draw.binomial(people, share)
    if not lag:
        return np.cumsum(events, axis=1), np.cumsum(people, axis=1)
    late = np.zeros_like(events)
    for look in range(looks):
        waits = draw.exponential(lag, int(events[:, look].sum())) + draw.random(int(events[:, look].sum()))
        run = np.repeat(np.arange(rows), events[:, look])
        at = look + waits.astype(np.int64)
        np.add.at(late, (run[at < looks], at[at < looks]), 1)
    return np.cumsum(late, axis=1), np.cumsum(people, axis=1)


def funnels_compared(rows: int, rng: int = 79) -> Iterator[dict[str, Any]]:
    """Intervals "at any look" of `funnel.compare` that ever leave out zero: small arms, extreme shares."""
    table = "funnel.compare at any look, an interval that misses"
    cells = [
        (share, part, 50, 100)
        for share, part in product((0.002, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99), (0.02, 0.05, 0.1, 0.5))
    ]
    cells += [(share, 0.5, 5, 100) for share in (0.05, 0.3, 0.5, 0.9)]
    cells += [(share, 0.1, 1000, 100) for share in (0.01, 0.1, 0.5, 0.95)]
    for place, (share, part, step, looks) in enumerate(cells):
        found = missed(np.random.default_rng([rng, place]), rows, share, part, step, looks)
        rule = f"{100 * share:g} % do it, arm of {100 * part:g} %, {looks} looks, {step} people apart"
        yield judged(table, rule, 1, rows, found, bound=ALPHA)


def missed(draw: np.random.Generator, rows: int, share: float, part: float, step: int, looks: int) -> float:
    """Share of the experiments in which the interval leaves out zero at some look."""
    n = np.cumsum(draw.binomial(step, part, (rows, looks)), axis=1)
    m = np.arange(1, looks + 1) * step - n
    x, y = (np.cumsum(draw.binomial(np.diff(people, axis=1, prepend=0), share), axis=1) for people in (n, m))
    enough = np.minimum(n, m) >= FEWEST_FOR_ANY_LOOK
    out = np.zeros((rows, looks), bool)
    with np.errstate(invalid="ignore", divide="ignore"):
        # no interval can leave out zero where neither arm's likelihood speaks against the other's share
        apart = np.minimum(n * _divergence(x / n, y / m), m * _divergence(y / m, x / n))
    far = enough & (apart >= LEAST_APART)
    low, high = difference_limits(*(column[far] for column in (x, n, y, m)))
    out[far] = (low > 0) | (high < 0)
    return float(out.any(axis=1).mean())


def _divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Kullback-Leibler divergence of one share from another."""
    hit = np.where(p > 0, p * np.log(p / q), 0.0)
    return hit + np.where(p < 1, (1 - p) * np.log((1 - p) / (1 - q)), 0.0)


def difference_limits(
    x: np.ndarray, n: np.ndarray, y: np.ndarray, m: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % interval of `funnel.compare` "at any look" for many counts at once."""
    x, n, y, m = (np.asarray(column, float) for column in (x, n, y, m))
    k = best_k(ALPHA, "two") * (n + m) / PLANNED_PEOPLE
    p, q = (x + 1) / (n + 2), (y + 1) / (m + 2)
    variance = p * (1 - p) / (n + 2) + q * (1 - q) / (m + 2)
    normal = confidence_sequence(x / n - y / m, variance, k=k, confidence=1 - ALPHA)
    low, high = np.maximum(normal.low, -1.0), np.minimum(normal.high, 1.0)
    few = np.minimum(np.minimum(x, n - x), np.minimum(y, m - y)) < FEWEST_EITHER_WAY
    if few.any():
        (a, b), (c, d) = (
            tuple(_share_limit(*arm, side) for side in ("lower", "upper"))
            for arm in ((x[few], n[few]), (y[few], m[few]))
        )
        low[few], high[few] = a - d, b - c
    return low, high


def _share_limit(x: np.ndarray, n: np.ndarray, side: str) -> np.ndarray:
    """`share_limit_at_any_look` at a quarter of the error, for many counts at once."""
    edge = np.full(len(x), 0.0 if side == "lower" else 1.0)
    inside, outside = x / n, edge.copy()
    for _ in range(40):
        middle = (inside + outside) / 2
        log_e = share_limit_log_e(x, n, middle, "above" if side == "lower" else "below")
        refuted = log_e >= math.log(4 / ALPHA)
        inside, outside = np.where(refuted, inside, middle), np.where(refuted, middle, outside)
    return np.where(inside == edge, edge, outside)
