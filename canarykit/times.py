"""Moments and durations: tz-aware UTC inside, and never a bare number whose unit must be guessed."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from canarykit.errors import DataError, NaiveTimestampError, PlanError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DAY", "check_zone", "day_start", "duration", "micros", "read_day", "to_utc"]

DAY = 86_400.0
_SECONDS = {
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "d": DAY,
    "day": DAY,
    "w": 7 * DAY,
    "week": 7 * DAY,
    "month": 31 * DAY,
}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", re.IGNORECASE)


Moment = TypeVar("Moment", bound=date)
_DAY = re.compile(r"(\d{4})([-/.]?)(\d{1,2})\2(\d{1,2})")
LONGEST = 200 * 366 * DAY
"""No rollout lasts longer; times stay within what a time column holds."""
YEARS = (1678, 2261)
"""First and last whole year whose moments can be counted in nanoseconds, as pandas does."""


def read_day(value: Any, *, name: str = "day") -> date | None:
    """The day that a value is, or None where it is a moment.

    `DataError` for a text that is neither a day nor a moment to the minute: "2026-09", "September"; for a day
    beyond the years that can be counted.

    Examples
    --------
    >>> read_day("2026-9-7"), read_day(date(2026, 9, 7)), read_day("2026-09-07T09:00:00Z")
    (datetime.date(2026, 9, 7), datetime.date(2026, 9, 7), None)
    """
    if isinstance(value, date) and not isinstance(value, datetime):
        return _counted_year(value, value, name)
    if not isinstance(value, str):
        return None
    match = _DAY.fullmatch(value.strip())
    if match is None or (not match[2] and len(value.strip()) != len("20260907")):
        if ":" in value or re.search(r"\dT\d\d", value):
            return None
        raise DataError(
            f"{name} is {value!r}; expected a day such as '2026-09-07', or a time such as "
            "'2026-09-07T09:00:00Z'"
        )
    try:
        day = date(int(match[1]), int(match[3]), int(match[4]))
    except ValueError as problem:
        raise DataError(f"{name} is {value!r}, which is not a day of the calendar: {problem}") from None
    return _counted_year(day, value, name)


def day_start(day: date, timezone: str) -> pd.Timestamp:
    """When a day of a zone begins, in UTC; a day without a midnight begins with its clock change.

    Examples
    --------
    >>> day_start(date(2026, 9, 6), "America/Santiago").isoformat()
    '2026-09-06T04:00:00+00:00'
    """
    import pandas as pd

    midnight = pd.Timestamp(year=day.year, month=day.month, day=day.day)
    local = midnight.tz_localize(check_zone(timezone), ambiguous=True, nonexistent="shift_forward")
    return local.tz_convert("UTC").as_unit("us")


def to_utc(value: Any, *, name: str = "time", tz: Any = None) -> pd.Timestamp:
    """One moment as a tz-aware UTC timestamp.

    Parameters
    ----------
    value
        ISO text, a `datetime`, or anything pandas reads as one moment.
    name
        What the moment is, for error messages.
    tz
        Zone of a value that carries none; without it such a value is refused.

    Raises
    ------
    NaiveTimestampError
        If the value carries no offset and `tz` is not given.
    DataError
        If the value is not a time, or one that the zone skips or repeats.

    Examples
    --------
    >>> to_utc("2026-09-07T11:00:00+02:00").isoformat()
    '2026-09-07T09:00:00+00:00'
    """
    import pandas as pd

    if isinstance(value, bool | int | float):
        raise DataError(f"{name} is {value!r}; expected a time such as '2026-09-07T09:00:00Z'")
    try:
        if isinstance(value, str) and value.strip().lower() in ("now", "today"):
            raise ValueError  # pandas reads the machine's clock; "now" is an argument here
        moment = pd.Timestamp(value)
    except (ValueError, TypeError, OverflowError):
        raise DataError(f"{name} is {value!r}; expected a time such as '2026-09-07T09:00:00Z'") from None
    if moment is pd.NaT:
        raise DataError(f"{name} is missing; expected a time such as '2026-09-07T09:00:00Z'")
    if moment.tzinfo is None:
        if tz is None:
            raise NaiveTimestampError(
                f"{name} is {str(value)!r}, which says no time zone; write '{moment.isoformat()}Z' for UTC"
            )
        if isinstance(tz, str):
            check_zone(tz, name="tz")
        local = moment.tz_localize(tz, ambiguous="NaT", nonexistent="NaT")
        if not isinstance(local, pd.Timestamp):
            raise DataError(
                f"{name} is {str(value)!r}, a local time that does not exist, or occurs twice, in {tz}"
            )
        moment = local
    try:
        return _counted_year(moment.tz_convert("UTC").as_unit("us"), value, name)
    except (ValueError, OverflowError):
        raise _beyond_years(value, name) from None


def _counted_year(moment: Moment, value: Any, name: str) -> Moment:
    if not YEARS[0] <= moment.year <= YEARS[1]:
        raise _beyond_years(value, name)
    return moment


def _beyond_years(value: Any, name: str) -> DataError:
    return DataError(f"{name} is {str(value)!r}; times are counted from the year {YEARS[0]} to {YEARS[1]}")


def micros(value: Any, *, name: str = "time") -> int:
    """One moment as whole microseconds since 1970 UTC, the unit of every time column.

    Examples
    --------
    >>> micros("1970-01-01T00:00:01Z")
    1000000
    """
    return int(to_utc(value, name=name).value // 1000)


def check_zone(timezone: str, *, name: str = "timezone") -> str:
    """The name of a time zone, or an error that names the one that was probably meant.

    Examples
    --------
    >>> check_zone("Europe/Berlin")
    'Europe/Berlin'
    """
    from zoneinfo import ZoneInfo, available_timezones

    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, TypeError, OSError):
        hint = did_you_mean(str(timezone), sorted(available_timezones())).rpartition(". ")[2]
        hint = hint if hint.startswith("Did") else "see zoneinfo.available_timezones()"
        raise PlanError(
            f"{name} is {timezone!r}; expected the name of a zone such as 'Europe/Berlin'. {hint}"
        ) from None
    return timezone


def duration(value: Any, *, name: str = "duration") -> float:
    """A duration in seconds.

    Parameters
    ----------
    value
        Text with its unit: "90 s", "30 min", "6h", "14d", "2 weeks", "1 month" (31 days, as PostHog
        counts months), or a `timedelta`. Bare numbers are refused.
    name
        What the duration is, for error messages.

    Examples
    --------
    >>> duration("14d"), duration("36 hours")
    (1209600.0, 129600.0)
    """
    if hasattr(value, "total_seconds"):
        seconds = float(value.total_seconds())
    else:
        match = _DURATION.fullmatch(value) if isinstance(value, str) else None
        unit = match.group(2).lower() if match else ""
        unit = unit if unit in _SECONDS else unit.removesuffix("s")
        if match is None or unit not in _SECONDS:
            hint = " (write 'min' or 'month': 'm' could be either)" if unit == "m" else ""
            raise PlanError(f"{name} is {value!r}; expected a number with its unit, such as '14d'{hint}")
        seconds = float(match.group(1)) * _SECONDS[unit]
    if seconds > LONGEST:
        raise PlanError(f"{name} is {value!r}; expected no more than 200 years")
    if not seconds > 0:
        raise PlanError(f"{name} is {value!r}; expected longer than zero")
    return seconds
