"""Ordered and strict funnels: one actor's events, in time order, through slots of attempts.

Slot k holds the newest attempt that has done k steps. An event moves an attempt by one step only, because
its steps are tried from the highest down; a later first step starts a new attempt in slot 1 beside the older
ones; the best attempt is the first that got furthest. The semantics are those of PostHog's funnel engine
(github.com/PostHog/posthog, funnel-udf).

The same window and exclusions stand in `scan_trends` for a funnel by period, in `packed.scan_single_matches`
for steps that no event shares, and as SQL in `canarykit.metrics.sql` for a guardrail: tests hold them to one
another.
"""

from __future__ import annotations

from canarykit.funnels.engine.scan_memory import (
    BEST_BITS,
    BEST_COUNT,
    BEST_EXCLUDED,
    BEST_START,
    BEST_STEP,
    EMPTY,
    EXCLUSION_SHIFT,
    MAX_FURTHER,
    STEPS_MASK,
    STRICT,
    Places,
    Rules,
)


def scan_ordered(
    time: int,
    entry: int,
    value: int,
    low: int,
    high: int,
    rules: Rules,
    tie: int,
    wanted: int,
    m: list[int],
    at: Places,
) -> int:
    """Scan events `low` to `high` of the lists that begin at `time`, `entry`, `value` in the memory `m`.

    `tie` is how far apart events may be and still count as simultaneous; `wanted` the value required at the
    attribution step, -1 when any will do. The answer is at `at.best*`; returns the furthest step, 0 when no
    step was done or an exclusion removed the actor.
    """
    n = rules.n
    for k in range(n + 1):
        m[at.start + k] = EMPTY
    m[at.best + BEST_STEP] = 0
    m[at.best + BEST_EXCLUDED] = 0
    if rules.detail:
        for k in range(n):
            m[at.n_further + k] = 0
    i = low
    while i < high:
        moment = m[time + i]
        mixed = False
        j = i + 1
        while j < high and m[time + j] - moment <= tie:
            mixed = mixed or m[entry + j] != m[entry + i]
            j += 1
        m[at.start] = moment
        m[at.excluded] = 0
        m[at.bits] = 0
        m[at.held] = 0
        if (
            mixed
        ):  # simultaneous events of different kinds: steps in order, exclusions and strictness set aside
            for s in range(1, n + 1):
                for e in range(i, j):
                    if (m[entry + e] >> (s - 1)) & 1:
                        advance(s, moment, e, m[value + e], mixed, rules, wanted, m, at)
        else:
            for e in range(i, j):
                matches = m[entry + e]
                if matches > STEPS_MASK:
                    for k in range(n, 1, -1):
                        if (matches >> (EXCLUSION_SHIFT + k)) & 1:
                            exclude(k, m[time + e], rules, m, at)
                for s in range(n, 0, -1):
                    if (matches >> (s - 1)) & 1:
                        advance(s, m[time + e], e, m[value + e], mixed, rules, wanted, m, at)
                if rules.order == STRICT:
                    for k in range(1, n + 1):
                        if not (matches >> (k - 1)) & 1:
                            m[at.start + k] = EMPTY
        if m[at.start + n] != EMPTY:
            break
        i = j
    return 0 if m[at.best + BEST_EXCLUDED] else m[at.best + BEST_STEP]


def advance(
    s: int,
    moment: int,
    e: int,
    value: int,
    shared: bool,
    rules: Rules,
    wanted: int,
    m: list[int],
    at: Places,
) -> None:
    """Offer event `e` as step `s` to the attempt before it; `shared` = one of several simultaneous events."""
    n = rules.n
    p = source_slot(s, moment, rules, m, at)
    if p < 0:
        return
    if wanted >= 0 and p == rules.attribution_step and value != wanted:
        return
    n_times = m[at.held + p]
    source, target = p * n, s * n
    if shared:  # an event may serve an attempt once
        for k in range(n_times):
            if m[at.events + source + k] == e:
                return
    poisoned = m[at.excluded + p]
    if not poisoned:
        for k in range(n_times):
            m[at.times + target + k] = m[at.times + source + k]
            m[at.events + target + k] = m[at.events + source + k]
        m[at.start + s] = m[at.start + p]
        m[at.excluded + s] = 0
        m[at.bits + s] = m[at.bits + p] | (1 << (s - 1))
        if not (rules.optional >> (s - 1)) & 1:  # an optional step leaves no time behind
            m[at.times + target + n_times] = moment
            m[at.events + target + n_times] = e
            n_times += 1
        m[at.held + s] = n_times
        if rules.detail and m[at.n_further + p] < MAX_FURTHER:
            m[at.further + p * MAX_FURTHER + m[at.n_further + p]] = e
            m[at.n_further + p] += 1
    best = at.best
    if s > m[best + BEST_STEP] or (s == m[best + BEST_STEP] and m[best + BEST_EXCLUDED]):
        m[best + BEST_STEP] = s
        m[best + BEST_START] = m[at.start + p]
        m[best + BEST_EXCLUDED] = poisoned
        if not poisoned:
            m[best + BEST_COUNT] = n_times
            m[best + BEST_BITS] = m[at.bits + s]
            for k in range(n_times):
                m[at.best_times + k] = m[at.times + target + k]
                m[at.best_events + k] = m[at.events + target + k]


def exclude(k: int, moment: int, rules: Rules, m: list[int], at: Places) -> None:
    """Poison the attempt waiting for step `k`, and the best one when it is as far and still in its window."""
    p = source_slot(k, moment, rules, m, at)
    if p < 0 or m[at.excluded + p]:
        return
    m[at.excluded + p] = 1
    if m[at.best + BEST_STEP] == p and moment - m[at.best + BEST_START] <= rules.window:
        m[at.best + BEST_EXCLUDED] = 1


def source_slot(s: int, moment: int, rules: Rules, m: list[int], at: Places) -> int:
    """The slot an event of step `s` continues, past optional steps not done; -1 when there is none.

    None when no attempt waits there within its window, or when slot `s` already holds that same attempt:
    a repeated step keeps its first occurrence.
    """
    p = s - 1
    alive = moment - m[at.start + p] <= rules.window
    while p > 0 and not alive and (rules.optional >> (p - 1)) & 1:
        p -= 1
        alive = moment - m[at.start + p] <= rules.window
    if not alive or m[at.start + s] == m[at.start + p]:
        return -1
    return p


KERNELS = (source_slot, exclude, advance, scan_ordered)
"""For compilation, callees first."""
