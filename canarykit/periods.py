"""Cutting time into hours, days, weeks and months of one time zone, as UTC microseconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from canarykit.errors import DataError, PlanError, did_you_mean
from canarykit.times import check_zone

__all__ = ["Interval", "PeriodGrid", "WeekStart", "column_micros", "moment", "moments", "period_grid"]

Interval = Literal["hour", "day", "week", "month"]
WeekStart = Literal["sunday", "monday"]

_INTERVALS = ("hour", "day", "week", "month")
_HOUR_US = 3_600_000_000
_MOST_PERIODS = 100_000


@dataclass(frozen=True, eq=False)
class PeriodGrid:
    """Consecutive half-open periods."""

    edges: np.ndarray  # n + 1 moments, UTC microseconds since 1970; period i is `[edges[i], edges[i + 1])`
    # what was cut, and where days begin
    interval: Interval
    timezone: str = "UTC"

    @property
    def n(self) -> int:
        """Number of periods."""
        return len(self.edges) - 1

    @property
    def starts(self) -> pd.DatetimeIndex:
        """Start of each period, in the zone in which it was cut."""
        return moments(self.edges[:-1]).tz_convert(self.timezone)

    def index(self, times_us: np.ndarray) -> np.ndarray:
        """Period of each time; -1 before the first and `n` after the last."""
        return np.searchsorted(self.edges, times_us, side="right") - 1


def period_grid(
    begin_us: int,
    end_us: int,
    interval: Interval = "day",
    *,
    timezone: str = "UTC",
    week_start: WeekStart = "sunday",
) -> PeriodGrid:
    """The periods that cover `[begin_us, end_us)`, whole ones at both ends.

    Parameters
    ----------
    begin_us, end_us
        UTC microseconds; the period that holds `begin_us` is the first.
    interval
        "hour", "day", "week" or "month" of the calendar in `timezone`.
    timezone
        Zone in which days begin; a day of a clock change has 23 or 25 hours.
    week_start
        "sunday" (PostHog's default) or "monday".

    Raises
    ------
    PlanError
        If the interval is not one of the four, or there is no such zone.
    DataError
        If the window ends before it begins, or holds more than 100,000 periods.

    Examples
    --------
    >>> grid = period_grid(0, 26 * 3_600_000_000, "day")
    >>> [str(start.date()) for start in grid.starts]
    ['1970-01-01', '1970-01-02']
    """
    if interval not in _INTERVALS:
        raise PlanError(f"interval {interval!r} does not exist; {did_you_mean(interval, _INTERVALS)}")
    check_zone(timezone)
    if not begin_us <= end_us:
        raise DataError(f"the window ends ({moment(end_us)}) before it begins ({moment(begin_us)})")
    end_us = max(end_us, begin_us + 1)
    if (end_us - begin_us) / _HOUR_US / (1 if interval == "hour" else 24) > _MOST_PERIODS:
        raise DataError(f"the window holds more than {_MOST_PERIODS:,} periods; take a longer interval")
    local = moment(begin_us).tz_convert(timezone).tz_localize(None)
    if interval == "hour":
        first = begin_us - (local - local.floor("h")).value // 1000
        n = -((first - end_us) // _HOUR_US)
        return PeriodGrid(first + _HOUR_US * np.arange(n + 1), interval, timezone)
    day = local.normalize()
    if interval == "week":
        day -= pd.Timedelta(days=(day.weekday() + (1 if week_start == "sunday" else 0)) % 7)
    elif interval == "month":
        day = day.replace(day=1)
    last = moment(end_us).tz_convert(timezone).tz_localize(None) + pd.Timedelta(days=32)
    step = {"day": pd.DateOffset(days=1), "week": pd.DateOffset(days=7), "month": pd.DateOffset(months=1)}
    days = pd.date_range(day, last, freq=step[interval])
    zoned = days.tz_localize(timezone, ambiguous=np.ones(len(days), bool), nonexistent="shift_forward")
    edges = column_micros(zoned)
    return PeriodGrid(edges[: int(np.searchsorted(edges, end_us, side="left")) + 1], interval, timezone)


def column_micros(times: pd.Series | pd.DatetimeIndex) -> np.ndarray:
    """UTC microseconds since 1970 of a tz-aware column, as int64.

    Examples
    --------
    >>> column_micros(pd.to_datetime(["1970-01-01T00:00:01Z"])).tolist()
    [1000000]
    """
    return pd.DatetimeIndex(times).as_unit("us").asi8.copy()


def moments(micros: np.ndarray) -> pd.DatetimeIndex:
    """The UTC moments of microseconds since 1970.

    Examples
    --------
    >>> moments(np.array([3_600_000_000]))[0].isoformat()
    '1970-01-01T01:00:00+00:00'
    """
    return pd.DatetimeIndex(np.asarray(micros, dtype=np.int64).astype("datetime64[us]")).tz_localize("UTC")


def moment(micros: int) -> pd.Timestamp:
    """The UTC moment of one number of microseconds since 1970.

    Examples
    --------
    >>> moment(3_600_000_000).isoformat()
    '1970-01-01T01:00:00+00:00'
    """
    return pd.Timestamp(int(micros), unit="us", tz="UTC")
