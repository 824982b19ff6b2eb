"""Packed events of some buckets: by slice of the log, as they were packed, and by actor in time order.

These functions only run compiled. Arrays are taken out of their tuples before a loop: numba counts references
each time that is done.
"""

# mypy: ignore-errors
# (numba types these functions when it compiles them; mypy cannot)

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from canarykit.funnels.engine.scan_memory import EMPTY
from canarykit.funnels.packed.pack_kernels import EVENT, spot

FEW = 48  # so many events of an actor are sorted by insertion


class Events(NamedTuple):
    """Packed events of some buckets, slice by slice of the log in its order.

    `begins[p, b]` to `begins[p, b + 1]` are the rows of bucket b's events in slice p. The last two translate
    the codes of matches and values to their final order.
    """

    rows: Any
    first: int  # number of the first bucket
    begins: Any
    entry_code: Any
    value_code: Any


class Groups(NamedTuple):
    """Working memory for the events of one bucket, each small enough for the cache."""

    table: Any  # hash table: key, and its actor marked with the bucket that last used the place
    second: Any  # second keys of the same places
    row_code: Any
    size: Any
    packed: Any


class Entries(NamedTuple):
    """Answers by field, one place an entry; `times` has a row a step."""

    value: Any
    reached: Any
    bits: Any
    times: Any


def make_groups(largest: int, *, checked: bool) -> Groups:
    """Room for buckets of up to `largest` events; `checked` when keys are hashes."""
    capacity = table_size(largest)
    return Groups(
        np.zeros(2 * capacity, np.int64),
        np.empty(capacity if checked else 0, np.int64),
        np.empty(largest, np.int32),
        np.empty(largest + 1, np.int64),
        np.empty(largest, np.int64),
    )


def make_entries(most: int, n: int) -> Entries:
    """Room for `most` entries of `n` steps; what is not touched takes no memory."""
    return Entries(
        np.empty(most, np.int32),
        np.empty(most, np.int8),
        np.empty(most, np.uint32),
        np.empty((n, most), np.int64),
    )


def table_size(events):
    """Places of a hash table for the actors of so many events: a power of two, two thirds full at most."""
    capacity = 4
    while 2 * capacity < 3 * events:
        capacity *= 2
    return capacity


def gather(events, bucket, n_actors, layout, groups):
    """A bucket's events by actor, as these were numbered, each actor's sorted."""
    rows, begins, entry_code, value_code = events.rows, events.begins, events.entry_code, events.value_code
    row_code, size, out = groups.row_code, groups.size, groups.packed
    size[:n_actors] = 0
    n_rows = rows_of(begins, bucket)
    for row in range(n_rows):
        size[spot(row_code[row])] += 1
    total = 0
    for code in range(n_actors):
        count = size[code]
        size[code] = total
        total += count
    row, before, in_order = 0, EMPTY, True
    for part in range(len(begins)):
        for i in range(begins[part, bucket], begins[part, bucket + 1]):
            event = in_final_codes(rows[spot(i), EVENT], entry_code, value_code, layout)
            in_order &= before <= event
            before = event
            code = spot(row_code[spot(row)])
            slot = size[code]
            out[spot(slot)] = event
            size[code] = slot + 1
            row += 1
    if not in_order:
        begin = 0
        for code in range(n_actors):
            sort_events(out, begin, size[code])
            begin = size[code]


def in_final_codes(event, entry_code, value_code, layout):
    """A packed event with the final codes of its matches and its value."""
    value_mask = (1 << layout.value_bits) - 1
    entry_mask = (1 << layout.entry_bits) - 1
    low_mask = (1 << (layout.value_bits + layout.entry_bits)) - 1
    entry = entry_code[spot((event >> layout.value_bits) & entry_mask)]
    return (event & ~low_mask) | (entry << layout.value_bits) | value_code[spot(event & value_mask)]


def rows_of(begins, bucket):
    """How many events a bucket has."""
    rows = 0
    for part in range(len(begins)):
        rows += begins[part, bucket + 1] - begins[part, bucket]
    return rows


def sort_events(packed, begin, end):
    """Sort a stretch in place; logs mostly are in time order already."""
    if end - begin > FEW:
        packed[begin:end] = np.sort(packed[begin:end])
        return
    for i in range(begin + 1, end):
        event = packed[i]
        j = i - 1
        while j >= begin and packed[j] > event:
            packed[j + 1] = packed[j]
            j -= 1
        packed[j + 1] = event


def gaps_by_value(value, reached, early, late, step, filled, out):
    """Times from `early` to `late` of the entries that reached `step`, those of each value side by side.

    Value v's begin at `filled[v]`; afterwards that is where they end. Gaps of zero are left out. Every entry
    is written to the next place of its value, and only those that count move it on: each needs one more.
    """
    for i in range(len(value)):
        slot = spot(filled[spot(value[i])])
        gap = late[i] - early[i]
        out[slot] = gap
        filled[spot(value[i])] += (reached[i] >= step) & (gap > 0)


INLINED = (table_size, rows_of, in_final_codes)

KERNELS = (*INLINED, sort_events, gather, gaps_by_value)
"""For compilation, callees first."""
