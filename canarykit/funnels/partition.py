"""Large logs: pack each fed event into two integers, spread them over buckets that fit the cache, scan there.

No global sort and no table of all actors. An event becomes a key (the actor's integer id, or a hash of its
text) and one packed integer: time, matches, value, in that order, so that sorting a bucket's few events of an
actor by it puts them in the order the scans want. These functions only run compiled.
"""

# mypy: ignore-errors
# (numba types these functions when it compiles them; mypy cannot)

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from canarykit.funnels.actor import run_actor
from canarykit.funnels.rules import BITS, EMPTY, LAST_TOUCH, NO_VALUE, REACHED, TIMES, VALUE

__all__ = ["KERNELS", "Groups", "Layout", "make_groups"]

GOLD = 0x9E3779B97F4A7C15
OTHER_ODD = 0xD6E8FEB86659FD93
FEW = 48  # so many events of an actor are sorted by insertion


class Layout(NamedTuple):
    """Where time, matches and value stand in a packed event."""

    origin: int  # the time that is packed as 0
    value_bits: int
    entry_bits: int


class Groups(NamedTuple):
    """Working memory to gather the events of one bucket by actor."""

    key: Any  # hash table: key, second key, its actor
    second: Any
    code: Any
    stamp: Any  # bucket that last used the place
    row_code: Any
    size: Any
    packed: Any


def make_groups(largest: int) -> Groups:
    """Room for buckets of up to `largest` events."""
    capacity = 4
    while capacity < 2 * largest:
        capacity *= 2
    return Groups(
        np.empty(capacity, np.int64),
        np.empty(capacity, np.int64),
        np.empty(capacity, np.int32),
        np.full(capacity, -1, np.int32),
        np.empty(largest, np.int32),
        np.empty(largest + 1, np.int64),
        np.empty(largest, np.int64),
    )


def mix(key):
    """Spread the bits of a key."""
    h = np.uint64(key) * np.uint64(GOLD)
    h ^= h >> np.uint64(32)
    return h * np.uint64(GOLD)


def pack_rows(
    keys, time, match, match_code, value, value_code, earliest, latest, layout, out_key, out_packed
):
    """Keep the rows that are fed; returns how many.

    `match_code` and `value_code` translate the codes of this batch, the last element a missing text; -1 in
    `match_code` is a row that is not fed, -1 in `value_code` an actor without a variant.
    """
    kept = 0
    shift = layout.value_bits + layout.entry_bits
    for i in range(len(time)):
        entry = match_code[match[i]]
        code = value_code[value[i]]
        moment = time[i]
        out_key[kept] = keys[i]
        out_packed[kept] = ((moment - layout.origin) << shift) | (entry << layout.value_bits) | code
        kept += entry >= 0 and code >= 0 and moment >= earliest and moment <= latest
    return kept


def pack_unsplit(keys, time, match, match_code, earliest, latest, layout, out_key, out_packed):
    """`pack_rows` without breakdown."""
    kept = 0
    shift = layout.value_bits + layout.entry_bits
    for i in range(len(time)):
        entry = match_code[match[i]]
        moment = time[i]
        out_key[kept] = keys[i]
        out_packed[kept] = ((moment - layout.origin) << shift) | (entry << layout.value_bits)
        kept += entry >= 0 and moment >= earliest and moment <= latest
    return kept


def pack_seconds(second, time, match, match_code, value, value_code, earliest, latest, out_second):
    """The second hashes of the rows that `pack_rows` keeps."""
    kept = 0
    for i in range(len(time)):
        out_second[kept] = second[i]
        entry = match_code[match[i]]
        kept += entry >= 0 and value_code[value[i]] >= 0 and time[i] >= earliest and time[i] <= latest
    return kept


def word_at(data, at, size):
    """Up to eight bytes as one integer, lowest first."""
    word = np.uint64(0)
    for k in range(size):
        word |= np.uint64(data[at + k]) << np.uint64(8 * k)
    return word


def eight_at(data, at):
    """Eight bytes as one integer: written out, so that they load at once."""
    return (
        np.uint64(data[at])
        | np.uint64(data[at + np.uint64(1)]) << np.uint64(8)
        | np.uint64(data[at + np.uint64(2)]) << np.uint64(16)
        | np.uint64(data[at + np.uint64(3)]) << np.uint64(24)
        | np.uint64(data[at + np.uint64(4)]) << np.uint64(32)
        | np.uint64(data[at + np.uint64(5)]) << np.uint64(40)
        | np.uint64(data[at + np.uint64(6)]) << np.uint64(48)
        | np.uint64(data[at + np.uint64(7)]) << np.uint64(56)
    )


def hash_texts(offsets, data, match, match_code, first, second):
    """Two independent 64-bit hashes of the id of every fed row; others are left alone."""
    for i in range(len(match)):
        if match_code[match[i]] >= 0:
            at = np.uint64(offsets[i])
            end = np.uint64(offsets[i + 1])
            size = end - at
            h = (size + np.uint64(1)) * np.uint64(GOLD)
            g = (size + np.uint64(3)) * np.uint64(OTHER_ODD)
            while at + np.uint64(8) <= end:
                word = eight_at(data, at)
                h = (h ^ word) * np.uint64(GOLD)
                h ^= h >> np.uint64(32)
                g = (g + word) * np.uint64(OTHER_ODD)
                g ^= g >> np.uint64(29)
                at += np.uint64(8)
            word = word_at(data, at, end - at)
            h = (h ^ word) * np.uint64(OTHER_ODD)
            h ^= h >> np.uint64(32)
            h *= np.uint64(GOLD)
            g = (g + word) * np.uint64(GOLD)
            g ^= g >> np.uint64(29)
            g *= np.uint64(OTHER_ODD)
            first[i] = np.int64(h ^ (h >> np.uint64(29)))
            second[i] = np.int64(g ^ (g >> np.uint64(32)))


def count_keys(keys, shift, counts):
    """How many keys fall into each bucket."""
    for i in range(len(keys)):
        counts[np.int64(mix(keys[i]) >> shift)] += 1


def scatter(
    keys, seconds, packed, shift, place, layout, entry_code, value_code, to_key, to_second, to_packed
):
    """Move keys and packed events to their buckets, their matches and values recoded in final order."""
    value_mask = (1 << layout.value_bits) - 1
    entry_mask = (1 << layout.entry_bits) - 1
    low_mask = (1 << (layout.value_bits + layout.entry_bits)) - 1
    checked = len(seconds) > 0
    for i in range(len(keys)):
        bucket = np.int64(mix(keys[i]) >> shift)
        to = place[bucket]
        place[bucket] = to + 1
        event = packed[i]
        entry = entry_code[(event >> layout.value_bits) & entry_mask]
        to_key[to] = keys[i]
        if checked:
            to_second[to] = seconds[i]
        to_packed[to] = (event & ~low_mask) | (entry << layout.value_bits) | value_code[event & value_mask]


def run_plain_buckets(
    keys, seconds, packed, starts, first, last, layout, masks, rules, blank, groups, answers, used
):
    """Scan buckets `first` to `last` where the short scan will do.

    Returns the number of actors, or -1 when two ids share a hash. `seconds` holds the second hash of every
    id, or nothing when the keys are the ids themselves.
    """
    actors = 0
    steps = np.zeros(len(masks), np.int64)
    for code in range(len(masks)):
        while masks[code] >> steps[code]:
            steps[code] += 1
    for bucket in range(first, last):
        found = gather(keys, seconds, packed, starts[bucket], starts[bucket + 1], bucket, groups)
        if found < 0:
            return -1
        scan_plain(groups.packed, groups.size, found, layout, steps, rules, blank, answers, used)
        actors += found
    return actors


def run_buckets(
    keys, seconds, packed, starts, first, last, layout, masks, rules, blank, groups, answers, used, m, at
):
    """Scan buckets `first` to `last` by all rules; as `run_plain_buckets` otherwise."""
    actors = 0
    for bucket in range(first, last):
        found = gather(keys, seconds, packed, starts[bucket], starts[bucket + 1], bucket, groups)
        if found < 0:
            return -1
        scan_full(groups.packed, groups.size, found, layout, masks, rules, blank, m, at, answers, used)
        actors += found
    return actors


def gather(keys, seconds, packed, low, high, bucket, groups):
    """One bucket's events by actor, each actor's sorted; returns the number of actors, -1 on equal hashes."""
    table_key, table_second, table_code = groups.key, groups.second, groups.code
    stamp, row_code, size, out = groups.stamp, groups.row_code, groups.size, groups.packed
    checked = len(seconds) > 0
    capacity = 4
    while capacity < 2 * (high - low):
        capacity *= 2
    found = 0
    for i in range(low, high):
        key = keys[i]
        place = np.int64(mix(key) & np.uint64(capacity - 1))
        while stamp[place] == bucket and table_key[place] != key:
            place = (place + 1) & (capacity - 1)
        if stamp[place] != bucket:
            stamp[place] = bucket
            table_key[place] = key
            if checked:
                table_second[place] = seconds[i]
            table_code[place] = found
            size[found] = 0
            found += 1
        elif checked and table_second[place] != seconds[i]:
            return -1
        code = table_code[place]
        row_code[i - low] = code
        size[code] += 1
    total = 0
    for code in range(found):
        events = size[code]
        size[code] = total
        total += events
    for i in range(low, high):
        code = row_code[i - low]
        out[size[code]] = packed[i]
        size[code] += 1
    begin = 0
    for code in range(found):
        sort_events(out, begin, size[code])
        begin = size[code]
    return found


def scan_plain(packed, ends, found, layout, steps, rules, blank, answers, used):
    """The ordered scan where an event is one step: the same slots without what such events never need.

    Simultaneous events stand in the order of their steps, which is how the full scan takes them.
    """
    n, window = rules.n, rules.window
    shift = layout.value_bits + layout.entry_bits
    entry_mask = (1 << layout.entry_bits) - 1
    value_mask = (1 << layout.value_bits) - 1
    start = np.empty(n + 1, np.int64)
    times = np.empty((n + 1) * n, np.int64)
    best_times = np.empty(n, np.int64)
    row = used[0] * (TIMES + n)
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
    used[0] = row // (TIMES + n)


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
    mix,
    pack_rows,
    pack_unsplit,
    pack_seconds,
    word_at,
    eight_at,
    hash_texts,
    count_keys,
    scatter,
    sort_events,
    gather,
    scan_plain,
    run_plain_buckets,
    scan_full,
    run_buckets,
)
"""For compilation, callees first."""
