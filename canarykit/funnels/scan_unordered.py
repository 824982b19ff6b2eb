"""Unordered funnels: k of n steps within one window, in any order.

One queue of events per step. An event that no longer fits the window with the oldest queued one first makes
the queues be judged: as many steps are done as queues hold something. The semantics are those of PostHog's
funnel engine (github.com/PostHog/posthog, funnel-udf).
"""

from __future__ import annotations

from canarykit.funnels.rules import STEPS_MASK, Rules, Work

__all__ = ["KERNELS", "scan_unordered"]


def scan_unordered(
    time: list[int],
    entry: list[int],
    value: list[int],
    low: int,
    high: int,
    rules: Rules,
    wanted: int,
    work: Work,
) -> int:
    """Scan events `low` to `high`; the answer is in `work.best*`. Returns how many steps were done."""
    n = rules.n
    for k in range(n):
        work.head[k] = -1
    work.best[0] = 0
    done = 0
    for e in range(low, high):
        moment = time[e]
        while done > 0:
            oldest = oldest_queue(time, n, work)
            if done < n and time[work.head[oldest]] + rules.window >= moment:
                break
            record(time, done, n, work)
            if work.best[0] == n:
                return n
            done -= drop_oldest(oldest, work)
        if not entry[e] & STEPS_MASK:  # an exclusion: whatever was queued is void
            for k in range(n):
                work.head[k] = -1
            done = 0
            continue
        if wanted >= 0 and done == rules.attribution_step and value[e] != wanted:
            continue
        done += enqueue(e, time, entry, n, work)
    record(time, done, n, work)
    return work.best[0]


def oldest_queue(time: list[int], n: int, work: Work) -> int:
    """The queue whose first event is oldest; the lowest step among equals."""
    oldest = -1
    for k in range(n):
        if work.head[k] >= 0 and (oldest < 0 or time[work.head[k]] < time[work.head[oldest]]):
            oldest = k
    return oldest


def drop_oldest(queue: int, work: Work) -> int:
    """Remove the first event of a queue; 1 when the queue is empty now."""
    first = work.head[queue]
    work.head[queue] = -1 if first == work.tail[queue] else work.following[first]
    return 1 if work.head[queue] < 0 else 0


def enqueue(e: int, time: list[int], entry: list[int], n: int, work: Work) -> int:
    """Put an event into the one queue, among its steps, whose newest event is oldest; 1 when it was empty."""
    chosen = -1
    newest = 0
    for k in range(n):
        if (entry[e] >> k) & 1:
            if work.head[k] < 0:
                chosen = k
                break
            last = time[work.tail[k]]
            if chosen < 0 or last < newest:
                chosen = k
                newest = last
    opened = 1 if work.head[chosen] < 0 else 0
    if opened:
        work.head[chosen] = e
    else:
        work.following[work.tail[chosen]] = e
    work.tail[chosen] = e
    return opened


def record(time: list[int], done: int, n: int, work: Work) -> None:
    """Keep the queues' oldest events, sorted by time, when more steps are done than ever before."""
    if done <= work.best[0]:
        return
    work.best[0] = done
    work.best[4] = (1 << done) - 1
    held = 0
    for k in range(n):
        e = work.head[k]
        if e >= 0:
            place = held
            while place > 0 and work.best_times[place - 1] > time[e]:
                work.best_times[place] = work.best_times[place - 1]
                work.best_events[place] = work.best_events[place - 1]
                place -= 1
            work.best_times[place] = time[e]
            work.best_events[place] = e
            held += 1
    work.best[3] = held


KERNELS = (oldest_queue, drop_oldest, enqueue, record, scan_unordered)
"""For compilation, callees first."""
