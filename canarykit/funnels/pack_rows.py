"""Rows of the log into packed events, spread over buckets.

An event becomes a key (the actor's integer id, or a hash of its text) and one packed integer: time, matches,
value, in that order, so that sorting a bucket's few events of an actor by it puts them in the order the scans
want. These functions only run compiled.
"""

# mypy: ignore-errors
# (numba types these functions when it compiles them; mypy cannot)

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["KERNELS", "Layout", "mix"]

GOLD = 0x9E3779B97F4A7C15
OTHER_ODD = 0xD6E8FEB86659FD93


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


def spread(keys, seconds, packed, shift, starts, to_key, to_second, to_packed):
    """Move packed events to the place of their bucket; bucket b begins at `starts[b]` then."""
    starts[:] = 0
    for i in range(len(keys)):
        starts[np.int64(mix(keys[i]) >> shift)] += 1
    before = 0
    for bucket in range(len(starts)):
        events = starts[bucket]
        starts[bucket] = before
        before += events
    checked = len(seconds) > 0
    for i in range(len(keys)):
        bucket = np.int64(mix(keys[i]) >> shift)
        to = starts[bucket]
        starts[bucket] = to + 1
        to_key[to] = keys[i]
        to_packed[to] = packed[i]
        if checked:
            to_second[to] = seconds[i]
    for bucket in range(len(starts) - 1, 0, -1):
        starts[bucket] = starts[bucket - 1]
    starts[0] = 0


KERNELS = (
    mix,
    pack_rows,
    pack_unsplit,
    pack_seconds,
    word_at,
    eight_at,
    hash_texts,
    spread,
)
"""For compilation, callees first."""
