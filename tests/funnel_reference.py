"""PostHog's funnel rules, slowly and obviously, one actor at a time.

Written from the published behaviour of PostHog's funnel engine, in the terms of its documentation: attempts
are objects, events carry lists of steps, times are whatever numbers the caller uses. Nothing is shared with
the engine under test. Steps count from 1, as inside PostHog.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from itertools import groupby


@dataclass
class Event:
    time: int
    steps: list  # steps matched, ascending
    exclusions: list = field(default_factory=list)  # k: exclusion at step k
    value: object = None
    id: int = 0
    period: int = 0

    @property
    def entries(self):
        return [*self.steps, *(-k for k in self.exclusions)]


@dataclass
class Attempt:
    start: int
    excluded: bool = False
    times: list = field(default_factory=list)
    ids: list = field(default_factory=list)
    done: set = field(default_factory=set)


@dataclass
class Funnel:
    n: int
    window: int
    order: str = "ordered"
    optional: tuple = ()  # step numbers
    attribution: str | None = None  # first_touch, last_touch, all_events, step
    attribution_step: int = 0  # 0-based
    plain_values: bool = False  # group breakdown
    tie: int = 0


def funnel_of(events, funnel):
    """{value: (steps done, times, ids)} of one actor with sorted events; missing = in no step."""
    events = thinned(events)
    answers = {}
    for value in values_of(events, funnel):
        mine = [e for e in events if e.value == value] if funnel.attribution == "all_events" else events
        wanted = value if funnel.attribution == "step" else None
        if funnel.order == "unordered":
            answer = unordered(mine, funnel, wanted)
        else:
            exact = funnel.order == "strict" or any(e.exclusions for e in events)
            answer = ordered(mine, funnel, wanted, 0 if exact else funnel.tie)
        if answer is not None:
            answers[value] = answer
    return answers


def is_blank(value):
    return not any(value) if isinstance(value, tuple) else value == ""


def values_of(events, funnel):
    if funnel.attribution is None:
        return [None]
    if funnel.attribution in ("first_touch", "last_touch"):
        ordered_events = events if funnel.attribution == "first_touch" else events[::-1]
        if funnel.plain_values:
            return [ordered_events[0].value]
        filled = [e.value for e in ordered_events if not is_blank(e.value)]
        return [filled[0]] if filled else [events[0].value]
    if funnel.attribution == "all_events" or funnel.order == "unordered":
        return distinct(e.value for e in events)
    values = distinct(e.value for e in events if funnel.attribution_step + 1 in e.steps)
    return values or ([""] if funnel.plain_values else [])


def distinct(values):
    return list(dict.fromkeys(values))


def thinned(events):
    """Drop repeats between equal neighbours; the list is a ring, so its first and last event stay."""
    kept = []
    for i, event in enumerate(events):
        before, after = events[i - 1], events[(i + 1) % len(events)]
        same = before.entries == event.entries == after.entries and before.value == event.value == after.value
        moving = before.time < event.time < after.time
        if not (len(event.entries) <= 1 and same and moving):
            kept.append(event)
    return kept


def simultaneous(events, width):
    if width == 0:
        return [list(group) for _, group in groupby(events, key=lambda e: e.time)]
    groups = []
    for event in events:
        if groups and event.time - groups[-1][0].time <= width:
            groups[-1].append(event)
        else:
            groups.append([event])
    return groups


def ordered(events, funnel, wanted, tie):
    slots = [None] * (funnel.n + 1)
    best_step, best = 0, None

    def alive(k, now):
        return slots[k] is not None and now - slots[k].start <= funnel.window

    def handle(event, shared):
        nonlocal best_step, best
        for entry in reversed(event.entries):
            s = abs(entry)
            previous = s - 1
            while previous > 0 and not alive(previous, event.time) and previous in funnel.optional:
                previous -= 1
            if not alive(previous, event.time):
                continue
            source = slots[previous]
            if slots[s] is not None and slots[s].start == source.start:
                continue
            if entry < 0:
                if not source.excluded:
                    source.excluded = True
                    if best_step == previous and event.time - best.start <= funnel.window:
                        best.excluded = True
                continue
            mismatch = wanted is not None and previous == funnel.attribution_step and event.value != wanted
            if mismatch or (shared and event.id in source.ids):
                continue
            attempt = deepcopy(source)
            attempt.done.add(s)
            if s not in funnel.optional:
                attempt.times.append(event.time)
                attempt.ids.append(event.id)
            if not source.excluded:
                slots[s] = deepcopy(attempt)
            if s > best_step or (s == best_step and best.excluded):
                best_step, best = s, deepcopy(attempt)
        if funnel.order == "strict" and not shared:
            for k in range(1, funnel.n + 1):
                if k not in event.steps:
                    slots[k] = None

    for group in simultaneous(events, tie):
        slots[0] = Attempt(group[0].time)
        if len({tuple(e.entries) for e in group}) == 1:
            for event in group:
                handle(event, shared=False)
        else:
            singles = [
                Event(group[0].time, [s], [], e.value, e.id)
                for s in range(1, funnel.n + 1)
                for e in group
                if s in e.steps
            ]
            for event in singles:
                handle(event, shared=True)
        if slots[funnel.n] is not None:
            break
    if best_step == 0 or best.excluded:
        return None
    return best.done, best.times, best.ids


def unordered(events, funnel, wanted):
    queues = [[] for _ in range(funnel.n)]
    best_step, best = 0, []

    def done():
        return sum(1 for queue in queues if queue)

    def record():
        nonlocal best_step, best
        if done() > best_step:
            best_step = done()
            best = sorted((queue[0] for queue in queues if queue), key=lambda e: e.time)

    for event in events:
        while done():
            oldest = min((queue for queue in queues if queue), key=lambda queue: queue[0].time)
            if not (done() == funnel.n or oldest[0].time + funnel.window < event.time):
                break
            record()
            oldest.pop(0)
        if best_step == funnel.n:
            break
        if not event.steps:
            queues = [[] for _ in range(funnel.n)]
            continue
        if wanted is not None and done() == funnel.attribution_step and event.value != wanted:
            continue
        into = min(event.steps, key=lambda s: queues[s - 1][-1].time if queues[s - 1] else 0)
        queues[into - 1].append(event)
    record()
    if best_step == 0:
        return None
    return set(range(1, best_step + 1)), [e.time for e in best], [e.id for e in best]


def trend_of(events, funnel, from_step, goal):
    """{(value, period): converted} of one actor; `goal` steps convert."""
    answers = {}
    for value in values_of(events, funnel):
        mine = [e for e in events if e.value == value] if funnel.attribution == "all_events" else events
        wanted = value if funnel.attribution == "step" else None
        scan = unordered_trend if funnel.order == "unordered" else ordered_trend
        for period, converted in scan(mine, funnel, wanted, from_step, goal).items():
            answers[value, period] = converted
    return answers


@dataclass
class Period:
    starts: list
    poisoned: list
    best: int
    best_time: int
    mark: str = "clean"


def ordered_trend(events, funnel, wanted, from_step, goal):
    n = funnel.n
    periods, converted = {}, {}
    for event in events:
        for entry in reversed(event.entries):
            s = abs(entry)
            mismatch = wanted is not None and s - 1 == funnel.attribution_step and event.value != wanted
            if s == 1:
                if mismatch or event.period in converted:
                    continue
                attempt = periods.get(event.period)
                if attempt is None or (attempt.best == 1 and attempt.mark != "clean"):
                    fresh = Period([None] * (n + 1), [False] * (n + 1), 1, event.time)
                    fresh.starts[1] = event.time
                    periods[event.period] = fresh
                else:
                    attempt.starts[1], attempt.poisoned[1] = event.time, False
                continue
            for number, period in list(periods.items()):
                start = period.starts[s - 1]
                if start is None or event.time - start > funnel.window or period.starts[s] == start:
                    continue
                if entry < 0:
                    if not period.poisoned[s - 1]:
                        period.poisoned[s - 1] = True
                        if period.best == s - 1 and event.time - period.best_time <= funnel.window:
                            period.mark = "partial"
                    continue
                if mismatch:
                    continue
                poisoned = period.poisoned[s - 1]
                if not poisoned:
                    period.starts[s], period.poisoned[s] = start, False
                    if s == goal:
                        converted[number] = True
                        del periods[number]
                        continue
                if s > period.best or (s == period.best and period.mark == "partial"):
                    period.best, period.best_time = s, event.time
                    period.mark = "full" if poisoned else "clean"
        if funnel.order == "strict":
            for period in periods.values():
                for k in range(1, n + 1):
                    if k not in event.steps:
                        period.starts[k] = None
    entered = dict.fromkeys(converted, True)
    if not any(period.mark == "full" for period in periods.values()):
        for number, period in periods.items():
            if period.best >= from_step + 1 and period.mark != "partial":
                entered[number] = False
    return entered


def unordered_trend(events, funnel, wanted, from_step, goal):
    queues = [[] for _ in range(funnel.n)]
    best = {}

    def done():
        return sum(1 for queue in queues if queue)

    def drop_oldest():
        oldest = min((queue for queue in queues if queue), key=lambda queue: queue[0].time)
        period = oldest[0].period
        best[period] = max(best.get(period, 0), done())
        oldest.pop(0)

    for event in events:
        while done():
            first = min(queue[0].time for queue in queues if queue)
            if not (done() == funnel.n or first + funnel.window < event.time):
                break
            drop_oldest()
        if not event.steps:
            queues = [[] for _ in range(funnel.n)]
            continue
        if wanted is not None and done() == funnel.attribution_step and event.value != wanted:
            continue
        into = min(event.steps, key=lambda s: queues[s - 1][-1].time if queues[s - 1] else 0)
        queues[into - 1].append(event)
    while done():
        drop_oldest()
    return {period: steps >= goal for period, steps in best.items() if steps >= from_step + 1}
