"""Dates in filters: relative ones counted back from `as_of`, absolute ones read as each evaluator reads them.

The server reads a date without an offset in the team's time zone; the SDK reads it as UTC.
"""

from __future__ import annotations

import calendar
import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from canarykit.errors import PlanError
from canarykit.targeting.value_text import server_number

_RELATIVE = re.compile(r"-?([0-9]+)([hdwmy])")
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))"
)
_NAIVE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d+))?)?)?")
_EXOTIC = (
    "%Y-%m-%d %H:%M:%S %Z", "%Y-%m-%d %H:%M:%S %z", "%Y-%m-%d %H:%M:%S%z", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d",
    "%m/%d/%Y %H:%M:%S", "%m/%d/%Y", "%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y", "%B %d %Y", "%b %d %Y",
    "%d %B %Y %H:%M:%S", "%d %b %Y %H:%M:%S", "%B %d, %Y %H:%M:%S", "%b %d, %Y %H:%M:%S",
)  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Clock:
    """The moment an evaluation happens, and the team's time zone."""

    # timezone-aware moment that relative dates count back from; None refuses them
    as_of: datetime | None = None
    zone: str = "UTC"  # name of the team's time zone, for dates without an offset on the server

    def __post_init__(self) -> None:
        self.tzinfo()  # a name that is not a zone is refused at once

    def now(self, why: str) -> datetime:
        """The moment, in UTC; a `PlanError` where it was not given."""
        if self.as_of is None:
            raise PlanError(f"{why} is counted from the moment of evaluation; pass as_of=")
        return self.as_of.astimezone(UTC)

    def localise(self, naive: datetime) -> datetime | None:
        """A wall clock of the team as a moment: the earlier of two, None in a gap."""
        zone = self.tzinfo()
        moment = naive.replace(tzinfo=zone, fold=0).astimezone(UTC)
        return moment if moment.astimezone(zone).replace(tzinfo=None) == naive else None

    def tzinfo(self) -> ZoneInfo:
        """The zone itself."""
        try:
            return ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
            raise PlanError(f"no time zone {self.zone!r}; write a name such as 'Europe/Berlin'") from None


def relative_date(text: str, now: datetime) -> datetime | None:
    """The moment `7d`, `-7d`, `2w`, `1m` or `1y` before now; None where the text is no relative date.

    Months and years keep the day and shrink it to the month's end one step at a time: two months before
    March 31 is January 28, through February 28.

    Examples
    --------
    >>> relative_date("-2m", datetime(2022, 3, 31)).date().isoformat()
    '2022-01-28'
    """
    match = _RELATIVE.fullmatch(text)
    if match is None or len(match[1]) > 12 or int(match[1]) >= 10_000:
        return None
    number, unit = int(match[1]), match[2]
    try:
        if unit in "hdw":
            hours = {"h": 1, "d": 24, "w": 168}[unit]
            return now - timedelta(hours=number * hours)
        return _months_before(now, number * (12 if unit == "y" else 1), step=12 if unit == "y" else 1)
    except (OverflowError, ValueError):
        return None


def _months_before(now: datetime, months: int, *, step: int) -> datetime | None:
    index, day = now.year * 12 + now.month - 1, now.day
    for _ in range(0, months, step):
        index -= step
        if index < 12:
            return None
        if day > 28:
            day = min(day, calendar.monthrange(index // 12, index % 12 + 1)[1])
    return now.replace(year=index // 12, month=index % 12 + 1, day=day)


def server_filter_date(text: str, clock: Clock) -> int | None:
    """A date of a filter as the server reads it, in nanoseconds since 1970 UTC."""
    if _RELATIVE.fullmatch(text):
        local = clock.now(f"the relative date {text!r}").astimezone(clock.tzinfo()).replace(tzinfo=None)
        before = relative_date(text, local)
        moment = None if before is None else clock.localise(before)
        if moment is not None:
            return nanoseconds(moment)
    return _server_absolute(text, clock)


def server_person_date(value: Any, clock: Clock) -> int | None:
    """A date of a person as the server reads it: epoch seconds, a text that is one, or a date text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    seconds = server_number(value)
    if seconds is not None:
        return _epoch_nanoseconds(seconds)
    return server_filter_date(value, clock) if isinstance(value, str) else None


def sdk_date(value: Any, clock: Clock, *, relative: bool) -> datetime | None:
    """A date as the SDK reads it: ISO text in UTC unless it says otherwise; None where it cannot."""
    text = str(value)
    if relative and re.search(r"^-?[0-9]+[a-z]$", text):
        moment = relative_date(text.rstrip("\n"), clock.now(f"the relative date {text!r}"))
        if moment is not None:
            return moment
    try:
        parsed = _sdk_absolute(text.strip(), clock)
    except (ValueError, OverflowError):
        return None
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)


def sdk_person_date(value: Any, clock: Clock) -> datetime | date | None:
    """A date of a person as the SDK takes it: a date, a moment or a text; None for anything else."""
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return value
    return sdk_date(value, clock, relative=False) if isinstance(value, str) else None


def _sdk_absolute(text: str, clock: Clock) -> datetime:
    if text.endswith("Z"):
        text = text[:-1] + "+00:00"
    elif text.upper().endswith(" UTC"):
        text = text[:-4] + "+00:00"
    elif re.fullmatch(r"\d{4}", text):
        now = clock.now(f"the year {text!r} (today in that year)")
        return datetime(int(text), now.month, now.day)
    return datetime.fromisoformat(re.sub(r" ([+-]\d{2}:\d{2})$", r"\1", text))


def _server_absolute(text: str, clock: Clock) -> int | None:
    try:
        if match := _RFC3339.fullmatch(text):
            *parts, fraction, sign, hours, minutes = match.groups()
            offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
            zone = timezone(-offset if sign == "-" else offset)
            year, month, day, hour, minute, second = map(int, parts)
            return _with_fraction(datetime(year, month, day, hour, minute, second, tzinfo=zone), fraction)
        if match := _NAIVE.fullmatch(text):
            *parts, fraction = match.groups()
            year, month, day, hour, minute, second = (int(part or 0) for part in parts)
            moment = clock.localise(datetime(year, month, day, hour, minute, second))
            return None if moment is None else _with_fraction(moment, fraction)
        return _exotic(text)
    except (ValueError, OverflowError):
        return None


def _exotic(text: str) -> int | None:
    """Rarer spellings the server still understands, read as UTC unless they say otherwise."""
    for form in _EXOTIC:
        try:
            moment = datetime.strptime(text, form)
        except ValueError:
            continue
        return nanoseconds(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError):
        return None
    return nanoseconds(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _epoch_nanoseconds(seconds: float) -> int | None:
    if math.isnan(seconds):
        return 0  # the server casts it to the integer 0
    if abs(seconds) > 8e12:
        return None
    fraction = math.fmod(seconds, 1.0) * 1e9
    return math.floor(seconds) * 10**9 + max(round(fraction), 0)


def _with_fraction(moment: datetime, fraction: str | None) -> int:
    return nanoseconds(moment) + (int(fraction[:9].ljust(9, "0")) if fraction else 0)


def nanoseconds(moment: datetime) -> int:
    """Nanoseconds since 1970 UTC of a moment with a zone."""
    difference = moment - _EPOCH
    return (difference.days * 86_400 + difference.seconds) * 10**9 + difference.microseconds * 1000
