"""Ordered and strict funnels: one actor's events, in time order, through slots of attempts.

Slot k holds the newest attempt that has done k steps. An event moves an attempt by one step only, because
its steps are tried from the highest down; a later first step starts a new attempt in slot 1 beside the older
ones; the best attempt is the first that got furthest. The semantics are those of PostHog's funnel engine
(github.com/PostHog/posthog, funnel-udf).
"""

from __future__ import annotations

from canarykit.funnels.rules import EMPTY, EXCLUSION_SHIFT, MAX_FURTHER, STEPS_MASK, STRICT, Rules, Work

__all__ = ["KERNELS", "scan_ordered"]


def scan_ordered(
    time: list[int],
    entry: list[int],
    value: list[int],
    low: int,
    high: int,
    rules: Rules,
    tie: int,
    wanted: int,
    work: Work,
    detail: int,
) -> int:
    """Scan events `low` to `high`; the answer is in `work.best*`. Returns the furthest step, 0 for none.

    `tie` is how far apart events may be and still count as simultaneous. `wanted` is the value required at
    the attribution step, -1 when any will do. 0 is also the answer when an exclusion removed the actor.
    """
    n = rules.n
    for k in range(n + 1):
        work.start[k] = EMPTY
    work.best[0] = 0
    work.best[2] = 0
    if detail:
        for k in range(n):
            work.n_further[k] = 0
    i = low
    while i < high:
        moment = time[i]
        mixed = False
        j = i + 1
        while j < high and time[j] - moment <= tie:
            mixed = mixed or entry[j] != entry[i]
            j += 1
        work.start[0] = moment
        work.excluded[0] = 0
        work.bits[0] = 0
        work.count[0] = 0
        if (
            mixed
        ):  # simultaneous events of different kinds: steps in order, exclusions and strictness set aside
            for s in range(1, n + 1):
                for e in range(i, j):
                    if (entry[e] >> (s - 1)) & 1:
                        advance(s, moment, e, value[e], 1, rules, wanted, work, detail)
        else:
            for e in range(i, j):
                matches = entry[e]
                if matches > STEPS_MASK:
                    for k in range(n, 1, -1):
                        if (matches >> (EXCLUSION_SHIFT + k)) & 1:
                            exclude(k, time[e], rules, work)
                for s in range(n, 0, -1):
                    if (matches >> (s - 1)) & 1:
                        advance(s, time[e], e, value[e], 0, rules, wanted, work, detail)
                if rules.order == STRICT:
                    for k in range(1, n + 1):
                        if not (matches >> (k - 1)) & 1:
                            work.start[k] = EMPTY
        if work.start[n] != EMPTY:
            break
        i = j
    return 0 if work.best[2] else work.best[0]


def advance(
    s: int, moment: int, e: int, value: int, shared: int, rules: Rules, wanted: int, work: Work, detail: int
) -> None:
    """Offer event `e` as step `s` to the attempt before it; `shared` = one of several simultaneous events."""
    n = rules.n
    p = source_slot(s, moment, rules, work)
    if p < 0:
        return
    if wanted >= 0 and p == rules.attribution_step and value != wanted:
        return
    held = work.count[p]
    if shared:  # an event may serve an attempt once
        for k in range(held):
            if work.events[p * n + k] == e:
                return
    optional = (rules.optional >> (s - 1)) & 1
    poisoned = work.excluded[p]
    target = s * n
    if not poisoned:
        for k in range(held):
            work.times[target + k] = work.times[p * n + k]
            work.events[target + k] = work.events[p * n + k]
        work.start[s] = work.start[p]
        work.excluded[s] = 0
        work.bits[s] = work.bits[p] | (1 << (s - 1))
        work.count[s] = held
        if not optional:  # an optional step moves the attempt on but leaves no time behind
            work.times[target + held] = moment
            work.events[target + held] = e
            work.count[s] = held + 1
        if detail and work.n_further[p] < MAX_FURTHER:
            work.further[p * MAX_FURTHER + work.n_further[p]] = e
            work.n_further[p] += 1
    if s > work.best[0] or (s == work.best[0] and work.best[2]):
        work.best[0] = s
        work.best[1] = work.start[p]
        work.best[2] = poisoned
        if not poisoned:
            work.best[3] = work.count[s]
            work.best[4] = work.bits[s]
            for k in range(work.count[s]):
                work.best_times[k] = work.times[target + k]
                work.best_events[k] = work.events[target + k]


def exclude(k: int, moment: int, rules: Rules, work: Work) -> None:
    """Poison the attempt waiting for step `k`, and the best one when it is as far and still in its window."""
    p = source_slot(k, moment, rules, work)
    if p < 0 or work.excluded[p]:
        return
    work.excluded[p] = 1
    if work.best[0] == p and moment - work.best[1] <= rules.window:
        work.best[2] = 1


def source_slot(s: int, moment: int, rules: Rules, work: Work) -> int:
    """The slot an event of step `s` continues, past optional steps not done; -1 when there is none.

    None when no attempt waits there within its window, or when slot `s` already holds that same attempt:
    a repeated step keeps its first occurrence.
    """
    p = s - 1
    alive = moment - work.start[p] <= rules.window
    while p > 0 and not alive and (rules.optional >> (p - 1)) & 1:
        p -= 1
        alive = moment - work.start[p] <= rules.window
    if not alive or work.start[s] == work.start[p]:
        return -1
    return p


KERNELS = (source_slot, exclude, advance, scan_ordered)
"""For compilation, callees first."""
