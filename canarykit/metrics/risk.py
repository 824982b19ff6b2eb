"""From one row per person to counts per interval: who was at risk, and to whom it happened.

Two kinds of counts. `interval_counts` tells what a chart shows: everybody at risk in an interval of the
calendar. `risk_sets` tells what may be compared: each event with those who came in at the same time and are
left. Over everybody at risk, newcomers who have a common event at once and people who never will stand side
by side, and their arms differ in how many they have of each; within an entry cohort chance alone decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from canarykit.stats.any_look.cohort_events import CohortEvents

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FEWEST, MOST, PART = 20, 50, 20
"""People of an entry cohort: at least one in `PART` of those seen so far, between the other two."""
LONGEST = 86_400_000_000
"""Microseconds after which a cohort that is still smaller is closed all the same: a day."""


@dataclass(frozen=True, eq=False)
class IntervalCounts:
    """Counts per interval of the calendar, both arms."""

    # people whose first event fell into the interval
    events_canary: Ints
    events_control: Ints
    # people who were exposed before the interval's end and had neither had the event nor used up their time
    # when it began
    at_risk_canary: Ints
    at_risk_control: Ints

    def swapped(self) -> IntervalCounts:
        """The arms changed over."""
        return IntervalCounts(
            self.events_control, self.events_canary, self.at_risk_control, self.at_risk_canary
        )

    @classmethod
    def joined(cls, parts: list[IntervalCounts]) -> IntervalCounts:
        """Intervals one after the other."""
        names = cls.__dataclass_fields__
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True, eq=False)
class RiskSets:
    """Events of a share metric at each look, with those they are compared with: the same entry cohort."""

    # people whose first event counts at the look: it fell into the interval, or before it if their cohort was
    # complete only now
    events_canary: Ints
    events_control: Ints
    # the events one by one, with the canary's part of those of the cohort who were left
    cohorts: CohortEvents
    # everybody at risk and every first event by interval of the calendar, for charts
    by_interval: IntervalCounts
    waiting: int = 0  # people of the newest cohort, which is not complete: none of their events counts yet

    @property
    def events(self) -> Ints:
        """Events of both arms together."""
        return self.events_canary + self.events_control

    @property
    def n_intervals(self) -> int:
        """Number of intervals."""
        return len(self.events_canary)

    @property
    def at_risk_canary(self) -> Floats:
        """People at risk, split so that the canary has its expected part of the look's events."""
        return self._people * self.cohorts.exposures()[0]

    @property
    def at_risk_control(self) -> Floats:
        """People at risk, split so that the control has its expected part of the look's events."""
        return self._people * self.cohorts.exposures()[1]

    @property
    def _people(self) -> Ints:
        return np.maximum(self.by_interval.at_risk_canary + self.by_interval.at_risk_control, 1)

    def counts(self, null_ratio: float = 1.0) -> tuple[Ints, Ints, Floats, Floats]:
        """What `EventMixture.log_e` takes to test this ratio of the rates."""
        return self.events_canary, self.events, *self.cohorts.exposures(null_ratio)

    def swapped(self) -> RiskSets:
        """The arms changed over: the evidence that the rate *fell* is that of a rise in the swapped arms."""
        cohorts, by_interval = self.cohorts.swapped(), self.by_interval.swapped()
        return RiskSets(self.events_control, self.events_canary, cohorts, by_interval, self.waiting)

    @classmethod
    def joined(cls, parts: list[RiskSets]) -> RiskSets:
        """Stages one after the other: each compares within itself, so nothing is pooled across them."""
        return cls(
            np.concatenate([part.events_canary for part in parts]),
            np.concatenate([part.events_control for part in parts]),
            CohortEvents.joined([part.cohorts for part in parts]),
            IntervalCounts.joined([part.by_interval for part in parts]),
            parts[-1].waiting,
        )


def interval_counts(
    starts: Ints,
    stops: Ints,
    first: Ints,
    canary: npt.NDArray[np.bool_],
    *,
    origin: int,
    step: int,
    n_intervals: int,
) -> IntervalCounts:
    """Count events and people at risk per interval of the calendar; the arguments are those of `risk_sets`.

    Examples
    --------
    >>> starts, stops, first = np.array([0, 0, 12]), np.array([30, 30, 30]), np.array([-1, 14, 25])
    >>> canary = np.array([True, False, True])
    >>> counts = interval_counts(starts, stops, first, canary, origin=0, step=10, n_intervals=3)
    >>> counts.at_risk_canary.tolist(), counts.events_canary.tolist(), counts.at_risk_control.tolist()
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
    return IntervalCounts(events_t, events_c, risk_t, risk_c)


def risk_sets(
    starts: Ints,
    stops: Ints,
    first: Ints,
    canary: npt.NDArray[np.bool_],
    *,
    origin: int,
    step: int,
    n_intervals: int,
    until: int | None = None,
    strata: npt.NDArray[np.int64] | None = None,
    by_age: bool = False,
) -> RiskSets:
    """Compare each person's first event with the people who came in with them and are left.

    A cohort takes in the people of one interval after another until it is large enough, and counts from
    the end of the interval that completes it; people who came in before `origin` belong to the first.

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
    until
        Moment of the last look, if the last interval is not over: people who came in during it wait. By
        default it is over.
    strata
        Kind of each person, such as returning or not; different kinds are in different cohorts.
    by_age
        Compare people at the same time since they came in, instead of at the same moment: each clock of a
        cohort is set to that of its last member, so an event counts once everybody has been there as long.

    Examples
    --------
    >>> starts, stops, first = np.zeros(40, int), np.full(40, 30), np.full(40, -1)
    >>> first[:3] = 4, 14, 15
    >>> canary = np.arange(40) % 4 == 0
    >>> sets = risk_sets(starts, stops, first, canary, origin=0, step=10, n_intervals=3)
    >>> sets.events_canary.tolist(), sets.events_control.tolist()
    ([1, 0, 0], [0, 2, 0])
    >>> sets.cohorts.share.round(3).tolist()  # 10 of 40, then 9 of 39, then 9 of 38
    [0.25, 0.231, 0.237]
    """
    arguments = {"origin": origin, "step": step, "n_intervals": n_intervals}
    by_interval = interval_counts(starts, stops, first, canary, **arguments)
    present = starts < stops
    starts, stops, first, canary = starts[present], stops[present], first[present], canary[present]
    enter = np.clip((starts - origin) // step, 0, n_intervals - 1)
    complete = n_intervals if until is None else min(n_intervals, (until - origin) // step)
    cohort, closes = _cohorts(enter, None if strata is None else strata[present], n_intervals, complete, step)
    had = first >= 0
    when = np.where(had, first, stops - 1)
    if by_age:
        last = np.zeros(cohort.max(initial=-1) + 1, np.int64)
        np.maximum.at(last, cohort, starts)
        when = when - starts + last[cohort]
        had = had & (when < (origin + n_intervals * step if until is None else until))
    look = np.maximum(np.clip((when - origin) // step, 0, n_intervals - 1), closes)
    order = np.lexsort((when, cohort))
    cohort, when, look = cohort[order], when[order], look[order]
    canary, had = canary[order], had[order]
    n = len(cohort)
    begins = np.diff(cohort, prepend=-1) != 0  # the first of each cohort, and of each moment within it
    same = ~begins & (np.diff(when, prepend=0) == 0)
    at = np.arange(n)
    cohort_at = np.maximum.accumulate(np.where(begins, at, 0))
    moment_at = np.maximum.accumulate(np.where(same, 0, at))
    before = np.concatenate([[0], np.cumsum(canary)])
    of_cohort, of_canary = np.bincount(cohort), np.bincount(cohort, canary)
    left = of_cohort[cohort] - (moment_at - cohort_at) if n else at
    ours = of_canary[cohort] - (before[moment_at] - before[cohort_at]) if n else at
    counted = np.flatnonzero(had & (look < n_intervals))
    counted = counted[np.argsort(look[counted], kind="stable")]
    look, mine = look[counted].astype(np.int64), canary[counted]
    share = np.asarray(ours[counted] / np.maximum(left[counted], 1), dtype=float)
    events_canary, events_control = (
        np.bincount(look[arm], minlength=n_intervals).astype(np.int64) for arm in (mine, ~mine)
    )
    cohorts = CohortEvents(look, share, n_intervals)
    return RiskSets(
        events_canary, events_control, cohorts, by_interval, waiting=int((closes >= n_intervals).sum())
    )


def _cohorts(
    enter: Ints, strata: Ints | None, n_intervals: int, complete: int, step: int
) -> tuple[Ints, Ints]:
    """Number of each person's cohort, and the look from which it counts (`n_intervals` if not yet).

    Only when people came in decides, never what they did or which arm they are in.
    """
    kinds = np.zeros(len(enter), np.int64) if strata is None else np.unique(strata, return_inverse=True)[1]
    cohort, closes = np.zeros(len(enter), np.int64), np.zeros(len(enter), np.int64)
    wait = max(1, LONGEST // step)
    begin = 0
    for kind in range(int(kinds.max()) + 1 if len(kinds) else 0):
        mine = kinds == kind
        people = np.bincount(enter[mine], minlength=n_intervals)
        target = np.clip(np.cumsum(people) / PART, FEWEST, MOST)
        number, look = np.zeros(n_intervals, np.int64), np.full(n_intervals, n_intervals)
        size = since = 0
        for i in range(n_intervals):
            number[i] = begin
            size += people[i]
            if size == 0:
                since = i + 1
            elif i < complete and (size >= target[i] or i + 1 - since >= wait):
                look[since : i + 1] = i
                begin, size, since = begin + 1, 0, i + 1
        begin += 1
        cohort[mine], closes[mine] = number[enter[mine]], look[enter[mine]]
    return cohort, closes
