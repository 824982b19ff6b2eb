"""Buckets of packed events, each small enough for the cache: gathered by actor, sorted, and scanned there.

No global sort and no table of all actors. These functions only run compiled.
"""

# mypy: ignore-errors
# (numba types these functions when it compiles them; mypy cannot)

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from canarykit.funnels.actor import run_actor
from canarykit.funnels.pack_rows import mix
from canarykit.funnels.rules import BITS, EMPTY, LAST_TOUCH, NO_VALUE, REACHED, TIMES, VALUE

__all__ = ["KERNELS", "Entries", "Events", "Groups", "make_entries", "make_groups"]

FEW = 48  # so many events of an actor are sorted by insertion


class Events(NamedTuple):
    """Packed events of some buckets, piece by piece of the log in its order.

    `begins[p, b]` to `begins[p, b + 1]` are the places of bucket b's events in piece p. `seconds` holds the
    second hash of every id, or nothing when the keys are the ids themselves. The last two translate the codes
    of matches and values to their final order.
    """

    keys: Any
    seconds: Any
    packed: Any
    first: int  # number of the first bucket
    begins: Any
    entry_code: Any
    value_code: Any


class Groups(NamedTuple):
    """Working memory to gather the events of one bucket by actor."""

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
        np.empty(most, np.int64),
        np.empty((n, most), np.int64),
    )


def table_size(events):
    """Places of a hash table for the actors of so many events: a power of two, two thirds full at most."""
    capacity = 4
    while 2 * capacity < 3 * events:
        capacity *= 2
    return capacity


def run_plain_buckets(events, layout, masks, rules, blank, groups, answers, entries):
    """Scan buckets where the short scan will do.

    Returns the number of actors, -1 when two ids share a hash, and that of entries.
    """
    actors, filled = 0, 0
    steps = np.zeros(len(masks), np.int64)
    for code in range(len(masks)):
        while masks[code] >> steps[code]:
            steps[code] += 1
    for bucket in range(events.begins.shape[1] - 1):
        found = gather(events, bucket, layout, groups)
        if found < 0:
            return -1, filled
        used = scan_plain(groups.packed, groups.size, found, layout, steps, rules, blank, answers)
        filled = enter(answers, used, rules.n, entries, filled)
        actors += found
    return actors, filled


def run_buckets(events, layout, masks, rules, blank, groups, answers, entries, m, at):
    """Scan buckets by all rules; as `run_plain_buckets` otherwise."""
    actors, filled = 0, 0
    used = np.zeros(2, np.int64)
    for bucket in range(events.begins.shape[1] - 1):
        found = gather(events, bucket, layout, groups)
        if found < 0:
            return -1, filled
        used[0] = 0
        scan_full(groups.packed, groups.size, found, layout, masks, rules, blank, m, at, answers, used)
        filled = enter(answers, used[0], rules.n, entries, filled)
        actors += found
    return actors, filled


def gather(events, bucket, layout, groups):
    """One bucket's events by actor, each actor's sorted; returns the number of actors, -1 on equal hashes."""
    found = find_actors(events, bucket, groups)
    if found < 0:
        return -1
    size, out = groups.size, groups.packed
    total = 0
    for code in range(found):
        own = size[code]
        size[code] = total
        total += own
    value_mask = (1 << layout.value_bits) - 1
    entry_mask = (1 << layout.entry_bits) - 1
    low_mask = (1 << (layout.value_bits + layout.entry_bits)) - 1
    row, before, in_order = 0, EMPTY, True
    for piece in range(len(events.begins)):
        for i in range(events.begins[piece, bucket], events.begins[piece, bucket + 1]):
            event = events.packed[i]
            entry = events.entry_code[(event >> layout.value_bits) & entry_mask]
            value = events.value_code[event & value_mask]
            event = (event & ~low_mask) | (entry << layout.value_bits) | value
            in_order &= before <= event
            before = event
            code = groups.row_code[row]
            place = size[code]
            out[place] = event
            size[code] = place + 1
            row += 1
    if not in_order:
        begin = 0
        for code in range(found):
            sort_events(out, begin, size[code])
            begin = size[code]
    return found


def find_actors(events, bucket, groups):
    """Number the actors of a bucket's events, and count the events of each."""
    table, table_second, row_code, size = groups.table, groups.second, groups.row_code, groups.size
    checked = len(events.seconds) > 0
    rows = 0
    for piece in range(len(events.begins)):
        rows += events.begins[piece, bucket + 1] - events.begins[piece, bucket]
    mask = np.uint64(table_size(rows) - 1)
    mark = events.first + bucket + 1
    found, row = 0, 0
    for piece in range(len(events.begins)):
        for i in range(events.begins[piece, bucket], events.begins[piece, bucket + 1]):
            key = events.keys[i]
            place = mix(key) & mask
            while True:
                at = 2 * np.int64(place)
                holder = table[at + 1]
                if holder >> 32 != mark:
                    table[at] = key
                    table[at + 1] = (mark << 32) | found
                    if checked:
                        table_second[place] = events.seconds[i]
                    row_code[row] = found
                    size[found] = 1
                    found += 1
                    break
                if table[at] == key:
                    if checked and table_second[place] != events.seconds[i]:
                        return -1
                    code = holder & 0xFFFFFFFF
                    row_code[row] = code
                    size[code] += 1
                    break
                place = (place + np.uint64(1)) & mask
            row += 1
    return found


def enter(answers, used, n, entries, filled):
    """Move the answers of a bucket to the entries; returns how many there are now."""
    row = 0
    for i in range(filled, filled + used):
        entries.value[i] = answers[row + VALUE]
        entries.reached[i] = answers[row + REACHED]
        entries.bits[i] = answers[row + BITS]
        for k in range(n):
            entries.times[k, i] = answers[row + TIMES + k]
        row += TIMES + n
    return filled + used


def scan_plain(packed, ends, found, layout, steps, rules, blank, answers):
    """The ordered scan where an event is one step: the same slots without what such events never need.

    Returns the number of answers. Simultaneous events stand in the order of their steps, which is how the
    full scan takes them.
    """
    n, window = rules.n, rules.window
    shift = layout.value_bits + layout.entry_bits
    entry_mask = (1 << layout.entry_bits) - 1
    value_mask = (1 << layout.value_bits) - 1
    start = np.empty(n + 1, np.int64)
    times = np.empty((n + 1) * n, np.int64)
    best_times = np.empty(n, np.int64)
    row = 0
    last_touch = rules.attribution == LAST_TOUCH
    any_value = rules.attribution == NO_VALUE or rules.plain_values == 1
    begin = 0
    for code in range(found):
        end = ends[code]
        for s in range(n + 1):
            start[s] = EMPTY
        best = 0
        for e in range(begin, end):
            event = packed[e]
            moment = event >> shift
            s = steps[(event >> layout.value_bits) & entry_mask]
            if s == 1:
                start[1] = moment
                times[n] = moment
                if best == 0:
                    best = 1
                    best_times[0] = moment
            elif s > 1 and moment - start[s - 1] <= window and start[s] != start[s - 1]:
                start[s] = start[s - 1]
                for k in range(s - 1):
                    times[s * n + k] = times[(s - 1) * n + k]
                times[s * n + s - 1] = moment
                if s > best:
                    best = s
                    for k in range(s):
                        best_times[k] = times[s * n + k]
                    if s == n:
                        break
        if best:
            chosen = packed[end - 1 if last_touch else begin] & value_mask
            if not any_value and blank[chosen]:
                for i in range(begin, end):
                    value = packed[begin + end - 1 - i if last_touch else i] & value_mask
                    if not blank[value]:
                        chosen = value
                        break
            answers[row + VALUE] = chosen
            answers[row + REACHED] = best - 1
            answers[row + BITS] = (1 << best) - 1
            for k in range(n):
                answers[row + TIMES + k] = best_times[k] + layout.origin if k < best else -1
            row += TIMES + n
        begin = end
    return row // (TIMES + n)


def scan_full(packed, ends, found, layout, masks, rules, blank, m, at, answers, used):
    """The general scan of every actor of a bucket."""
    shift = layout.value_bits + layout.entry_bits
    entry_mask = (1 << layout.entry_bits) - 1
    value_mask = (1 << layout.value_bits) - 1
    begin = 0
    for code in range(found):
        end = ends[code]
        for e in range(begin, end):
            event = packed[e]
            m[at.time + e - begin] = (event >> shift) + layout.origin
            m[at.entry + e - begin] = masks[(event >> layout.value_bits) & entry_mask]
            m[at.value + e - begin] = event & value_mask
        run_actor(code, end - begin, rules, blank, m, at, answers, answers, used)
        begin = end


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


KERNELS = (
    table_size,
    sort_events,
    find_actors,
    gather,
    enter,
    scan_plain,
    run_plain_buckets,
    scan_full,
    run_buckets,
)
"""For compilation, callees first."""
