"""Hours in which nobody was seen although somebody should have been: a hole in the data, or a quiet night?

Arrays in, silences out. A day is cut into quarter hours; for each, the people seen and the visits begun are
counted. A silence is an hour or more of empty quarters. What should have been there is told by the same
quarters of the other days, weekdays by weekdays and weekends by weekends, scaled down where the day itself
was slower in its other hours. Given `k` visits in these quarters on `d` other days, none on this one has
the chance `(d / (d + 1)) ** k` where days are alike (exact, and careful when there are few days); of the
same hours, the one before and the one after, the quietest is taken. Visits come in clumps, so `k` is divided
by how much the hours vary beyond chance. The bar rises with the number of places where a silence could have
begun: a stage without a hole is called broken once in a thousand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

QUARTER = 900_000_000
"""Microseconds of a quarter hour."""
FALSE_ALARMS = 0.001
"""P(a stage without a hole is said to have one), where people come independently of each other."""
_A_DAY, _AN_HOUR = 96, 4
_SHOWN = 0.2
"""Part of a day's usual people that its other hours must hold before they tell how busy the day was."""

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Silence:
    """A time without anybody."""

    # first and last moment (microseconds UTC, whole quarter hours, half-open)
    since: int
    until: int
    expected: float  # visits (or people) that the other days (or the other arm) say there should have been
    log_evidence: float  # minus the log of the chance of such a silence
    days: int = 0  # other days it was told by

    @property
    def hours(self) -> float:
        """Its length."""
        return (self.until - self.since) / 3.6e9


def silence_bar(n_places: float) -> float:
    """Log evidence a silence needs where it could have begun in `n_places` places."""
    return math.log((1.0 + n_places) / FALSE_ALARMS)


def find_silences(
    people: Counts, visits: Counts, *, origin: int, since: int, covered: tuple[int, int]
) -> tuple[Silence, ...]:
    """Silences from `since` on that the other days do not explain, earliest first.

    `people` seen, and `visits` that began, are per quarter hour from `origin` on, which lies on a quarter
    hour; no people is a silence, and somebody who stays for hours is one visit, one piece of evidence.
    Quarters before `since` only tell the rhythm; one outside `covered`, the first and last moment of the
    data, or cut by them, is not known to be empty. Moments are microseconds UTC.

    Examples
    --------
    >>> days = np.tile(np.full(96, 5), 4)
    >>> days[3 * 96 + 40 : 3 * 96 + 60] = 0
    >>> start = 1_788_739_200_000_000  # Monday, 7 September 2026
    >>> covered = start, start + 4 * 96 * QUARTER
    >>> found = find_silences(days, days, origin=start, since=start, covered=covered)
    >>> [(silence.hours, silence.expected, silence.days) for silence in found]
    [(5.0, 100.0, 3)]
    """
    at = origin + QUARTER * np.arange(len(people), dtype=np.int64)
    is_covered = (at >= covered[0]) & (at + QUARTER <= covered[1])
    date, slot = np.divmod(at // QUARTER, _A_DAY)
    first = int(np.searchsorted(at, since))
    begun = visits[first:].sum()
    silences = []
    for begin, end in _runs(is_covered & (people == 0) & (at >= since), at_least=_AN_HOUR):
        run = np.zeros(len(people), dtype=bool)
        run[begin:end] = True
        clumps = _clumping(visits, is_covered & ~run, date, slot)
        expected, evidence, days = _against_other_days(visits, is_covered, run, date, slot)
        bar = silence_bar(min(float(begun) / clumps, len(people) - first))
        if evidence / clumps >= bar:
            silences.append(
                Silence(int(at[begin]), int(at[end - 1]) + QUARTER, expected, evidence / clumps, days)
            )
    return tuple(silences)


def one_sided_runs(
    arm: Counts, other: Counts, share: npt.NDArray[np.float64], *, origin: int
) -> tuple[Silence, ...]:
    """Silences of one arm that the other arm's activity at the same time makes unlikely, strongest first.

    People of either arm are per quarter hour from `origin` (microseconds UTC); `share` is the arm's part of
    the people of both who had come in by each, in [0, 1].

    Notes
    -----
    People-quarters of one person go together, so this only finds where to look: count the distinct people
    of the other arm within the time, and take `-n * log(1 - share)`.
    """
    with np.errstate(divide="ignore"):
        each = np.where(other > 0, other * -np.log1p(-np.minimum(share, 1 - 1e-9)), 0.0)
    silences = []
    for begin, end in _runs(arm == 0, at_least=_AN_HOUR):
        evidence = float(each[begin:end].sum())
        if evidence >= silence_bar(len(arm)):
            with np.errstate(divide="ignore", invalid="ignore"):
                odds = share[begin:end] / np.maximum(1 - share[begin:end], 1e-9)
            expected = float((other[begin:end] * odds).sum())
            silences.append(
                Silence(origin + begin * QUARTER, origin + end * QUARTER, expected, evidence)
            )  # fmt: skip
    return tuple(sorted(silences, key=lambda silence: -silence.log_evidence))


def _against_other_days(
    visits: Counts, is_covered: npt.NDArray[np.bool_], run: npt.NDArray[np.bool_], date: Counts, slot: Counts
) -> tuple[float, float, int]:
    """Visits expected in a run, the evidence that its emptiness is none of chance, and days it rests on."""
    dates_of_run = np.unique(date[run])
    expected = evidence = 0.0
    most_days = 0
    for day in dates_of_run:
        mine = date == day
        for same_kind in (True, False):
            others = is_covered & ~run & ~mine
            others &= (_is_weekend(date) == _is_weekend(np.array([day]))[0]) if same_kind else True
            seen = np.bincount(slot[others], visits[others], minlength=_A_DAY)
            days = np.bincount(slot[others], minlength=_A_DAY)
            if days[slot[mine & run]].any():
                break
        usual = np.divide(seen, days, out=np.zeros(_A_DAY), where=days > 0)
        level = _level(visits, usual, is_covered & mine & ~run, slot, same_kind=same_kind)
        each = seen * np.log1p(1 / np.maximum(days, 1))
        # the hour before and after count too: clocks change, and mornings begin sharply
        hours = [(slot[mine & run] + shift) % _A_DAY for shift in (0, -_AN_HOUR, _AN_HOUR)]
        least = min(hours, key=lambda slots: float(each[slots].sum()))
        expected += level * float(usual[least].sum())
        evidence += level * float(each[least].sum())
        most_days = max(most_days, int(days[least].max()))
    return expected, evidence, most_days


def _level(
    visits: Counts,
    usual: npt.NDArray[np.float64],
    others: npt.NDArray[np.bool_],
    slot: Counts,
    *,
    same_kind: bool,
) -> float:
    """How busy the day was outside the silence, at most 1.

    A day without other hours worth the name is taken as usual only by days of its own kind: the first
    weekend of a product that nobody uses at weekends is not a gap.
    """
    expected = float(usual[slot[others]].sum())
    if expected <= _SHOWN * float(usual.sum()):
        return 1.0 if same_kind else 0.0
    return min(1.0, float(visits[others].sum()) / expected)


def _clumping(visits: Counts, is_covered: npt.NDArray[np.bool_], date: Counts, slot: Counts) -> float:
    """Variance over mean of visits per hour of the same kind of day, at least 1; 4 where nothing tells."""
    hour = slot // _AN_HOUR
    key = (date - date[0]) * 24 + hour
    whole = np.bincount(key[is_covered], minlength=int(key[-1]) + 1) == _AN_HOUR
    sums = np.bincount(key[is_covered], visits[is_covered], minlength=int(key[-1]) + 1)[whole]
    whole_hours = np.flatnonzero(whole)
    cell = whole_hours % 24 + 24 * _is_weekend(whole_hours // 24 + date[0])
    n = np.bincount(cell, minlength=48)
    mean = np.bincount(cell, sums, minlength=48) / np.maximum(n, 1)
    squares = np.bincount(cell, (sums - mean[cell]) ** 2, minlength=48)
    many = n > 1
    if not mean[many].sum() > 0:
        return float(_AN_HOUR)
    return max(1.0, float((squares[many] / (n[many] - 1)).sum() / mean[many].sum()))


def _is_weekend(date: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Days since 1970-01-01, a Thursday, that are a Saturday or a Sunday (UTC)."""
    return np.isin((np.asarray(date) + 3) % 7, (5, 6))


def _runs(mask: npt.NDArray[np.bool_], *, at_least: int) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin >= at_least:
            yield int(begin), int(end)
