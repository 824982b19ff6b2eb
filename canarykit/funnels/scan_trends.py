"""Conversion per period of the first step: one set of slots for every period in which an actor enters.

Trends know no ties, no thinning and no optional steps. The semantics are those of PostHog's funnel trends
engine (github.com/PostHog/posthog, funnel-udf).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from canarykit.funnels.actor import select_values, split_by_value
from canarykit.funnels.rules import (
    ALL_EVENTS,
    EMPTY,
    EXCLUSION_SHIFT,
    NO_VALUE,
    STEP_TOUCH,
    STEPS_MASK,
    STRICT,
    UNORDERED,
    Rules,
    Work,
)
from canarykit.funnels.scan_unordered import drop_oldest, enqueue, oldest_queue

__all__ = ["KERNELS", "Periods", "TrendEntries", "make_periods", "make_trend_entries", "run_trend_sorted"]

CLEAN, PARTIAL, FULL = 0, 1, 2
OPEN, CONVERTED = 0, 1


class Periods(NamedTuple):
    """The periods one actor has entered under one value."""

    period: Any
    state: Any  # OPEN or CONVERTED
    start: Any  # per period, slots 0..n
    excluded: Any
    best: Any  # furthest step
    best_time: Any
    best_event: Any
    mark: Any  # CLEAN, PARTIAL (excluded since) or FULL (excluded and gone on)


class TrendEntries(NamedTuple):
    """Answers: one row per actor, value and period."""

    size: Any
    actor: Any
    value: Any
    period: Any
    converted: Any
    event: Any


def make_periods(n: int, most: int, *, plain: bool) -> Periods:
    """Room for one actor's `most` periods."""

    def block(size: int) -> Any:
        return [0] * size if plain else np.zeros(size, dtype=np.int64)

    return Periods(
        block(most),
        block(most),
        block(most * (n + 1)),
        block(most * (n + 1)),
        block(most),
        block(most),
        block(most),
        block(most),
    )


def make_trend_entries(capacity: int) -> TrendEntries:
    """Room for `capacity` answers."""
    return TrendEntries(
        np.zeros(1, np.int64),
        np.empty(capacity, np.int64),
        np.empty(capacity, np.int32),
        np.empty(capacity, np.int32),
        np.empty(capacity, np.int8),
        np.empty(capacity, np.int64),
    )


def run_trend_sorted(
    time: list[int],
    entry: list[int],
    value: list[int],
    period: list[int],
    starts: list[int],
    from_step: int,
    rules: Rules,
    blank: list[int],
    work: Work,
    periods: Periods,
    entries: TrendEntries,
) -> None:
    """Every actor of a list sorted by actor and time; actor i has events `starts[i]` to `starts[i + 1]`."""
    for actor in range(len(starts) - 1):
        low = starts[actor]
        size = starts[actor + 1] - low
        for e in range(size):
            work.time[e] = time[low + e]
            work.entry[e] = entry[low + e]
            work.value[e] = value[low + e]
            work.origin[e] = low + e
        n_values = 1
        if rules.attribution != NO_VALUE:
            n_values = select_values(size, rules, blank, work)
        split = 1 if rules.attribution == ALL_EVENTS and n_values > 1 else 0
        if split:
            split_by_value(size, n_values, work)
        for i in range(n_values):
            code = 0 if rules.attribution == NO_VALUE else work.values[i]
            wanted = code if rules.attribution == STEP_TOUCH else -1
            first = work.bounds[i] if split else 0
            last = work.bounds[i + 1] if split else size
            if rules.order == UNORDERED:
                found = scan_unordered_trend(period, first, last, split, rules, wanted, work, periods)
            else:
                found = scan_ordered_trend(period, first, last, split, rules, wanted, work, periods)
            write_periods(actor, code, found, from_step, rules, periods, entries)


def scan_ordered_trend(
    period: list[int],
    low: int,
    high: int,
    split: int,
    rules: Rules,
    wanted: int,
    work: Work,
    periods: Periods,
) -> int:
    """Ordered and strict: returns the number of periods entered."""
    time = work.sub_time if split else work.time
    entry = work.sub_entry if split else work.entry
    value = work.sub_value if split else work.value
    origin = work.sub_origin if split else work.origin
    n = rules.n
    found = 0
    for e in range(low, high):
        matches = entry[e]
        other = wanted >= 0 and value[e] != wanted
        if matches > STEPS_MASK:
            for k in range(n, 1, -1):
                if (matches >> (EXCLUSION_SHIFT + k)) & 1:
                    for i in range(found):
                        exclude_period(k, time[e], i, rules, periods)
        for s in range(n, 0, -1):
            if not (matches >> (s - 1)) & 1 or (other and s - 1 == rules.attribution_step):
                continue
            if s == 1:
                found = enter_period(period[origin[e]], time[e], origin[e], found, n, periods)
            else:
                for i in range(found):
                    advance_period(s, time[e], origin[e], i, rules, periods)
        if rules.order == STRICT:
            for s in range(1, n + 1):
                if not (matches >> (s - 1)) & 1:
                    for i in range(found):
                        periods.start[i * (n + 1) + s] = EMPTY
    return found


def find_period(number: int, found: int, periods: Periods) -> int:
    """Place of a period among those entered, newest looked at first; -1 when it is new."""
    for i in range(found - 1, -1, -1):
        if periods.period[i] == number:
            return i
    return -1


def enter_period(number: int, moment: int, event: int, found: int, n: int, periods: Periods) -> int:
    """A first step: opens its period, or starts anew in it. Returns the number of periods entered."""
    i = find_period(number, found, periods)
    if i >= 0 and periods.state[i] == CONVERTED:
        return found
    if i >= 0 and not (periods.best[i] == 1 and periods.mark[i] != CLEAN):
        periods.start[i * (n + 1) + 1] = moment
        periods.excluded[i * (n + 1) + 1] = 0
        return found
    if i < 0:
        i = found
        found += 1
    periods.period[i] = number
    periods.state[i] = OPEN
    for k in range(n + 1):
        periods.start[i * (n + 1) + k] = EMPTY
        periods.excluded[i * (n + 1) + k] = 0
    periods.start[i * (n + 1) + 1] = moment
    periods.best[i] = 1
    periods.best_time[i] = moment
    periods.best_event[i] = event
    periods.mark[i] = CLEAN
    return found


def attempt_waits(s: int, moment: int, i: int, rules: Rules, periods: Periods) -> bool:
    """Whether an attempt of period `i` waits for step `s` in its window and is not already there."""
    if periods.state[i] == CONVERTED:
        return False
    here = i * (rules.n + 1) + s
    return moment - periods.start[here - 1] <= rules.window and periods.start[here] != periods.start[here - 1]


def exclude_period(k: int, moment: int, i: int, rules: Rules, periods: Periods) -> None:
    """An exclusion at step `k`: the period is partial unless something happens."""
    if not attempt_waits(k, moment, i, rules, periods):
        return
    source = i * (rules.n + 1) + k - 1
    if periods.excluded[source]:
        return
    periods.excluded[source] = 1
    if periods.best[i] == k - 1 and moment - periods.best_time[i] <= rules.window:
        periods.mark[i] = PARTIAL


def advance_period(s: int, moment: int, event: int, i: int, rules: Rules, periods: Periods) -> None:
    """A later step, offered to one period."""
    if not attempt_waits(s, moment, i, rules, periods):
        return
    here = i * (rules.n + 1) + s
    poisoned = periods.excluded[here - 1]
    if not poisoned:
        periods.start[here] = periods.start[here - 1]
        periods.excluded[here] = 0
        if s == rules.n:
            periods.state[i] = CONVERTED
            periods.best_event[i] = event
            return
    if s > periods.best[i] or (s == periods.best[i] and periods.mark[i] == PARTIAL):
        periods.best[i] = s
        periods.best_time[i] = moment
        periods.best_event[i] = event
        periods.mark[i] = FULL if poisoned else CLEAN


def scan_unordered_trend(
    period: list[int],
    low: int,
    high: int,
    split: int,
    rules: Rules,
    wanted: int,
    work: Work,
    periods: Periods,
) -> int:
    """Unordered: every event leaving the queues records progress for its own period."""
    time = work.sub_time if split else work.time
    entry = work.sub_entry if split else work.entry
    value = work.sub_value if split else work.value
    origin = work.sub_origin if split else work.origin
    n = rules.n
    for k in range(n):
        work.head[k] = -1
    done = 0
    found = 0
    for e in range(low, high + 1):  # one turn more, to drain the queues
        ended = e == high
        here = high - 1 if ended else e
        while done > 0:
            oldest = oldest_queue(time, n, work)
            if not ended and done < n and time[work.head[oldest]] + rules.window >= time[here]:
                break
            leaving = origin[work.head[oldest]]
            found = record_period(period[leaving], done, origin[here], found, n, periods)
            done -= drop_oldest(oldest, work)
        if ended:
            break
        if not entry[e] & STEPS_MASK:
            for k in range(n):
                work.head[k] = -1
            done = 0
            continue
        if wanted >= 0 and done == rules.attribution_step and value[e] != wanted:
            continue
        done += enqueue(e, time, entry, n, work)
    return found


def record_period(number: int, done: int, event: int, found: int, n: int, periods: Periods) -> int:
    """Keep the most steps done in a period."""
    i = find_period(number, found, periods)
    if i < 0:
        i = found
        found += 1
        periods.period[i] = number
        periods.best[i] = 0
        periods.mark[i] = CLEAN
        periods.state[i] = OPEN
    if done > periods.best[i]:
        periods.best[i] = done
        periods.best_event[i] = event
        periods.state[i] = CONVERTED if done >= n else OPEN
    return found


def write_periods(
    actor: int, code: int, found: int, from_step: int, rules: Rules, periods: Periods, entries: TrendEntries
) -> None:
    """Converted periods, and open ones that got to `from_step`; one fully excluded period voids open ones."""
    voided = False
    for i in range(found):
        if periods.mark[i] == FULL and periods.state[i] == OPEN:
            voided = True
    for i in range(found):
        converted = periods.state[i] == CONVERTED
        entered = periods.best[i] >= from_step + 1 and periods.mark[i] != PARTIAL and not voided
        if converted or entered:
            row = entries.size[0]
            entries.size[0] = row + 1
            entries.actor[row] = actor
            entries.value[row] = code
            entries.period[row] = periods.period[i]
            entries.converted[row] = 1 if converted else 0
            entries.event[row] = periods.best_event[i]


KERNELS = (
    find_period,
    enter_period,
    attempt_waits,
    exclude_period,
    advance_period,
    scan_ordered_trend,
    record_period,
    scan_unordered_trend,
    write_periods,
    run_trend_sorted,
)
"""For compilation, callees first."""
