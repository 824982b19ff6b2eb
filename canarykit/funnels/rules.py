"""The shapes that the scans share: one rule book, one actor's working memory, one place for answers.

The scans are plain Python over flat sequences of integers. Small inputs run them as they stand, over lists;
large ones run the same source compiled (`compiled`), over numpy arrays. Named tuples carry the sequences,
because both worlds read them alike.

Entries of an event
-------------------
An event's matches are one integer: bit s-1 is set when it matches step s (steps count from 1 inside the
scans), bit 30+k when it is an exclusion "at step k" (k = 2..32), which poisons an attempt that has done k-1
steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "ALL_EVENTS",
    "EMPTY",
    "EXCLUSION_SHIFT",
    "FIRST_TOUCH",
    "LAST_TOUCH",
    "MAX_FURTHER",
    "NO_VALUE",
    "ORDERED",
    "ORDERS",
    "STEPS_MASK",
    "STEP_TOUCH",
    "STRICT",
    "UNORDERED",
    "Entries",
    "Rules",
    "Work",
    "make_entries",
    "make_work",
    "tie_rank",
]

ORDERED, STRICT, UNORDERED = 0, 1, 2
ORDERS = {"ordered": ORDERED, "strict": STRICT, "unordered": UNORDERED}

NO_VALUE, FIRST_TOUCH, LAST_TOUCH, ALL_EVENTS, STEP_TOUCH = 0, 1, 2, 3, 4

STEPS_MASK = (1 << 32) - 1
EXCLUSION_SHIFT = 30  # bit EXCLUSION_SHIFT + k for an exclusion at step k >= 2
EMPTY = -(1 << 61)  # start of a slot that holds no attempt: outside every window
MAX_FURTHER = 9  # further matched events kept per step, beside the reported one


class Rules(NamedTuple):
    """One query as the scans read it; times and widths in microseconds."""

    n: int
    window: int
    tie: int
    order: int
    optional: int  # bit s-1: step s is optional
    attribution: int
    attribution_step: int
    plain_values: int  # 1: the first value counts even when blank (group breakdowns)
    blank: int  # code of the blank value, -1 when it does not occur
    thin: int  # 1: drop repeated events between equal neighbours first; of no effect in plain ordered funnels


class Work(NamedTuple):
    """Working memory for one actor: the list being scanned, the slots, the best attempt, the queues."""

    time: Any
    entry: Any
    value: Any
    origin: Any
    sub_time: Any
    sub_entry: Any
    sub_value: Any
    sub_origin: Any
    start: Any  # per slot 0..n: time of the attempt's first step, EMPTY = no attempt
    excluded: Any
    bits: Any
    count: Any
    times: Any  # per slot, n times
    events: Any  # per slot, n positions of events
    best: Any  # step, start, excluded, count, bits
    best_times: Any
    best_events: Any
    further: Any  # per step, MAX_FURTHER positions
    n_further: Any
    head: Any  # per step: first queued event, -1 = empty queue
    tail: Any
    following: Any  # per event: the next in its queue
    seen: Any  # per value code: which actor saw it last
    local: Any  # per value code: its place among the actor's values
    values: Any  # the values to evaluate
    bounds: Any  # where each value's events begin and end
    turn: Any  # turn[0]: number of actors seen


class Entries(NamedTuple):
    """Answers of the scans, one row per actor and value."""

    size: Any  # size[0]: rows used
    actor: Any
    value: Any
    reached: Any
    bits: Any
    times: Any
    matched_size: Any
    matched_entry: Any
    matched_step: Any
    matched_rank: Any
    matched_event: Any


def tie_rank(masks: np.ndarray) -> np.ndarray:
    """Order of distinct matches among simultaneous events: several matches first, then by step."""
    matches = np.array([bin(mask).count("1") for mask in masks.tolist()], dtype=np.int64)
    order = np.lexsort((masks, -matches))
    rank = np.empty(len(masks), dtype=np.int64)
    rank[order] = np.arange(len(masks))
    return rank


def make_work(n: int, longest: int, n_values: int, *, plain: bool) -> Work:
    """Working memory for actors of up to `longest` events: lists for plain Python, arrays for compiled."""

    def block(size: int, fill: int = 0) -> Any:
        if plain:
            return [fill] * size
        return (
            np.full(size, fill, np.int64) if fill else np.zeros(size, np.int64)
        )  # zeros cost nothing unused

    several = min(longest, n_values) + 2
    sizes = {
        **dict.fromkeys(("start", "excluded", "bits", "count"), n + 1),
        **dict.fromkeys(("times", "events"), (n + 1) * n),
        **dict.fromkeys(("best_times", "best_events", "n_further", "head", "tail"), n),
        **dict.fromkeys(("best", "turn"), 5),
        "further": n * MAX_FURTHER,
        "local": n_values,
        **dict.fromkeys(("values", "bounds"), several),
    }
    blocks = {name: block(sizes.get(name, longest)) for name in Work._fields if name != "seen"}
    return Work(**blocks, seen=block(n_values, -1))


def make_entries(capacity: int, n: int, matched: int = 0) -> Entries:
    """Room for `capacity` answers; memory is only touched where answers are written."""
    empty: Callable[..., Any] = np.empty
    return Entries(
        np.zeros(1, np.int64),
        empty(capacity, np.int64),
        empty(capacity, np.int32),
        empty(capacity, np.int8),
        empty(capacity, np.int64),
        empty(capacity * n, np.int64),
        np.zeros(1, np.int64),
        empty(matched, np.int64),
        empty(matched, np.int8),
        empty(matched, np.int8),
        empty(matched, np.int64),
    )
