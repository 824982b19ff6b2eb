"""How late events arrive, and from when on the newest hours are not complete yet.

An event is late when it arrives after its hour was passed: after that hour's end, and after most of it or
of a later hour had come in. So a file that was loaded once a day, or all at once, has nothing late in it,
while what a phone sends a day afterwards is. What arrives late is only known of hours that are old enough:
for each delay the events are counted among those hours alone that were old enough to show it (reporting
delays from right-truncated data: Lagakos, Barraj & De Gruttola 1988, doi:10.1093/biomet/75.3.515), so that
the newest hours, in which nothing can be late yet, do not make the others look better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from canarykit.compiler import can_compile

DELAYS = np.array([0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 18, 24, 36, 48, 72, 120, 168])
"""Upper ends of the delays told apart, in hours."""
COMPLETE = 0.95
"""Part of an hour's events that must be there before the hour counts."""
HOUR = 3_600_000_000
_MOST_CELLS = 10_000_000
COMPILED_FROM = 200_000
"""Events from which the compiled form pays for its being loaded."""

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Arrivals:
    """Events by the hour they happened in and the hour they arrived in, both counted from one origin."""

    happened: Counts
    arrived: Counts
    count: Counts

    @classmethod
    def at(cls, happened: Counts, arrived: Counts, origin: int) -> Arrivals:
        """Count single events by their two times, in microseconds; hours begin at `origin`."""
        if len(happened) < COMPILED_FROM or not can_compile():
            return cls.of((happened - origin) // HOUR, (arrived - origin) // HOUR)
        from canarykit.health.data.hour_kernels import count_hours

        low, high = ((int(end) - origin) // HOUR for end in (arrived.min(), arrived.max()))
        hours, span = (int(happened.max()) - origin) // HOUR + 1, high - low + 1
        if hours * span > _MOST_CELLS:
            return cls.of((happened - origin) // HOUR, (arrived - origin) // HOUR)
        counts = np.zeros(hours * span, np.int64)
        count_hours(happened, arrived, origin, HOUR, low, span, counts)
        cells = np.flatnonzero(counts)
        return cls(cells // span, cells % span + low, counts[cells])

    @classmethod
    def of(cls, happened: Counts, arrived: Counts) -> Arrivals:
        """Count single events."""
        return cls._grouped(happened, arrived, None)

    @classmethod
    def joined(cls, parts: list[Arrivals]) -> Arrivals:
        """Several parts as one."""
        columns = [np.concatenate([getattr(p, n) for p in parts]) for n in ("happened", "arrived", "count")]
        return cls._grouped(*columns)

    @classmethod
    def _grouped(cls, happened: Counts, arrived: Counts, count: Counts | None) -> Arrivals:
        """One entry a pair of hours; without counts every row is one event."""
        if not len(happened):
            return cls(happened, arrived, happened)
        low, span = int(arrived.min()), int(arrived.max()) - int(arrived.min()) + 1
        cell = happened * span + (arrived - low)
        if int(happened.max()) < _MOST_CELLS // span:  # the usual case, and no sort of all events
            sums = np.bincount(cell, weights=count)
            key = np.flatnonzero(sums)
            total = sums[key]
        else:
            key, index = np.unique(cell, return_inverse=True)
            total = np.bincount(index, weights=count)
        return cls(key // span, key % span + low, total.astype(np.int64))


@dataclass(frozen=True)
class Delays:
    """How late events arrive."""

    # events with a time of arrival, and those that arrived more than an hour late
    events: int
    late: int
    usual: int | None  # hours after which 95 % have arrived, 0 for within the hour; None for more than a week
    # moment (microseconds UTC) from which on the newest hours are incomplete; None where all are there
    complete_until: int | None

    @property
    def late_share(self) -> float:
        """Part of the events that arrived more than an hour late."""
        return self.late / self.events if self.events else 0.0


def delays_of(
    arrivals: Arrivals, *, origin: int, last_arrival: int, n_hours: int, whole: Arrivals | None = None
) -> Delays | None:
    """Delays of the events; None where no event knows when it arrived.

    Hours are counted from `origin` (microseconds UTC), `n_hours` to the end of the evaluation; nothing that
    came after `last_arrival` is in the log. `whole` are the arrivals of the whole log where `arrivals` are of
    some events only: an event is late when its hour had passed for the log, not for its own kind, all of
    which may be late.

    Examples
    --------
    >>> hours = np.repeat(np.arange(100), 10)
    >>> later = np.tile([0] * 8 + [6] * 2, 100)  # a fifth takes six hours
    >>> there = hours + later < 100
    >>> seen = Arrivals.of(hours[there], (hours + later)[there])
    >>> found = delays_of(seen, origin=0, last_arrival=100 * HOUR - 1, n_hours=100)
    >>> found.usual, 100 - found.complete_until // HOUR
    (5, 6)
    """
    total = int(arrivals.count.sum())
    if not total:
        return None
    passed = _passed(arrivals if whole is None else whole, n_hours)
    late_by = np.maximum(arrivals.arrived - passed[arrivals.happened], 0)
    level = np.searchsorted(DELAYS, late_by, side="left")
    counts = np.zeros((n_hours, len(DELAYS) + 1), dtype=np.int64)
    np.add.at(counts, (arrivals.happened, level), arrivals.count)
    age = (last_arrival - origin) // HOUR - passed
    there_by = _arrived(counts[:, :-1], age)
    delay = np.maximum(np.searchsorted(DELAYS, age, side="right") - 1, 0)
    waiting = np.flatnonzero(there_by[delay] < COMPLETE)
    # hours only get more complete with age: from the first that is not, all are waited for
    until = origin + int(waiting[0]) * HOUR if len(waiting) else None
    longer = int(counts[:, -1].sum())
    usual = None if longer > (1 - COMPLETE) * total else int(DELAYS[np.argmax(there_by >= COMPLETE)])
    return Delays(total, total - int(counts[:, 0].sum()), usual, until)


def _passed(arrivals: Arrivals, n_hours: int) -> Counts:
    """The hour by which each hour was over and half the events of it, or of a later one, had come in."""
    order = np.lexsort((arrivals.arrived, arrivals.happened))
    happened, arrived, count = arrivals.happened[order], arrivals.arrived[order], arrivals.count[order]
    begins = np.flatnonzero(np.diff(happened, prepend=-1))
    never = np.iinfo(np.int64).max
    half = np.full(n_hours, never)
    for begin, end in zip(begins, [*begins[1:], len(happened)], strict=True):
        so_far = np.cumsum(count[begin:end])
        half[happened[begin]] = arrived[begin + np.searchsorted(so_far, so_far[-1] / 2)]
    first = np.minimum.accumulate(half[::-1])[::-1]
    over = np.arange(1, n_hours + 1)
    return np.where(first == never, over, np.maximum(first, over))


def _arrived(counts: Counts, age: Counts) -> npt.NDArray[np.float64]:
    """Part of the events that has arrived after each delay, from the longest delay down."""
    arrived = np.ones(len(DELAYS))
    for j in range(len(DELAYS) - 1, 0, -1):
        old = age >= DELAYS[j]
        seen = int(counts[old, : j + 1].sum())
        longest = int(counts[old, j].sum())
        arrived[j - 1] = arrived[j] * (1 - longest / seen if seen else 1.0)
    return arrived
