"""Revenue: 3 % of the people pay, lognormally with a shape of 2, so that a few pay for most of it.

The asymptotic confidence sequence on the difference of means, tuned as GrowthBook does (5,000 people) and
as canarykit does (the first gate, here a day). Nothing is wrong with the release; with equal arms harm is
more in the canary or less, which are the same. In a small arm the few who pay much are missing at first,
and the spread with them: losses are then seen that are none. Canarykit caps a person's sum at the control's
99.5 %, waits for 25 people an arm, and keeps its level.

How often it finds amounts that did fall, in canaries of 5 %, beside a test that knows the variances.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.attacks.values import VALUES, ValueCell, crossed_in, draw_values
from benchmarks.calibrate.ramp import ALPHA, HOURS, SHARES
from benchmarks.tables.judged import judged
from canarykit.health.evidence.event_evidence import value_evidence
from canarykit.health.evidence.value_series import MIN_PEOPLE, value_series
from canarykit.metrics import Guardrail, Outcomes, Total
from canarykit.stats import mixture_test
from canarykit.stats.any_look.sequential import K_AT_GATE, mixture_log_e
from canarykit.stats.others.published_sequences import tuned_k

__all__ = ["amounts_that_fell", "heavy_tails"]

BLOCK = 250
HOUR_US = 3_600_000_000
TRAFFIC = {
    "ramp": 2000 * np.repeat(SHARES, HOURS // len(SHARES)),
    "500 an hour": np.full(HOURS, 500.0),
    "100 an hour": np.full(HOURS, 100.0),
}


FELL = (
    ("3 % pay, lognormal 1", 1000, 0.6),
    ("3 % pay, lognormal 1", 1000, 0.75),
    ("3 % pay, lognormal 2, capped", 1000, 0.6),
    ("lognormal 1, capped", 100, 0.75),
    ("one in five does it once", 200, 0.75),
)
"""Values, people an hour, and what the canary's are multiplied by."""


def heavy_tails(rows: int, rng: int = 32) -> Iterator[dict[str, Any]]:
    """False rollbacks under hourly looks, from the first look on and after a day's burn-in."""
    table = "revenue with heavy tails"
    runs = min(rows, 2000)
    for name, people in TRAFFIC.items():
        found = _false(runs, people, people, rng)
        for rule, share in found.items():
            yield judged(table, f"{rule}: {name}", 1, runs, share, (0.010, 0.019), bound=ALPHA, near=False)
    hourly = np.full(HOURS, 500.0)
    for part in (0.05, 0.10):
        setting = f"losses, a canary of {part:.0%} of 500 an hour"
        # the arms swapped: what the control has more is what the canary loses
        found = _false(runs, hourly * (1 - part), hourly * part, rng)
        yield judged(table, f"tuned at 5,000 people: {setting}", 1, runs, found["tuned at 5,000 people"])
        few = min(rows, 500)
        yield judged(
            table, f"as canarykit judges: {setting}", 1, few, _as_judged(few, part, 500, 72, rng), bound=ALPHA
        )


def amounts_that_fell(rows: int, rng: int = 33) -> Iterator[dict[str, Any]]:
    """Losses that a canary of 5 % finds under hourly looks for three days."""
    table = "amounts that fell, a canary of 5 %, hourly looks for three days"
    runs = min(rows, 1000)
    for place, (name, traffic, factor) in enumerate(FELL):
        cell = ValueCell(name, 0.05, traffic, hours=72, every=24, factor=factor, sign=-1.0)
        draw = np.random.default_rng([rng, place])
        truth = _known_spreads(cell, draw)
        found = np.zeros(2)
        for begin in range(0, runs, 20):
            drawn = draw_values(draw, min(20, runs - begin), cell)
            found += crossed_in(replace(cell, factor=1.0), drawn).sum(), _knowing(cell, drawn, *truth)
        for rule, share in zip(("canarykit", "knows the variances"), found / runs, strict=True):
            yield judged(table, f"{rule}: {name}, {traffic:,} an hour", factor, runs, float(share))


def _known_spreads(cell: ValueCell, draw: np.random.Generator) -> tuple[float, float, float]:
    """The control's cap, and the standard deviations of both arms under it."""
    values = VALUES[cell.values].draw(draw, 1_000_000)[0]
    cap = float(np.quantile(values, VALUES[cell.values].cap or 1.0))
    spreads = (float(np.minimum(factor * values, cap).std()) for factor in (cell.factor, 1.0))
    return cap, *spreads


def _knowing(cell: ValueCell, drawn: tuple[np.ndarray, ...], cap: float, own: float, other: float) -> int:
    """Releases in which the evidence of a test that knows cap and variances ever suffices."""
    edges, hours, canary, x, _ = drawn
    place = np.repeat(np.arange(len(edges) - 1), np.diff(edges)) * int(cell.hours) + hours.astype(int)
    shape = (len(edges) - 1, int(cell.hours))

    def up_to(arm: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        counted = np.bincount(place[arm], None if weights is None else weights[arm], shape[0] * shape[1])
        return np.cumsum(counted.reshape(shape), axis=1)

    capped = np.minimum(x, cap)
    (n, ours), (m, theirs) = ((up_to(arm, None), up_to(arm, capped)) for arm in (canary, ~canary))
    variance = own**2 / np.maximum(n, 1) + other**2 / np.maximum(m, 1)
    lost = theirs / np.maximum(m, 1) - ours / np.maximum(n, 1)
    enough = (n >= MIN_PEOPLE) & (m >= MIN_PEOPLE)
    k = K_AT_GATE * variance[:, 23:24] / variance
    log_e = mixture_log_e(np.where(enough, lost / np.sqrt(variance), 0.0), k)
    return int((log_e.max(axis=1) >= -np.log(ALPHA)).sum())


def _as_judged(runs: int, part: float, per_hour: int, hours: int, rng: int) -> float:
    """False rollbacks for lost revenue, people by people through the evidence of the judged stages."""
    guardrail = Guardrail(Total("paid", "amount"), worse="lower", margin_ratio=0.8)
    looks = np.arange(1, hours + 1) * HOUR_US
    people = per_hour * hours
    draw = np.random.default_rng([rng, round(1000 * part)])
    false = 0
    for _ in range(runs):
        entered = np.sort(draw.integers(0, hours * HOUR_US, people))
        columns = {"entered_at": pd.to_datetime(entered, unit="us", utc=True)}
        units = pd.DataFrame(columns | {"canary": draw.random(people) < part})
        revenue = np.where(draw.random(people) < 0.03, draw.lognormal(3.0, 2.0, people), 0.0)
        outcomes = Outcomes(units, (guardrail.metric,), (None,), (revenue,), (np.ones(people),), (0,))
        series = value_series(outcomes, 0, looks, hours * HOUR_US)
        evidence = value_evidence(
            *series.contrast(1.0), *series.contrast(0.8), guardrail, 1.0, margin=-1.0, gate=24
        )
        false += bool(np.nanmax(evidence.harm_log_e) >= -np.log(ALPHA))
    return false / runs


def _false(runs: int, people: np.ndarray, others: np.ndarray, rng: int) -> dict[str, float]:
    units = np.cumsum(people + others)
    alarms: dict[str, list[np.ndarray]] = {}
    draw = np.random.default_rng(rng)
    for begin in range(0, runs, BLOCK):
        shape = (min(BLOCK, runs - begin), len(people))
        (ours, own), (theirs, other) = (_means(draw, arm, shape) for arm in (people, others))
        variance = own + other
        k = tuned_k(1, tuned_at=5000, sided="lower") * units
        gate = np.where(variance > 0, 6.3 * variance[:, 23:24] / np.where(variance > 0, variance, 1), 0.0)
        for rule, size in (("tuned at 5,000 people", np.broadcast_to(k, shape)), ("tuned at a day", gate)):
            test = mixture_test(ours - theirs, variance, k=size)
            assert test is not None
            alarm = test.log_e >= -np.log(ALPHA)
            alarms.setdefault(rule, []).append(alarm.any(axis=1))
            alarms.setdefault(f"{rule}, burn-in", []).append(alarm[:, 24:].any(axis=1))
    return {rule: float(np.concatenate(parts).mean()) for rule, parts in alarms.items()}


def _means(
    draw: np.random.Generator, people: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Running mean of the people so far, and its variance."""
    units = np.cumsum(people)
    paying = draw.binomial(people.astype(int), 0.03, shape)
    amounts = draw.lognormal(3.0, 2.0, int(paying.sum()))
    place = np.repeat(np.arange(paying.size), paying.ravel())
    total, squares = (
        np.cumsum(np.bincount(place, weights=values, minlength=paying.size).reshape(shape), axis=1)
        for values in (amounts, amounts**2)
    )
    mean = total / units
    return mean, (squares / units - mean**2) / units
