"""Unordered funnels: k of n steps within one window, in any order.

One queue of events per step. An event that no longer fits the window with the oldest queued one first makes
the queues be judged: as many steps are done as queues hold something. The semantics are those of PostHog's
funnel engine (github.com/PostHog/posthog, funnel-udf).
"""

from __future__ import annotations

from canarykit.funnels.engine.scan_memory import BEST_BITS, BEST_COUNT, BEST_STEP, STEPS_MASK, Places, Rules


def scan_unordered(
    time: int,
    entry: int,
    value: int,
    low: int,
    high: int,
    rules: Rules,
    wanted: int,
    m: list[int],
    at: Places,
) -> int:
    """Scan events `low` to `high` of the lists that begin at `time`, `entry`, `value` in the memory `m`.

    `wanted` is the value required while nothing is queued, -1 when any will do. The answer is at `at.best*`;
    returns how many steps were done.
    """
    n = rules.n
    clear_queues(n, m, at)
    m[at.best + BEST_STEP] = 0
    done = 0
    for e in range(low, high):
        moment = m[time + e]
        while done > 0:
            oldest = oldest_queue(time, n, m, at)
            if done < n and m[time + m[at.head + oldest]] + rules.window >= moment:
                break
            record(time, done, n, m, at)
            if m[at.best + BEST_STEP] == n:
                return n
            done -= drop_oldest(oldest, m, at)
        if not m[entry + e] & STEPS_MASK:  # an exclusion: whatever was queued is void
            clear_queues(n, m, at)
            done = 0
        elif wanted < 0 or done != rules.attribution_step or m[value + e] == wanted:
            done += enqueue(e, time, m[entry + e], n, m, at)
    record(time, done, n, m, at)
    return m[at.best + BEST_STEP]


def clear_queues(n: int, m: list[int], at: Places) -> None:
    """Empty every queue."""
    for k in range(n):
        m[at.head + k] = -1


def oldest_queue(time: int, n: int, m: list[int], at: Places) -> int:
    """The queue whose first event is oldest; the lowest step among equals."""
    oldest = -1
    earliest = 0
    for k in range(n):
        first = m[at.head + k]
        if first >= 0 and (oldest < 0 or m[time + first] < earliest):
            oldest = k
            earliest = m[time + first]
    return oldest


def drop_oldest(queue: int, m: list[int], at: Places) -> int:
    """Remove the first event of a queue; 1 when the queue is empty now."""
    first = m[at.head + queue]
    if first == m[at.tail + queue]:
        m[at.head + queue] = -1
        return 1
    m[at.head + queue] = m[at.following + first]
    return 0


def enqueue(e: int, time: int, matches: int, n: int, m: list[int], at: Places) -> int:
    """Put an event into the one queue, among its steps, whose newest event is oldest; 1 when it was empty."""
    chosen = -1
    newest = 0
    for k in range(n):
        if (matches >> k) & 1:
            if m[at.head + k] < 0:
                m[at.head + k] = e
                m[at.tail + k] = e
                return 1
            last = m[time + m[at.tail + k]]
            if chosen < 0 or last < newest:
                chosen = k
                newest = last
    m[at.following + m[at.tail + chosen]] = e
    m[at.tail + chosen] = e
    return 0


def record(time: int, done: int, n: int, m: list[int], at: Places) -> None:
    """Keep the queues' oldest events, sorted by time, when more steps are done than ever before."""
    if done <= m[at.best + BEST_STEP]:
        return
    m[at.best + BEST_STEP] = done
    m[at.best + BEST_COUNT] = done
    m[at.best + BEST_BITS] = (1 << done) - 1
    n_sorted = 0
    for k in range(n):
        e = m[at.head + k]
        if e >= 0:
            slot = n_sorted
            while slot > 0 and m[at.best_times + slot - 1] > m[time + e]:
                m[at.best_times + slot] = m[at.best_times + slot - 1]
                m[at.best_events + slot] = m[at.best_events + slot - 1]
                slot -= 1
            m[at.best_times + slot] = m[time + e]
            m[at.best_events + slot] = e
            n_sorted += 1


KERNELS = (clear_queues, oldest_queue, drop_oldest, enqueue, record, scan_unordered)
"""For compilation, callees first."""
