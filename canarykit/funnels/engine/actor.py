"""One actor's turn: thin the list, find the values to evaluate, scan once per value, write the answers."""

from __future__ import annotations

from canarykit.funnels.engine.scan_memory import (
    ACTOR,
    ALL_EVENTS,
    BEST_BITS,
    BEST_COUNT,
    BITS,
    FIRST_TOUCH,
    LAST_TOUCH,
    MATCH_FIELDS,
    MAX_FURTHER,
    NO_VALUE,
    REACHED,
    STEP_TOUCH,
    STEPS_MASK,
    TIMES,
    UNORDERED,
    VALUE,
    Places,
    Rules,
)
from canarykit.funnels.engine.scan_ordered import scan_ordered
from canarykit.funnels.engine.scan_unordered import scan_unordered


def run_sorted(
    time: list[int],
    entry: list[int],
    value: list[int],
    starts: list[int],
    rules: Rules,
    blank: list[int],
    m: list[int],
    at: Places,
    answers: list[int],
    matched: list[int],
    used: list[int],
) -> None:
    """Every actor of a list sorted by actor and time; actor i has events `starts[i]` to `starts[i + 1]`.

    `blank[code]` is 1 for breakdown values without any text. `used` counts the rows of `answers`, and of
    `matched`, which is written where the rules want detail.
    """
    for actor in range(len(starts) - 1):
        low = starts[actor]
        size = starts[actor + 1] - low
        load_actor(time, entry, value, low, size, m, at)
        run_actor(actor, size, rules, blank, m, at, answers, matched, used)


def load_actor(
    time: list[int], entry: list[int], value: list[int], first: int, size: int, m: list[int], at: Places
) -> None:
    """An actor's events into the working memory."""
    for e in range(size):
        m[at.time + e] = time[first + e]
        m[at.entry + e] = entry[first + e]
        m[at.value + e] = value[first + e]
        m[at.origin + e] = first + e


def run_actor(
    actor: int,
    size: int,
    rules: Rules,
    blank: list[int],
    m: list[int],
    at: Places,
    answers: list[int],
    matched: list[int],
    used: list[int],
) -> None:
    """Evaluate the actor whose `size` events stand, in time order, at `at.time`, `.entry`, `.value`."""
    if rules.thin:
        size = thin(size, m, at)
    tie = rules.tie
    if tie > 0:  # near ties are for actors without any exclusion
        for e in range(size):
            if m[at.entry + e] > STEPS_MASK:
                tie = 0
    n_values = 1
    if rules.attribution == NO_VALUE:
        m[at.values] = 0
    else:
        n_values = select_values(size, rules, blank, m, at)
    split = rules.attribution == ALL_EVENTS and n_values > 1
    if split:
        split_by_value(size, n_values, m, at)
    time = at.sub_time if split else at.time
    entry = at.sub_entry if split else at.entry
    value = at.sub_value if split else at.value
    origin = at.sub_origin if split else at.origin
    for i in range(n_values):
        code = m[at.values + i]
        low = m[at.bounds + i] if split else 0
        high = m[at.bounds + i + 1] if split else size
        wanted = code if rules.attribution == STEP_TOUCH else -1
        if rules.order == UNORDERED:
            furthest = scan_unordered(time, entry, value, low, high, rules, wanted, m, at)
        else:
            furthest = scan_ordered(time, entry, value, low, high, rules, tie, wanted, m, at)
        if furthest > 0:
            if rules.detail:
                write_matches(used[0], origin, rules, m, at, matched, used)
            write_answer(actor, code, furthest, rules, m, at, answers, used)


def write_answer(
    actor: int,
    code: int,
    furthest: int,
    rules: Rules,
    m: list[int],
    at: Places,
    answers: list[int],
    used: list[int],
) -> None:
    """One row: actor, value, furthest step less the optional ones up to it, steps done, times."""
    n = rules.n
    row = used[0] * (TIMES + n)
    used[0] += 1
    skipped = 0
    for s in range(furthest):
        skipped += (rules.optional >> s) & 1
    answers[row + ACTOR] = actor
    answers[row + VALUE] = code
    answers[row + REACHED] = furthest - 1 - skipped
    answers[row + BITS] = m[at.best + BEST_BITS]
    n_times = m[at.best + BEST_COUNT]
    for k in range(n):
        answers[row + TIMES + k] = m[at.best_times + k] if k < n_times else -1


def write_matches(
    answer: int, origin: int, rules: Rules, m: list[int], at: Places, matched: list[int], used: list[int]
) -> None:
    """Matched events per step: the reported attempt's, then those that reached the step in other attempts."""
    n_times = m[at.best + BEST_COUNT]
    for k in range(rules.n):
        reported = -1
        if k < n_times:
            reported = m[at.best_events + k]
            write_match(answer, k, 0, m[origin + reported], matched, used)
        rank = 1
        further = 0 if rules.order == UNORDERED else m[at.n_further + k]
        for i in range(further):
            e = m[at.further + k * MAX_FURTHER + i]
            if e != reported:
                write_match(answer, k, rank, m[origin + e], matched, used)
                rank += 1


def write_match(answer: int, step: int, rank: int, event: int, matched: list[int], used: list[int]) -> None:
    """One matched event."""
    row = used[1] * MATCH_FIELDS
    used[1] += 1
    matched[row] = answer
    matched[row + 1] = step
    matched[row + 2] = rank
    matched[row + 3] = event


def thin(size: int, m: list[int], at: Places) -> int:
    """Drop events with at most one match that equal both neighbours, when time strictly moves on."""
    if size < 3:
        return size
    kept = 1
    before_time, before_entry, before_value = m[at.time], m[at.entry], m[at.value]
    for e in range(1, size):
        time, entry, value, origin = m[at.time + e], m[at.entry + e], m[at.value + e], m[at.origin + e]
        repeated = (
            e + 1 < size
            and entry & (entry - 1) == 0
            and entry == before_entry
            and value == before_value
            and entry == m[at.entry + e + 1]
            and value == m[at.value + e + 1]
            and before_time < time
            and time < m[at.time + e + 1]
        )
        if not repeated:
            m[at.time + kept] = time
            m[at.entry + kept] = entry
            m[at.value + kept] = value
            m[at.origin + kept] = origin
            kept += 1
        before_time, before_entry, before_value = time, entry, value
    return kept


def select_values(size: int, rules: Rules, blank: list[int], m: list[int], at: Places) -> int:
    """Write the values the actor is evaluated for to `at.values`; returns how many.

    First and last touch look for a value with any text; among blank values only, the blank one counts.
    """
    if rules.attribution == FIRST_TOUCH or rules.attribution == LAST_TOUCH:
        first = rules.attribution == FIRST_TOUCH
        chosen = m[at.value] if first else m[at.value + size - 1]
        if not rules.plain_values:
            for i in range(size):
                code = m[at.value + i] if first else m[at.value + size - 1 - i]
                if not blank[code]:
                    chosen = code
                    break
        m[at.values] = chosen
        return 1
    m[at.turn] += 1
    turn = m[at.turn]
    n_values = 0
    every = rules.attribution == ALL_EVENTS or rules.order == UNORDERED
    for e in range(size):
        code = m[at.value + e]
        if m[at.seen + code] != turn and (every or (m[at.entry + e] >> rules.attribution_step) & 1):
            m[at.seen + code] = turn
            m[at.local + code] = n_values
            m[at.values + n_values] = code
            n_values += 1
    if n_values == 0 and rules.blank >= 0:
        m[at.values] = rules.blank
        n_values = 1
    return n_values


def split_by_value(size: int, n_values: int, m: list[int], at: Places) -> None:
    """Copy the actor's events to `at.sub_*`, each value's together in time order, between `at.bounds`."""
    for i in range(n_values + 1):
        m[at.bounds + i] = 0
    for e in range(size):
        m[at.bounds + m[at.local + m[at.value + e]] + 1] += 1
    for i in range(n_values):
        m[at.bounds + i + 1] += m[at.bounds + i]
    for e in range(size):
        i = m[at.local + m[at.value + e]]
        slot = m[at.bounds + i]
        m[at.bounds + i] = slot + 1
        m[at.sub_time + slot] = m[at.time + e]
        m[at.sub_entry + slot] = m[at.entry + e]
        m[at.sub_value + slot] = m[at.value + e]
        m[at.sub_origin + slot] = m[at.origin + e]
    for i in range(n_values, 0, -1):
        m[at.bounds + i] = m[at.bounds + i - 1]
    m[at.bounds] = 0


KERNELS = (
    thin,
    select_values,
    split_by_value,
    write_match,
    write_matches,
    write_answer,
    run_actor,
    load_actor,
    run_sorted,
)
"""For compilation, callees first."""
