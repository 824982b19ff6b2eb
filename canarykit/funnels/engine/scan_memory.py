"""The shapes that the scans share: one rule book, one actor's working memory, one place for answers.

The scans are plain Python over flat sequences of integers. Small inputs run them as they stand, over lists;
large ones run the same source compiled (`compiled`), over numpy arrays. All working memory is one sequence,
and `Places` says where in it everything begins: compiled code pays for every sequence it hands around.

Entries of an event
-------------------
An event's matches are one integer: bit s-1 is set when it matches step s (steps count from 1 inside the
scans), bit 30+k when it is an exclusion "at step k" (k = 2..32), which poisons an attempt that has done k-1
steps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

ORDERED, STRICT, UNORDERED = 0, 1, 2
ORDERS = {"ordered": ORDERED, "strict": STRICT, "unordered": UNORDERED}

NO_VALUE, FIRST_TOUCH, LAST_TOUCH, ALL_EVENTS, STEP_TOUCH = 0, 1, 2, 3, 4

STEPS_MASK = (1 << 32) - 1
EXCLUSION_SHIFT = 30  # bit EXCLUSION_SHIFT + k for an exclusion at step k >= 2
EMPTY = -(1 << 61)  # start of a slot that holds no attempt: outside every window
MAX_FURTHER = 9  # further matched events kept per step, beside the reported one

BEST_STEP, BEST_START, BEST_EXCLUDED, BEST_COUNT, BEST_BITS = 0, 1, 2, 3, 4  # fields at `Places.best`

ACTOR, VALUE, REACHED, BITS, TIMES = 0, 1, 2, 3, 4  # fields of an answer; as many times as steps
MATCH_FIELDS = 4  # of a matched event: answer, step, rank, event


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
    detail: int  # 1: keep matched events
    goal: int  # of trends: the number of steps that converts a period


class Places(NamedTuple):
    """Where in the working memory each part begins."""

    time: int  # the actor's events: time, matches, value, position in the input
    entry: int
    value: int
    origin: int
    sub_time: int  # the same, value by value
    sub_entry: int
    sub_value: int
    sub_origin: int
    following: int  # per event: the next in its queue
    start: int  # per slot 0..n: time of the attempt's first step, EMPTY = no attempt
    excluded: int
    bits: int
    held: int  # per slot: number of times
    times: int  # per slot, n times
    events: int  # per slot, n positions of events
    best: int
    best_times: int
    best_events: int
    further: int  # per step, MAX_FURTHER positions
    n_further: int
    head: int  # per step: first queued event, -1 = empty queue
    tail: int
    seen: int  # per value code: the turn in which it was last seen
    local: int  # per value code: its place among the actor's values
    values: int  # the values to evaluate
    bounds: int  # where each value's events begin and end
    turn: int  # number of actors seen


def make_memory(
    n: int, longest: int, n_values: int, *, plain: bool, split: bool = True, queues: bool = True
) -> tuple[Any, Places]:
    """Working memory for actors of up to `longest` events, and where its parts begin.

    A list for plain Python, an array for compiled. `split` and `queues` make room for values apart and for
    unordered queues.
    """
    several = min(longest, n_values) + 2
    sizes = {
        **dict.fromkeys(("time", "entry", "value", "origin"), longest),
        **dict.fromkeys(("sub_time", "sub_entry", "sub_value", "sub_origin"), longest if split else 0),
        "following": longest if queues else 0,
        **dict.fromkeys(("start", "excluded", "bits", "held"), n + 1),
        **dict.fromkeys(("times", "events"), (n + 1) * n),
        "best": 5,
        **dict.fromkeys(("best_times", "best_events"), n),
        "further": n * MAX_FURTHER,
        **dict.fromkeys(("n_further", "head", "tail"), n),
        **dict.fromkeys(("seen", "local"), n_values),
        **dict.fromkeys(("values", "bounds"), several),
        "turn": 1,
    }
    ends = np.cumsum([sizes[name] for name in Places._fields]).tolist()
    places = Places(*(end - sizes[name] for name, end in zip(Places._fields, ends, strict=True)))
    return [0] * ends[-1] if plain else np.zeros(ends[-1], np.int64), places


def answer_fields(n: int) -> int:
    """Integers of one answer."""
    return TIMES + n


def tie_rank(masks: np.ndarray) -> np.ndarray:
    """Order of distinct matches among simultaneous events: several matches first, then by step."""
    matches = np.array([bin(mask).count("1") for mask in masks.tolist()], dtype=np.int64)
    order = np.lexsort((masks, -matches))
    rank = np.empty(len(masks), dtype=np.int64)
    rank[order] = np.arange(len(masks))
    return rank
