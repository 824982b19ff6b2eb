"""Rows of the log into packed events, spread over buckets.

An event becomes a key (the actor's integer id, or a hash of its text, then with a second hash behind) and one
packed integer: time, matches, value, in that order, so that sorting an actor's events by it puts them in the
order the scans want. Key and packed integer stand side by side: memory is written in half as many places at
once. These functions only run compiled.
"""

# mypy: ignore-errors
# (numba types these functions when it compiles them; mypy cannot)

from __future__ import annotations

from typing import NamedTuple

import numpy as np

GOLD = 0x9E3779B97F4A7C15
OTHER_ODD = 0xD6E8FEB86659FD93

KEY, EVENT, SECOND = 0, 1, 2  # columns of packed events

TIME_BITS = 48  # about four years to either side of the origin


class Layout(NamedTuple):
    """Where time, matches and value stand in a packed event."""

    origin: int  # the time that is packed as 0
    value_bits: int
    entry_bits: int


def mix(key):
    """Spread the bits of a key."""
    h = np.uint64(key) * np.uint64(GOLD)
    h ^= h >> np.uint64(32)
    return h * np.uint64(GOLD)


def spot(i):
    """An index known to count from the start: those with a sign are checked for counting from the end."""
    return np.uint64(i)


def fed_rows(time, match, match_code, value, value_code, earliest, latest, rows):
    """Number the rows that are fed; returns how many.

    `match_code` and `value_code` translate the codes of this batch, the first element a missing text; -1 in
    `match_code` is a row that is not fed, -1 in `value_code` an actor without a variant.
    """
    kept = 0
    for i in range(len(time)):
        entry = match_code[spot(match[i] + 1)]
        code = value_code[spot(value[i] + 1)]
        rows[spot(kept)] = i
        kept += (entry >= 0) & (code >= 0) & (time[i] >= earliest) & (time[i] <= latest)
    return kept


def pack_events(rows, time, match, match_code, value, value_code, layout, out):
    """The packed integers of some rows; returns whether all of their times fit."""
    shift = layout.value_bits + layout.entry_bits
    beyond = np.uint64(0)
    for row in range(len(rows)):
        i = spot(rows[row])
        entry = match_code[spot(match[i] + 1)]
        code = value_code[spot(value[i] + 1)]
        moment = time[i] - layout.origin
        beyond |= np.uint64(moment + (1 << (TIME_BITS - 1))) >> np.uint64(TIME_BITS)
        out[row, EVENT] = (moment << shift) | (entry << layout.value_bits) | code
    return beyond == 0


def pack_ids(rows, ids, out):
    """The keys of some rows with integer ids."""
    for row in range(len(rows)):
        out[row, KEY] = ids[spot(rows[row])]


def pack_texts(rows, offsets, data, out):
    """The keys of some rows with text ids: two independent 64-bit hashes."""
    for row in range(len(rows)):
        i = spot(rows[row])
        at = np.uint64(offsets[i])
        end = np.uint64(offsets[i + np.uint64(1)])
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
        word = word_at(data, at, end - at) if size < np.uint64(8) else eight_at(data, end - np.uint64(8))
        h = (h ^ word) * np.uint64(OTHER_ODD)
        h ^= h >> np.uint64(32)
        h *= np.uint64(GOLD)
        g = (g + word) * np.uint64(GOLD)
        g ^= g >> np.uint64(29)
        g *= np.uint64(OTHER_ODD)
        out[row, KEY] = np.int64(h ^ (h >> np.uint64(29)))
        out[row, SECOND] = np.int64(g ^ (g >> np.uint64(32)))


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


def spread(events, shift, starts, out):
    """Move packed events to the place of their bucket; bucket b begins at `starts[b]` then."""
    starts[:] = 0
    for i in range(len(events)):
        starts[mix(events[i, KEY]) >> shift] += 1
    before = 0
    for bucket in range(len(starts)):
        size = starts[bucket]
        starts[bucket] = before
        before += size
    checked = events.shape[1] > SECOND
    for i in range(len(events)):
        bucket = mix(events[i, KEY]) >> shift
        to = spot(starts[bucket])
        starts[bucket] += 1
        out[to, KEY] = events[i, KEY]
        out[to, EVENT] = events[i, EVENT]
        if checked:
            out[to, SECOND] = events[i, SECOND]
    for bucket in range(len(starts) - 1, 0, -1):
        starts[bucket] = starts[bucket - 1]
    starts[0] = 0


INLINED = (mix, spot, word_at, eight_at)

KERNELS = (*INLINED, fed_rows, pack_events, pack_ids, pack_texts, spread)
"""For compilation, callees first."""
