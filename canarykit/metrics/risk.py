"""From one row per person to counts per interval: who was at risk, and to whom it happened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["RiskSets", "risk_sets"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RiskSets:
    """Counts per interval of a share metric, both arms.

    Parameters
    ----------
    events_canary, events_control
        People whose first event fell into the interval.
    at_risk_canary, at_risk_control
        People who were exposed before the interval's end and had neither had the event nor used up their
        time when it began.
    """

    events_canary: Ints
    events_control: Ints
    at_risk_canary: Ints
    at_risk_control: Ints

    @property
    def events(self) -> Ints:
        """Events of both arms together."""
        return self.events_canary + self.events_control

    @property
    def n_intervals(self) -> int:
        """Number of intervals."""
        return len(self.events_canary)

    def swapped(self) -> RiskSets:
        """The arms changed over: the evidence that the rate *fell* is that of a rise in the swapped arms."""
        return RiskSets(self.events_control, self.events_canary, self.at_risk_control, self.at_risk_canary)

    def upto(self, n_intervals: int) -> RiskSets:
        """The first intervals only."""
        columns = (self.events_canary, self.events_control, self.at_risk_canary, self.at_risk_control)
        return RiskSets(*(column[:n_intervals] for column in columns))

    @classmethod
    def joined(cls, parts: list[RiskSets]) -> RiskSets:
        """Strata one after the other: each compares within itself, so nothing is pooled across them."""
        names = ("events_canary", "events_control", "at_risk_canary", "at_risk_control")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def risk_sets(
    starts: Ints,
    stops: Ints,
    first: Ints,
    canary: npt.NDArray[np.bool_],
    *,
    origin: int,
    step: int,
    n_intervals: int,
) -> RiskSets:
    """Count events and people at risk per interval, one first event per person.

    Parameters
    ----------
    starts, stops
        Half-open time at risk of each person, in microseconds; people with no time at risk are left out.
    first
        Microsecond of the first event that counts, -1 for none.
    canary
        True for the canary, False for the control.
    origin, step, n_intervals
        Intervals `[origin + i * step, origin + (i + 1) * step)`.

    Examples
    --------
    >>> starts, stops, first = np.array([0, 0, 12]), np.array([30, 30, 30]), np.array([-1, 14, 25])
    >>> canary = np.array([True, False, True])
    >>> sets = risk_sets(starts, stops, first, canary, origin=0, step=10, n_intervals=3)
    >>> sets.at_risk_canary.tolist(), sets.events_canary.tolist(), sets.at_risk_control.tolist()
    ([1, 2, 2], [0, 0, 1], [1, 1, 0])
    """
    present = starts < stops
    starts, stops, first, canary = starts[present], stops[present], first[present], canary[present]
    had = first >= 0
    enter = np.clip((starts - origin) // step, 0, n_intervals - 1)
    leave = np.clip((np.where(had, first, stops - 1) - origin) // step, 0, n_intervals - 1)
    counts = []
    for arm in (canary, ~canary):
        entered = np.bincount(enter[arm], minlength=n_intervals)
        left = np.bincount(leave[arm], minlength=n_intervals)
        events = np.bincount(leave[arm & had], minlength=n_intervals)
        at_risk = np.cumsum(entered) - np.concatenate([[0], np.cumsum(left)[:-1]])
        counts.append((events.astype(np.int64), at_risk.astype(np.int64)))
    (events_t, risk_t), (events_c, risk_c) = counts
    return RiskSets(events_t, events_c, risk_t, risk_c)
