"""Bucket after bucket of packed events, each small enough for the cache: its actors found and scanned there.

No global sort and no table of all actors. These functions only run compiled.
"""

# mypy: ignore-errors
# (numba types these functions when it compiles them; mypy cannot)

from __future__ import annotations

import numpy as np

from canarykit.funnels.engine.actor import run_actor
from canarykit.funnels.engine.scan_memory import BITS, EMPTY, REACHED, TIMES, VALUE
from canarykit.funnels.packed.bucket_memory import gather, in_final_codes, rows_of, table_size
from canarykit.funnels.packed.pack_kernels import EVENT, KEY, SECOND, mix, spot
from canarykit.funnels.packed.scan_single_matches import (
    LATEST,
    actor_fields,
    enter_actors,
    offer,
    scan_gathered,
    weights,
)

HASHES_MEET = -1


def run_plain_buckets(events, layout, masks, rules, blank, groups, entries, furthest, attempts):
    """Scan buckets where the plain scan will do.

    Returns the number of actors, `HASHES_MEET` when two ids share a hash, and that of entries; `furthest`
    counts these by value and furthest step.
    """
    actors, filled = 0, 0
    steps = np.zeros(1 << layout.entry_bits, np.int64)
    for code in range(len(masks)):
        while masks[code] >> steps[code]:
            steps[code] += 1
    weight = weights(rules, blank)
    for bucket in range(events.begins.shape[1] - 1):
        n_actors, scanned = find_actors(events, bucket, layout, groups, True, steps, rules, weight, attempts)
        if n_actors < 0:
            return HASHES_MEET, filled
        if not scanned:
            gather(events, bucket, n_actors, layout, groups)
            scan_gathered(n_actors, layout, steps, rules, weight, groups, attempts)
        filled = enter_actors(n_actors, layout, rules.n, groups.packed, attempts, entries, furthest, filled)
        actors += n_actors
    return actors, filled


def run_buckets(events, layout, masks, rules, blank, groups, entries, furthest, attempts, answers, m, at):
    """Scan buckets by all rules; as `run_plain_buckets` otherwise."""
    actors, filled = 0, 0
    used = np.zeros(2, np.int64)
    for bucket in range(events.begins.shape[1] - 1):
        n_actors, _ = find_actors(events, bucket, layout, groups, False, masks, rules, blank, attempts)
        if n_actors < 0:
            return HASHES_MEET, filled
        gather(events, bucket, n_actors, layout, groups)
        used[0] = 0
        scan_full(groups.packed, groups.size, n_actors, layout, masks, rules, blank, m, at, answers, used)
        filled = enter(answers, used[0], rules.n, entries, furthest, filled)
        actors += n_actors
    return actors, filled


def find_actors(events, bucket, layout, groups, scan, steps, rules, weight, attempts):
    """Number the actors of a bucket's events, and with `scan` offer them these by the way.

    Returns how many actors there are, or `HASHES_MEET`, and whether they are scanned: not when the events of
    an actor are out of order.
    """
    rows, begins, entry_code, value_code = events.rows, events.begins, events.entry_code, events.value_code
    table, table_second, row_code, packed = groups.table, groups.second, groups.row_code, groups.packed
    actors, before, ready = attempts
    fields = actor_fields(rules.n)
    checked = rows.shape[1] > SECOND
    mask = np.uint64(table_size(rows_of(begins, bucket)) - 1)
    mark = events.first + bucket + 1
    n_actors, row = 0, 0
    for part in range(len(begins)):
        for i in range(begins[part, bucket], begins[part, bucket + 1]):
            key = rows[spot(i), KEY]
            slot = mix(key) & mask
            while True:
                at = slot << np.uint64(1)
                holder = table[at + np.uint64(1)]
                if holder >> 32 != mark:
                    code = n_actors
                    n_actors += 1
                    if scan and n_actors > ready[0]:
                        actors[code * fields : n_actors * fields] = EMPTY
                        ready[0] = n_actors
                    table[at] = key
                    table[at + np.uint64(1)] = (mark << 32) | code
                    if checked:
                        table_second[slot] = rows[spot(i), SECOND]
                    break
                if table[at] == key:
                    code = holder & 0xFFFFFFFF
                    if checked and table_second[slot] != rows[spot(i), SECOND]:
                        return HASHES_MEET, False
                    break
                slot = (slot + np.uint64(1)) & mask
            row_code[spot(row)] = code
            if scan:
                event = in_final_codes(rows[spot(i), EVENT], entry_code, value_code, layout)
                base = code * fields
                scan = actors[spot(base + LATEST)] <= event
                packed[spot(row)] = event
                offer(row, event, layout, steps, rules, weight, base, actors, before)
            row += 1
    return n_actors, scan


def scan_full(packed, ends, n_actors, layout, masks, rules, blank, m, at, answers, used):
    """The general scan of every actor of a bucket."""
    shift = layout.value_bits + layout.entry_bits
    entry_mask = (1 << layout.entry_bits) - 1
    value_mask = (1 << layout.value_bits) - 1
    begin = 0
    for code in range(n_actors):
        end = ends[code]
        for e in range(begin, end):
            event = packed[e]
            m[at.time + e - begin] = (event >> shift) + layout.origin
            m[at.entry + e - begin] = masks[(event >> layout.value_bits) & entry_mask]
            m[at.value + e - begin] = event & value_mask
        run_actor(code, end - begin, rules, blank, m, at, answers, answers, used)
        begin = end


def enter(answers, used, n, entries, furthest, filled):
    """Move the answers of a bucket to the entries; returns how many there are now."""
    value, reached, bits, times = entries
    row = 0
    for i in range(filled, filled + used):
        value[i] = answers[row + VALUE]
        reached[i] = answers[row + REACHED]
        bits[i] = answers[row + BITS]
        furthest[value[i], reached[i]] += 1
        for k in range(n):
            times[k, i] = answers[row + TIMES + k]
        row += TIMES + n
    return filled + used


KERNELS = (find_actors, run_plain_buckets, scan_full, enter, run_buckets)
"""For compilation, callees first."""
