"""One actor's turn: thin the list, find the values to evaluate, scan once per value, write the answers."""

from __future__ import annotations

from canarykit.funnels.rules import (
    ALL_EVENTS,
    FIRST_TOUCH,
    LAST_TOUCH,
    MAX_FURTHER,
    NO_VALUE,
    STEP_TOUCH,
    STEPS_MASK,
    UNORDERED,
    Entries,
    Rules,
    Work,
)
from canarykit.funnels.scan_ordered import scan_ordered
from canarykit.funnels.scan_unordered import scan_unordered

__all__ = ["KERNELS", "run_actor", "run_sorted", "select_values", "split_by_value"]


def run_sorted(
    time: list[int],
    entry: list[int],
    value: list[int],
    starts: list[int],
    rules: Rules,
    blank: list[int],
    work: Work,
    entries: Entries,
    detail: int,
) -> None:
    """Every actor of a list sorted by actor and time; actor i has events `starts[i]` to `starts[i + 1]`."""
    for actor in range(len(starts) - 1):
        low = starts[actor]
        size = starts[actor + 1] - low
        for e in range(size):
            work.time[e] = time[low + e]
            work.entry[e] = entry[low + e]
            work.value[e] = value[low + e]
            work.origin[e] = low + e
        run_actor(actor, size, rules, blank, work, entries, detail)


def run_actor(
    actor: int, size: int, rules: Rules, blank: list[int], work: Work, entries: Entries, detail: int
) -> None:
    """Evaluate the actor whose `size` events stand, in time order, in `work.time`, `.entry`, `.value`.

    `blank[code]` is 1 for breakdown values without any text.
    """
    if rules.thin:
        size = thin(size, work)
    tie = rules.tie
    if tie > 0:  # near ties are for actors without any exclusion
        for e in range(size):
            if work.entry[e] > STEPS_MASK:
                tie = 0
    if rules.attribution == NO_VALUE:
        evaluate(actor, 0, -1, 0, size, 0, tie, rules, work, entries, detail)
        return
    n_values = select_values(size, rules, blank, work)
    if rules.attribution == ALL_EVENTS and n_values > 1:
        split_by_value(size, n_values, work)
        for i in range(n_values):
            low, high = work.bounds[i], work.bounds[i + 1]
            evaluate(actor, work.values[i], -1, low, high, 1, tie, rules, work, entries, detail)
        return
    for i in range(n_values):
        wanted = work.values[i] if rules.attribution == STEP_TOUCH else -1
        evaluate(actor, work.values[i], wanted, 0, size, 0, tie, rules, work, entries, detail)


def evaluate(
    actor: int,
    code: int,
    wanted: int,
    low: int,
    high: int,
    split: int,
    tie: int,
    rules: Rules,
    work: Work,
    entries: Entries,
    detail: int,
) -> None:
    """Scan one list of events for one value, and write the answer if a step was reached."""
    n = rules.n
    time = work.sub_time if split else work.time
    entry = work.sub_entry if split else work.entry
    value = work.sub_value if split else work.value
    if rules.order == UNORDERED:
        furthest = scan_unordered(time, entry, value, low, high, rules, wanted, work)
    else:
        furthest = scan_ordered(time, entry, value, low, high, rules, tie, wanted, work, detail)
    if furthest == 0:
        return
    skipped = 0
    for s in range(furthest):
        skipped += (rules.optional >> s) & 1
    row = entries.size[0]
    entries.size[0] = row + 1
    entries.actor[row] = actor
    entries.value[row] = code
    entries.reached[row] = furthest - 1 - skipped
    entries.bits[row] = work.best[4]
    held = work.best[3]
    for k in range(n):
        entries.times[row * n + k] = work.best_times[k] if k < held else -1
    if detail:
        origin = work.sub_origin if split else work.origin
        write_matches(row, held, origin, rules, work, entries)


def write_matches(row: int, held: int, origin: list[int], rules: Rules, work: Work, entries: Entries) -> None:
    """Matched events per step: the reported attempt's, then those that reached the step in other attempts."""
    place = entries.matched_size[0]
    for k in range(rules.n):
        rank = 1
        if k < held:
            entries.matched_entry[place] = row
            entries.matched_step[place] = k
            entries.matched_rank[place] = 0
            entries.matched_event[place] = origin[work.best_events[k]]
            place += 1
        further = 0 if rules.order == UNORDERED else work.n_further[k]
        for i in range(further):
            e = work.further[k * MAX_FURTHER + i]
            if k >= held or e != work.best_events[k]:
                entries.matched_entry[place] = row
                entries.matched_step[place] = k
                entries.matched_rank[place] = rank
                entries.matched_event[place] = origin[e]
                place += 1
                rank += 1
    entries.matched_size[0] = place


def thin(size: int, work: Work) -> int:
    """Drop events with at most one match that equal both neighbours, when time strictly moves on."""
    if size < 3:
        return size
    kept = 1
    before_time, before_entry, before_value = work.time[0], work.entry[0], work.value[0]
    for e in range(1, size):
        time, entry, value, origin = work.time[e], work.entry[e], work.value[e], work.origin[e]
        repeated = (
            e + 1 < size
            and entry & (entry - 1) == 0
            and entry == before_entry
            and value == before_value
            and entry == work.entry[e + 1]
            and value == work.value[e + 1]
            and before_time < time
            and time < work.time[e + 1]
        )
        if not repeated:
            work.time[kept], work.entry[kept], work.value[kept] = time, entry, value
            work.origin[kept] = origin
            kept += 1
        before_time, before_entry, before_value = time, entry, value
    return kept


def select_values(size: int, rules: Rules, blank: list[int], work: Work) -> int:
    """Write the values the actor is evaluated for to `work.values`; returns how many.

    First and last touch look for a value with any text; among blank values only, the blank one counts.
    """
    if rules.attribution == FIRST_TOUCH or rules.attribution == LAST_TOUCH:
        first = rules.attribution == FIRST_TOUCH
        chosen = work.value[0 if first else size - 1]
        if not rules.plain_values:
            for i in range(size):
                code = work.value[i if first else size - 1 - i]
                if not blank[code]:
                    chosen = code
                    break
        work.values[0] = chosen
        return 1
    work.turn[0] += 1
    found = 0
    every = rules.attribution == ALL_EVENTS or rules.order == UNORDERED
    for e in range(size):
        code = work.value[e]
        if work.seen[code] != work.turn[0] and (every or (work.entry[e] >> rules.attribution_step) & 1):
            work.seen[code] = work.turn[0]
            work.local[code] = found
            work.values[found] = code
            found += 1
    if found == 0 and rules.blank >= 0:
        work.values[0] = rules.blank
        found = 1
    return found


def split_by_value(size: int, n_values: int, work: Work) -> None:
    """Copy the actor's events to `work.sub_*`, each value's together in time order, between `work.bounds`."""
    for i in range(n_values + 1):
        work.bounds[i] = 0
    for e in range(size):
        work.bounds[work.local[work.value[e]] + 1] += 1
    for i in range(n_values):
        work.bounds[i + 1] += work.bounds[i]
    for e in range(size):
        i = work.local[work.value[e]]
        place = work.bounds[i]
        work.bounds[i] = place + 1
        work.sub_time[place] = work.time[e]
        work.sub_entry[place] = work.entry[e]
        work.sub_value[place] = work.value[e]
        work.sub_origin[place] = work.origin[e]
    for i in range(n_values, 0, -1):
        work.bounds[i] = work.bounds[i - 1]
    work.bounds[0] = 0


KERNELS = (thin, select_values, split_by_value, write_matches, evaluate, run_actor, run_sorted)
"""For compilation, callees first."""
