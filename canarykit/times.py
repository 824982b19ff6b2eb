"""Moments and durations: tz-aware UTC inside, and never a bare number whose unit must be guessed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from canarykit.errors import DataError, NaiveTimestampError, PlanError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DAY", "check_zone", "duration", "micros", "to_utc"]

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
        If the value is no moment, or one that the zone skips or has twice.

    Examples
    --------
    >>> to_utc("2026-09-07T11:00:00+02:00").isoformat()
    '2026-09-07T09:00:00+00:00'
    """
    import pandas as pd

    if isinstance(value, bool | int | float):
        raise DataError(f"{name} is {value!r}; expected a time such as '2026-09-07T09:00:00Z'")
    try:
        moment = pd.Timestamp(value)
    except (ValueError, TypeError):
        raise DataError(f"{name} is {value!r}; expected a time such as '2026-09-07T09:00:00Z'") from None
    if moment is pd.NaT:
        raise DataError(f"{name} is missing; expected a time such as '2026-09-07T09:00:00Z'")
    if moment.tzinfo is None:
        if tz is None:
            raise NaiveTimestampError(
                f"{name} is {str(value)!r}, which says no time zone; write '{moment.isoformat()}Z' for UTC"
            )
        local = moment.tz_localize(tz, ambiguous="NaT", nonexistent="NaT")
        if not isinstance(local, pd.Timestamp):
            raise DataError(
                f"{name} is {str(value)!r}, a local time that does not exist, or occurs twice, in {tz}"
            )
        moment = local
    return moment.tz_convert("UTC").as_unit("us")


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
    if not 0 < seconds < float("inf"):
        raise PlanError(f"{name} is {value!r}; expected longer than zero")
    return seconds
