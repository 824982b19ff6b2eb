"""Conversion per period of the first step: one set of slots for every period in which an actor enters.

Trends know no ties, no thinning and no optional steps. The semantics are those of PostHog's funnel trends
engine (github.com/PostHog/posthog, funnel-udf).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from canarykit.funnels.engine.actor import load_actor, select_values, split_by_value
from canarykit.funnels.engine.scan_memory import (
    ALL_EVENTS,
    EMPTY,
    EXCLUSION_SHIFT,
    NO_VALUE,
    STEP_TOUCH,
    STEPS_MASK,
    STRICT,
    UNORDERED,
    Places,
    Rules,
)
from canarykit.funnels.engine.scan_unordered import clear_queues, drop_oldest, enqueue, oldest_queue

CLEAN, PARTIAL, FULL = 0, 1, 2
OPEN, CONVERTED = 0, 1
TREND_FIELDS = 5  # of an answer: actor, value, period, converted, deciding event


class PeriodPlaces(NamedTuple):
    """Where in the memory of an actor's periods each part begins; one element per period entered."""

    period: int
    state: int  # OPEN or CONVERTED
    best: int  # furthest step
    best_time: int
    best_event: int
    mark: int  # CLEAN, PARTIAL (excluded since) or FULL (excluded and gone on)
    start: int  # per period, slots 0..n
    excluded: int


def make_periods(n: int, most: int, *, plain: bool) -> tuple[Any, PeriodPlaces]:
    """Memory for one actor's `most` periods."""
    ends = np.cumsum([0, *[most] * 6, most * (n + 1), most * (n + 1)]).tolist()
    return [0] * ends[-1] if plain else np.zeros(ends[-1], np.int64), PeriodPlaces(*ends[:-1])


def run_trend_sorted(
    time: list[int],
    entry: list[int],
    value: list[int],
    period: list[int],
    starts: list[int],
    from_step: int,
    rules: Rules,
    blank: list[int],
    m: list[int],
    at: Places,
    p: list[int],
    inside: PeriodPlaces,
    answers: list[int],
    used: list[int],
) -> None:
    """Every actor of a list sorted by actor and time; actor i has events `starts[i]` to `starts[i + 1]`.

    `used[0]` counts the rows of `answers`.
    """
    for actor in range(len(starts) - 1):
        first = starts[actor]
        size = starts[actor + 1] - first
        load_actor(time, entry, value, first, size, m, at)
        n_values = 1
        if rules.attribution == NO_VALUE:
            m[at.values] = 0
        else:
            n_values = select_values(size, rules, blank, m, at)
        split = rules.attribution == ALL_EVENTS and n_values > 1
        if split:
            split_by_value(size, n_values, m, at)
        for i in range(n_values):
            code = m[at.values + i]
            wanted = code if rules.attribution == STEP_TOUCH else -1
            low = m[at.bounds + i] if split else 0
            high = m[at.bounds + i + 1] if split else size
            if rules.order == UNORDERED:
                n_periods = scan_unordered_trend(period, low, high, split, rules, wanted, m, at, p, inside)
            else:
                n_periods = scan_ordered_trend(period, low, high, split, rules, wanted, m, at, p, inside)
            write_periods(actor, code, n_periods, from_step, p, inside, answers, used)


def scan_ordered_trend(
    period: list[int],
    low: int,
    high: int,
    split: bool,
    rules: Rules,
    wanted: int,
    m: list[int],
    at: Places,
    p: list[int],
    inside: PeriodPlaces,
) -> int:
    """Ordered and strict: returns the number of periods entered."""
    time = at.sub_time if split else at.time
    entry = at.sub_entry if split else at.entry
    value = at.sub_value if split else at.value
    origin = at.sub_origin if split else at.origin
    n = rules.n
    n_periods = 0
    for e in range(low, high):
        moment, matches, event = m[time + e], m[entry + e], m[origin + e]
        other = wanted >= 0 and m[value + e] != wanted
        if matches > STEPS_MASK:
            for k in range(n, 1, -1):
                if (matches >> (EXCLUSION_SHIFT + k)) & 1:
                    for i in range(n_periods):
                        exclude_period(k, moment, i, rules, p, inside)
        for s in range(n, 0, -1):
            if not (matches >> (s - 1)) & 1 or (other and s - 1 == rules.attribution_step):
                continue
            if s == 1:
                n_periods = enter_period(period[event], moment, event, n_periods, n, p, inside)
            else:
                for i in range(n_periods):
                    advance_period(s, moment, event, i, rules, p, inside)
        if rules.order == STRICT:
            for s in range(1, n + 1):
                if not (matches >> (s - 1)) & 1:
                    for i in range(n_periods):
                        p[inside.start + i * (n + 1) + s] = EMPTY
    return n_periods


def find_period(number: int, n_periods: int, p: list[int], inside: PeriodPlaces) -> int:
    """Place of a period among those entered, newest looked at first; -1 when it is new."""
    for i in range(n_periods - 1, -1, -1):
        if p[inside.period + i] == number:
            return i
    return -1


def enter_period(
    number: int, moment: int, event: int, n_periods: int, n: int, p: list[int], inside: PeriodPlaces
) -> int:
    """A first step: opens its period, or starts anew in it. Returns the number of periods entered."""
    i = find_period(number, n_periods, p, inside)
    if i >= 0 and p[inside.state + i] == CONVERTED:
        return n_periods
    slots, excluded = inside.start + i * (n + 1), inside.excluded + i * (n + 1)
    if i >= 0 and not (p[inside.best + i] == 1 and p[inside.mark + i] != CLEAN):
        p[slots + 1] = moment
        p[excluded + 1] = 0
        return n_periods
    if i < 0:
        i = n_periods
        n_periods += 1
        slots, excluded = inside.start + i * (n + 1), inside.excluded + i * (n + 1)
    p[inside.period + i] = number
    p[inside.state + i] = OPEN
    for k in range(n + 1):
        p[slots + k] = EMPTY
        p[excluded + k] = 0
    p[slots + 1] = moment
    p[inside.best + i] = 1
    p[inside.best_time + i] = moment
    p[inside.best_event + i] = event
    p[inside.mark + i] = CLEAN
    return n_periods


def attempt_waits(s: int, moment: int, i: int, rules: Rules, p: list[int], inside: PeriodPlaces) -> bool:
    """Whether an attempt of period `i` waits for step `s` in its window and is not already there."""
    if p[inside.state + i] == CONVERTED:
        return False
    here = inside.start + i * (rules.n + 1) + s
    return moment - p[here - 1] <= rules.window and p[here] != p[here - 1]


def exclude_period(k: int, moment: int, i: int, rules: Rules, p: list[int], inside: PeriodPlaces) -> None:
    """An exclusion at step `k`: the period is partial unless something happens."""
    source = inside.excluded + i * (rules.n + 1) + k - 1
    if p[source] or not attempt_waits(k, moment, i, rules, p, inside):
        return
    p[source] = 1
    if p[inside.best + i] == k - 1 and moment - p[inside.best_time + i] <= rules.window:
        p[inside.mark + i] = PARTIAL


def advance_period(
    s: int, moment: int, event: int, i: int, rules: Rules, p: list[int], inside: PeriodPlaces
) -> None:
    """A later step, offered to one period."""
    if not attempt_waits(s, moment, i, rules, p, inside):
        return
    here = i * (rules.n + 1) + s
    poisoned = p[inside.excluded + here - 1]
    if not poisoned:
        p[inside.start + here] = p[inside.start + here - 1]
        p[inside.excluded + here] = 0
        if s == rules.goal:
            p[inside.state + i] = CONVERTED
            p[inside.best_event + i] = event
            return
    if s > p[inside.best + i] or (s == p[inside.best + i] and p[inside.mark + i] == PARTIAL):
        p[inside.best + i] = s
        p[inside.best_time + i] = moment
        p[inside.best_event + i] = event
        p[inside.mark + i] = FULL if poisoned else CLEAN


def scan_unordered_trend(
    period: list[int],
    low: int,
    high: int,
    split: bool,
    rules: Rules,
    wanted: int,
    m: list[int],
    at: Places,
    p: list[int],
    inside: PeriodPlaces,
) -> int:
    """Unordered: every event leaving the queues records progress for its own period."""
    time = at.sub_time if split else at.time
    entry = at.sub_entry if split else at.entry
    value = at.sub_value if split else at.value
    origin = at.sub_origin if split else at.origin
    n = rules.n
    clear_queues(n, m, at)
    done = 0
    n_periods = 0
    for e in range(low, high + 1):  # one turn more, to drain the queues
        ended = e == high
        here = high - 1 if ended else e
        while done > 0:
            oldest = oldest_queue(time, n, m, at)
            first = m[at.head + oldest]
            if not ended and done < n and m[time + first] + rules.window >= m[time + here]:
                break
            number, event = period[m[origin + first]], m[origin + here]
            n_periods = record_period(number, done, event, n_periods, rules.goal, p, inside)
            done -= drop_oldest(oldest, m, at)
        if ended:
            break
        if not m[entry + e] & STEPS_MASK:
            clear_queues(n, m, at)
            done = 0
        elif wanted < 0 or done != rules.attribution_step or m[value + e] == wanted:
            done += enqueue(e, time, m[entry + e], n, m, at)
    return n_periods


def record_period(
    number: int, done: int, event: int, n_periods: int, goal: int, p: list[int], inside: PeriodPlaces
) -> int:
    """Keep the most steps done in a period."""
    i = find_period(number, n_periods, p, inside)
    if i < 0:
        i = n_periods
        n_periods += 1
        p[inside.period + i] = number
        p[inside.best + i] = 0
        p[inside.mark + i] = CLEAN
        p[inside.state + i] = OPEN
    if done > p[inside.best + i]:
        p[inside.best + i] = done
        p[inside.best_event + i] = event
        p[inside.state + i] = CONVERTED if done >= goal else OPEN
    return n_periods


def write_periods(
    actor: int,
    code: int,
    n_periods: int,
    from_step: int,
    p: list[int],
    inside: PeriodPlaces,
    answers: list[int],
    used: list[int],
) -> None:
    """Converted periods, and open ones that got to `from_step`; one fully excluded period voids open ones."""
    voided = False
    for i in range(n_periods):
        if p[inside.mark + i] == FULL and p[inside.state + i] == OPEN:
            voided = True
    for i in range(n_periods):
        converted = p[inside.state + i] == CONVERTED
        entered = p[inside.best + i] >= from_step + 1 and p[inside.mark + i] != PARTIAL and not voided
        if converted or entered:
            row = used[0] * TREND_FIELDS
            used[0] += 1
            answers[row] = actor
            answers[row + 1] = code
            answers[row + 2] = p[inside.period + i]
            answers[row + 3] = 1 if converted else 0
            answers[row + 4] = p[inside.best_event + i]


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
