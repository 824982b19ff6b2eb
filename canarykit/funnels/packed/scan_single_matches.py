"""The ordered scan where an event is one step and nothing is optional, excluded or nearly tied.

An event is offered to its actor, whoever's came before: actors are scanned side by side while their events
come in time order. These functions only run compiled.
"""

# mypy: ignore-errors
# (numba types these functions when it compiles them; mypy cannot)

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from canarykit.funnels.engine.scan_memory import EMPTY, LAST_TOUCH, NO_VALUE
from canarykit.funnels.packed.pack_kernels import spot

LATEST, BEST, BEST_EVENT, CHOSEN = 0, 1, 2, 3  # of an actor: latest event, furthest step, its event, value
SLOTS = 4  # then for every slot of the ordered scan the start of its attempt, and the last event of it


class Attempts(NamedTuple):
    """Working memory for the attempts of one bucket's actors."""

    actors: Any  # the fields above, actor after actor; EMPTY where nothing is known
    before: Any  # per event: the one before it in the attempt that it continues
    ready: Any  # how many actors have fields that were ever touched: the rest takes no memory yet


def make_attempts(largest: int, n: int) -> Attempts:
    """Room for buckets of up to `largest` events, in funnels of `n` steps."""
    actors, before = np.empty(largest * actor_fields(n), np.int64), np.empty(largest, np.int32)
    return Attempts(actors, before, np.zeros(1, np.int64))


def actor_fields(n):
    """Integers that the plain scan keeps of an actor."""
    return SLOTS + 2 * (n + 1)


def weights(rules, blank):
    """What each value weighs: a value counts before those of less weight."""
    if rules.attribution == NO_VALUE or rules.plain_values == 1:
        return np.ones(len(blank), np.int64)
    return 1 - blank


def scan_gathered(n_actors, layout, steps, rules, weight, groups, attempts):
    """Scan the actors of a bucket one after another, their events gathered and sorted."""
    packed, ends = groups.packed, groups.size
    actors, before, ready = attempts
    actors[: n_actors * actor_fields(rules.n)] = EMPTY
    ready[0] = max(ready[0], n_actors)
    fields = actor_fields(rules.n)
    row = 0
    for code in range(n_actors):
        while row < ends[code]:
            offer(row, packed[spot(row)], layout, steps, rules, weight, code * fields, actors, before)
            row += 1


def enter_actors(n_actors, layout, n, packed, attempts, entries, furthest, filled):
    """Add an entry for each of a bucket's actors who did a step, and forget them; returns the entries."""
    actors, before, _ = attempts
    value, reached, bits, times = entries
    shift = layout.value_bits + layout.entry_bits
    fields = actor_fields(n)
    for base in range(0, n_actors * fields, fields):
        best = actors[spot(base + BEST)]
        if best > 0:
            chosen = actors[spot(base + CHOSEN)]
            value[filled] = chosen
            reached[filled] = best - 1
            furthest[spot(chosen), spot(best - 1)] += 1
            bits[filled] = (1 << best) - 1
            row = actors[spot(base + BEST_EVENT)]
            for k in range(n - 1, -1, -1):
                if k < best:
                    times[k, filled] = (packed[spot(row)] >> shift) + layout.origin
                    row = np.int64(before[spot(row)])
                else:
                    times[k, filled] = -1
            filled += 1
    actors[: n_actors * fields] = EMPTY
    return filled


def offer(row, event, layout, steps, rules, weight, base, actors, before):
    """Offer an event, the next of the actor whose fields begin at `base`, to the attempts of that actor.

    The slots of the ordered scan, but an attempt is the chain of its events. What an event does cannot be
    foreseen, so arithmetic takes the place of branches.
    """
    moment = event >> (layout.value_bits + layout.entry_bits)
    s = steps[spot((event >> layout.value_bits) & ((1 << layout.entry_bits) - 1))]
    value_mask = (1 << layout.value_bits) - 1
    value, chosen = event & value_mask, actors[spot(base + CHOSEN)]
    late = np.int64(rules.attribution == LAST_TOUCH)
    counts = ~differ(chosen, EMPTY) | less(weight[spot(chosen & value_mask)], weight[spot(value)] + late)
    actors[spot(base + CHOSEN)] = either(value, chosen, counts)
    actors[spot(base + LATEST)] = event
    actors[spot(base + SLOTS)] = moment
    source = base + SLOTS + 2 * (s - 1)
    start, previous, last = actors[spot(source)], actors[spot(source + 2)], actors[spot(source + 3)]
    best, best_event = actors[spot(base + BEST)], actors[spot(base + BEST_EVENT)]
    moves = less(moment - start, rules.window + 1) & differ(previous, start)
    leads = moves & less(best, s)
    before[spot(row)] = actors[spot(source + 1)]
    actors[spot(source + 2)] = either(start, previous, moves)
    actors[spot(source + 3)] = either(row, last, moves)
    actors[spot(base + BEST)] = either(s, best, leads)
    actors[spot(base + BEST_EVENT)] = either(row, best_event, leads)


def less(one, other):
    """-1 where `one` is less than `other`, else 0."""
    return (one - other) >> 63


def differ(one, other):
    """-1 where two integers differ, else 0."""
    return ((one - other) | (other - one)) >> 63


def either(one, other, chosen):
    """`one` where `chosen` is -1, `other` where it is 0."""
    return other ^ ((other ^ one) & chosen)


INLINED = (actor_fields, less, differ, either, offer)

KERNELS = (*INLINED, weights, scan_gathered, enter_actors)
"""For compilation, callees first."""
