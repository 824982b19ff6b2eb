"""Releases that change nothing, under everything that might make them look otherwise, at every look.

Common and rare events, at once and days later, little and much traffic, canaries of 1 to 99 %, hazards that
fall, rise, swing or differ between people, ramps with returning people, looks every five minutes to daily;
limits that are just kept; differences of a funnel; value guardrails called before the gate. Each line is
held to its promise plus three Monte-Carlo standard errors.
"""

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np

from benchmarks.calibrate.judged import judged
from canarykit.health.evidence import event_mixtures
from canarykit.metrics.risk import RiskSets, risk_sets
from canarykit.stats import mixture_log_e
from canarykit.stats.any_look.share_limits import share_limit_log_e

__all__ = ["calls_before_the_gate", "event_attacks", "limits_kept"]

ALPHA = 0.05
HOUR = 3_600_000_000
HOURS = 48
Floats = np.ndarray
Lag = Callable[[np.random.Generator, Floats], Floats]


def share_of(rate: float, lag: float) -> Lag:
    """This share has the event, after an exponential lag of so many hours; the others never."""
    return lambda rng, entered: np.where(
        rng.random(len(entered)) < rate, lag * rng.exponential(size=len(entered)), np.inf
    )


def weibull(shape: float) -> Lag:
    """Hazards that fall (below 1) or rise (above 1) with the time since exposure."""
    return lambda rng, entered: 12 * rng.weibull(shape, len(entered))


def frail(rng: np.random.Generator, entered: Floats) -> Floats:
    """People who differ: gamma frailty of variance 5."""
    return rng.exponential(size=len(entered)) / (0.3 * rng.gamma(0.2, 5.0, len(entered)) + 1e-12)


def swinging(rng: np.random.Generator, entered: Floats) -> Floats:
    """By day most newcomers have it within minutes, by night nobody; some have it later."""
    late = np.where(rng.random(len(entered)) < 0.3, rng.exponential(10, len(entered)), np.inf)
    return np.where(entered % 24 > 8, np.where(rng.random(len(entered)) < 0.8, 0.05, late), late)


LAGS: dict[str, Lag] = {
    **{
        f"{rate:.0%} after {lag:g} h": share_of(rate, lag)
        for rate, lag in product((0.1, 0.3, 0.6, 0.8, 0.95), (0.05, 1.0, 12.0))
    },
    "hazard falls": weibull(0.4),
    "hazard rises": weibull(3.0),
    "people differ": frail,
    "day and night": swinging,
}
SHARES = (0.01, 0.05, 0.5, 0.95, 0.99)
TRAFFIC = (20, 100)


def event_attacks(rows: int, rng: int = 71) -> Iterator[dict[str, Any]]:
    """False rollbacks of the event evidence: 19 hazards x 5 shares x 2 traffics, ramps, and other looks."""
    table = "events of a release that changes nothing, every look"
    runs = min(rows, 4000)
    for i, ((name, lag), share, traffic) in enumerate(product(LAGS.items(), SHARES, TRAFFIC)):
        margin = (1.25, 0.95)[i % 2]
        stages = [(share, 0.0, float(HOURS))]
        found = _rolled_back(np.random.default_rng([rng, i]), runs, lag, stages, traffic, margin)
        rule = f"{name}, {traffic} an hour, canary {share:.0%}, margin {margin:g}"
        yield judged(table, rule, 1, runs, found, bound=ALPHA)
    ramp = [(0.05, 0.0, 24.0), (0.25, 24.0, 48.0), (0.5, 48.0, 72.0)]
    few = min(rows, 1000)
    for i, (name, lag) in enumerate(LAGS.items()):
        found = _rolled_back(np.random.default_rng([rng, 1000 + i]), few, lag, ramp, 50, 0.95)
        rule = f"{name}, 50 an hour, ramp of 5, 25 and 50 % as one, everybody returns"
        yield judged(table, rule, 1, few, found, bound=ALPHA)
    for minutes in (5, 1440):
        for i, name in enumerate(("60% after 0.05 h", "95% after 0.05 h", "30% after 12 h")):
            draw = np.random.default_rng([rng, 2000 + minutes + i])
            stages = [(0.5, 0.0, float(HOURS))]
            found = _rolled_back(draw, few, LAGS[name], stages, 50, 0.95, step=minutes * HOUR // 60)
            yield judged(table, f"{name}, 50 an hour, looks every {minutes} min", 1, few, found, bound=ALPHA)


def _rolled_back(
    rng: np.random.Generator,
    runs: int,
    lag: Lag,
    stages: list[tuple[float, float, float]],
    traffic: float,
    margin: float,
    *,
    step: int = HOUR,
) -> float:
    """Share of the runs in which the harm evidence reaches 20 at some look.

    Stages are (canary share, from hour, to hour). In each later one everybody seen before and without the
    event comes back within its first six hours, with the arm of the same bucket.
    """
    lower = margin < 1
    mixture = event_mixtures(1 / margin if lower else margin)[0]
    columns = []
    for _ in range(runs):
        last = stages[-1][2]
        entered = rng.random(rng.poisson(traffic * last)) * last
        bucket, happens = rng.random(len(entered)), entered + lag(rng, entered)
        parts = []
        for place, (share, since, until) in enumerate(stages):
            back = (entered < since) & (happens >= since)
            new = (entered >= since) & (entered < until)
            here = back | new
            start = np.where(back, since + 6 * rng.random(len(entered)), entered)[here]
            stop = np.full(len(start), until)
            when = happens[here]
            first = np.where((when >= start) & (when < stop), when, -1 / HOUR)
            parts.append(
                risk_sets(
                    *(np.round(column * HOUR).astype(np.int64) for column in (start, stop, first)),
                    bucket[here] < share,
                    origin=int(since * HOUR),
                    step=step,
                    n_intervals=int((until - since) * HOUR // step),
                    strata=back[here].astype(np.int64) if place else None,
                )
            )
        sets = parts[0] if len(parts) == 1 else RiskSets.joined(parts)
        columns.append((sets.swapped() if lower else sets).counts(mixture.null_ratio))
    x, n, canary, control = (np.stack(column) for column in zip(*columns, strict=True))
    reached = [
        (mixture.log_e(x[b], n[b], canary[b], control[b]) >= -math.log(ALPHA)).any(axis=1)
        for b in (slice(at, at + 200) for at in range(0, runs, 200))
    ]
    return float(np.concatenate(reached).mean())


def limits_kept(rows: int, rng: int = 72) -> Iterator[dict[str, Any]]:
    """Both arms, or the canary alone, exactly at an absolute limit, looked at hourly."""
    table = "limits that are just kept, every look"
    for limit, traffic, hours in product((0.01, 0.05, 0.5, 0.9), (20, 250), (72, 336)):
        draw = np.random.default_rng([rng, round(100 * limit), traffic, hours])
        x = np.cumsum(draw.binomial(traffic, limit, (rows, hours)), axis=1)
        n = np.arange(1, hours + 1) * traffic
        for side in ("above", "below"):
            broken = (share_limit_log_e(x, n, limit, side) >= -math.log(ALPHA)).any(axis=1).mean()
            rule = f"limit {limit:.0%}, {side}, {traffic} an hour, {hours} h"
            yield judged(table, rule, 1, rows, float(broken), bound=ALPHA)


def calls_before_the_gate(rows: int, rng: int = 73) -> Iterator[dict[str, Any]]:
    """A value guardrail called every five minutes to hourly before its gate of a week: one sequence."""
    table = "value guardrails called before the gate"
    runs = min(rows, 4000)
    for minutes in (5, 15, 60):
        steps = 7 * 24 * 60 // minutes
        walk = np.cumsum(np.random.default_rng([rng, minutes]).standard_normal((runs, steps)), axis=1)
        time = np.arange(1, steps + 1)
        log_e = mixture_log_e(walk / np.sqrt(time), 6.3 * time / steps, "one")
        crossed = float((log_e[:, time >= steps // 168] >= -math.log(ALPHA)).any(axis=1).mean())
        yield judged(table, f"a call every {minutes} min", 1, runs, crossed, bound=ALPHA)
