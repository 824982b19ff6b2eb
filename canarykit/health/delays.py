"""How late events arrive, and from when on the newest hours are not complete yet.

What arrived late is only known of hours that are old enough. For each delay the events are counted among
those hours alone that were old enough to show it (the estimate of reporting delays from right-truncated
data: Lagakos, Barraj & De Gruttola 1988, doi:10.1093/biomet/75.3.515), so that the newest hours, in which
nothing can be late yet, do not make the others look better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["COMPLETE", "DELAYS", "Delays", "delays_of"]

DELAYS = (0.25, 0.5, 1, 2, 3, 4, 6, 8, 12, 18, 24, 36, 48, 72, 120, 168)
"""Upper ends of the delays told apart, in hours; a quarter of an hour is on time."""
COMPLETE = 0.95
"""Part of an hour's events that must be there before the hour counts."""
LATE = DELAYS.index(1) + 1
_HOUR = 3_600_000_000


@dataclass(frozen=True)
class Delays:
    """How late events arrive.

    Parameters
    ----------
    events, late
        Events with a time of arrival, and those that arrived more than an hour after they happened.
    usual
        Hours after which 95 % have arrived.
    complete_until
        Moment (microseconds UTC) from which on the newest hours are incomplete; None where all are there.
    """

    events: int
    late: int
    usual: float
    complete_until: int | None

    @property
    def late_share(self) -> float:
        """Part of the events that arrived more than an hour late."""
        return self.late / self.events if self.events else 0.0


def delays_of(counts: npt.NDArray[np.int64], *, origin: int, last_arrival: int, stop: int) -> Delays | None:
    """Delays from events per hour and delay; None without any.

    Parameters
    ----------
    counts
        Events by the hour they happened in (the first begins at `origin`) and by delay: one column per
        entry of `DELAYS`, and one for whatever took longer.
    last_arrival
        When the newest arrival was: nothing that came later is in the log.
    stop
        End of the evaluation.

    Examples
    --------
    >>> hours = np.zeros((100, len(DELAYS) + 1), dtype=np.int64)
    >>> hours[:, 0], hours[:94, 6] = 80, 20  # a fifth takes up to six hours
    >>> found = delays_of(hours, origin=0, last_arrival=100 * _HOUR, stop=100 * _HOUR)
    >>> found.usual, (100 * _HOUR - found.complete_until) / _HOUR
    (6, 6.0)
    """
    total = int(counts.sum())
    if not total:
        return None
    ends = origin + _HOUR * np.arange(1, len(counts) + 1, dtype=np.int64)
    age = (last_arrival - ends) / _HOUR
    arrived = _arrived(counts[:, : len(DELAYS)], age)
    level = np.searchsorted(DELAYS, age, side="right") - 1
    there = arrived[np.maximum(level, 0)] >= COMPLETE
    before_stop = ends - _HOUR < stop
    waiting = np.flatnonzero(~there & before_stop)
    # hours only get more complete with age: from the first that is not, all are waited for
    until = int(ends[waiting[0]] - _HOUR) if len(waiting) else None
    usual = DELAYS[int(np.argmax(arrived >= COMPLETE))]
    return Delays(total, int(counts[:, LATE:].sum()), usual, until)


def _arrived(counts: npt.NDArray[np.int64], age: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Part of the events that has arrived after each delay, from the longest delay down."""
    arrived = np.ones(len(DELAYS))
    for j in range(len(DELAYS) - 1, 0, -1):
        old = age >= DELAYS[j]
        seen = int(counts[old, : j + 1].sum())
        longest = int(counts[old, j].sum())
        arrived[j - 1] = arrived[j] * (1 - longest / seen if seen else 1.0)
    return arrived
