"""Time columns: tz-aware UTC microseconds, and no zone ever guessed without being told.

A time is a moment in a column of times, or a text such as `2026-09-07T09:00:00.5Z`: date, hour and minute,
seconds with up to nine digits, and a zone as `Z`, `UTC` or an offset. What stands behind the microsecond is
cut off. A text without a zone, or a date alone, is local time in the zone that was given, and refused where
none was; a local time that the zone's clock change skips or repeats is refused. Numbers are not times: only
whoever wrote them knows their unit. Everything else is a time that cannot be read, and is counted.
"""

from __future__ import annotations

import datetime
import zoneinfo
from difflib import get_close_matches
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from canarykit.errors import DataError, NaiveTimestampError
from canarykit.events.text import as_text, floored

UTC_TIME = pa.timestamp("us", "UTC")
_DATE = r"(1[7-9]|2[01])[0-9][0-9]-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_CLOCK = r"[Tt ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?"
_ZONE = r" ?([Zz]|UTC|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)"
AWARE = rf"^{_DATE}{_CLOCK}{_ZONE}$"
"""Texts of times that say their zone, blanks at both ends left out (RE2 and Java agree on it)."""
NAIVE = rf"^{_DATE}({_CLOCK})?$"
"""Texts of times that do not."""
_HINT = (
    "pass tz= to say which zone they are in: tz='UTC', or the local zone of whoever wrote them, such as "
    "tz='Europe/Berlin'"
)


def epoch_micros(times: pa.ChunkedArray) -> np.ndarray:
    """A UTC time column as int64 microseconds since 1970; missing times are int64's minimum."""
    numbers = times.cast(pa.int64())
    if numbers.null_count:
        numbers = pc.fill_null(numbers, np.iinfo(np.int64).min)
    return numbers.to_numpy()


def as_micros(times: pa.ChunkedArray) -> pa.ChunkedArray:
    """A time column as whole microseconds since 1970, UTC."""
    return times.cast(UTC_TIME).cast(pa.int64())


def zone_name(tz: Any) -> str | None:
    """The name of a time zone, checked; None for none.

    Examples
    --------
    >>> zone_name("Europe/Berlin"), zone_name(datetime.timezone.utc), zone_name(None)
    ('Europe/Berlin', 'UTC', None)
    """
    if tz is None:
        return None
    name = getattr(tz, "key", None) or getattr(tz, "zone", None) or str(tz)
    if isinstance(tz, datetime.timezone) and name.startswith("UTC"):
        hours = tz.utcoffset(None).total_seconds() / 3600
        if hours != int(hours):
            raise DataError(f"tz is {name}; expected the name of a zone, such as 'Europe/Berlin'")
        name = f"Etc/GMT{-int(hours):+d}" if hours else "UTC"
    if name not in _zones():
        close = get_close_matches(name, sorted(_zones()), n=1)
        meant = f". Did you mean {close[0]!r}?" if close else ""
        raise DataError(f"tz is {name!r}; expected the name of a time zone, such as 'Europe/Berlin'{meant}")
    return str(name)


@cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones() | {"UTC"})


def read_times(
    column: pa.ChunkedArray, name: str, tz: Any = None, *, lenient: bool = False
) -> tuple[pa.ChunkedArray, int]:
    """A time column as UTC microseconds, and how many values said no zone and were read in `tz`.

    Values that are missing or cannot be read come back as null; with `lenient`, so does everything that
    would be refused.

    Raises
    ------
    NaiveTimestampError
        If any value carries no offset and `tz` is not given.
    DataError
        If the column is numbers, if no value can be read, or if a local time is skipped or repeated by
        the zone's clock change.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column), UTC_TIME)]), 0
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        stored = floored(column) if pa.types.is_timestamp(kind) else column.cast(pa.timestamp("us"))
        if stored.type.tz is not None:
            return stored.cast(UTC_TIME), 0
        if tz is None and not lenient:
            raise naive_error(name)
        return _localised(stored, name, tz or "UTC", lenient), len(stored) - stored.null_count
    texts = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind)
    if not texts and not pa.types.is_null(kind) and not str(kind).startswith("string"):
        if lenient:
            return pa.chunked_array([pa.nulls(len(column), UTC_TIME)]), 0
        raise not_times_error(name, str(kind), column.drop_null()[0].as_py())
    return _read_texts(as_text(column), name, tz, lenient)


def _read_texts(column: pa.ChunkedArray, name: str, tz: Any, lenient: bool) -> tuple[pa.ChunkedArray, int]:
    text = pc.utf8_trim(column, " \t\r\n\f")
    aware = pc.fill_null(pc.match_substring_regex(text, AWARE), False)
    naive = pc.fill_null(pc.match_substring_regex(text, NAIVE), False)
    moments = _parsed(pc.if_else(aware, _plain_zone(text), None), utc=True)
    n_naive, local = 0, None
    if pc.any(naive).as_py():
        local = _parsed(pc.if_else(naive, text, None), utc=False)
        n_naive = len(local) - local.null_count
    if not lenient:
        filled = len(text) - text.null_count - (pc.sum(pc.equal(text, "")).as_py() or 0)
        read = len(moments) - moments.null_count
        row = None if local is None or not n_naive else pc.index(local.is_valid(), True).as_py()
        check_time_texts(
            name, None if tz is None else str(tz), filled=filled, aware=read, naive=n_naive,
            example=None if row is None else f"row {row}: {text[row].as_py()!r}",
            unread=None if not filled else next(t for t in column.to_pylist() if t and t.strip()),
        )  # fmt: skip
    if local is not None and n_naive and (tz is not None or lenient):
        moments = pc.coalesce(moments, _localised(local, name, tz or "UTC", lenient))
    return moments, n_naive


def check_time_texts(
    name: str, zone: str | None, *, filled: int, aware: int, naive: int, example: str | None, unread: Any
) -> None:
    """Refuse a column of texts with local times where no zone was given, or without any time at all."""
    if naive and zone is None:
        raise naive_error(name, example, mixed=aware > 0)
    if filled and not aware and not naive:
        if str(unread).strip().lstrip("-").replace(".", "", 1).isdigit():
            raise not_times_error(name, "numbers", unread)
        raise DataError(f"column {name!r} holds no times, for example {unread!r}; expected ISO 8601")


def naive_error(name: str, example: str | None = None, *, mixed: bool = False) -> NaiveTimestampError:
    """Times without a zone, and nobody said which."""
    holds = "mixes times with and" if mixed else "holds times"
    shown = f" ({example})" if example else ""
    return NaiveTimestampError(f"column {name!r} {holds} without a time zone{shown}; {_HINT}")


def not_times_error(name: str, kind: str, example: Any = None) -> DataError:
    """Numbers or anything else where times belong."""
    numbers = any(word in kind.lower() for word in ("int", "number", "float", "double", "dec", "long"))
    shown = "" if example is None else f" such as {str(example)!s:.40}"
    if not numbers:
        return DataError(f"column {name!r} holds {kind}{shown}, not times; convert it before")
    return DataError(
        f"column {name!r} holds numbers{shown}, not times; say their unit: with the rows in a frame (of "
        f"pd.read_json(..., lines=True), pd.read_parquet(...)), frame[{name!r}] = pd.to_datetime("
        f"frame[{name!r}], unit={_unit_of(example)!r}, utc=True), and then EventLog(frame, ...)"
    )


def _unit_of(example: Any) -> str:
    """The unit in which a number is a time of our years: seconds since 1970, or a thousandth, ... of them."""
    try:
        size = abs(float(str(example)))
    except ValueError:
        return "s"
    return next((unit for limit, unit in ((1e11, "s"), (1e14, "ms"), (1e17, "us")) if size < limit), "ns")


def odd_hour_error(name: str, zone: str, example: str) -> DataError:
    """A local time that there was not, or was twice."""
    return DataError(
        f"column {name!r} holds a local time that does not exist (or occurs twice) in {zone} {example}; "
        "give such times with their offset from UTC"
    )


def clock_changes(zone: str, first: datetime.datetime, last: datetime.datetime) -> list[tuple[int, int]]:
    """Local times that a zone skips or repeats, as half-open ranges of local microseconds since 1970.

    Examples
    --------
    >>> year = datetime.datetime(2026, 1, 1), datetime.datetime(2027, 1, 1)
    >>> [str(np.datetime64(low, "us"))[:16] for low, _ in clock_changes("Europe/Berlin", *year)]
    ['2026-03-29T02:00', '2026-10-25T02:00']
    """
    rules, day = zoneinfo.ZoneInfo(zone), 86_400
    low, high = (int(t.replace(tzinfo=datetime.UTC).timestamp()) for t in (first, last))
    offset = lambda at: int(  # noqa: E731
        datetime.datetime.fromtimestamp(at, datetime.UTC).astimezone(rules).utcoffset().total_seconds()  # type: ignore[union-attr]
    )
    changes, at = [], low - 2 * day
    before = offset(at)
    while at < high + 2 * day:
        after = offset(at + day)
        if after != before:
            left, right = at, at + day
            while right - left > 1:
                middle = (left + right) // 2
                left, right = (middle, right) if offset(middle) == before else (left, middle)
            edges = sorted((right + before, right + after))
            changes.append((edges[0] * 1_000_000, edges[1] * 1_000_000))
        at, before = at + day, after
    return changes


def _plain_zone(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Offsets without a space before them, and `Z` for UTC."""
    text = pc.replace_substring_regex(text, " ?([Zz]|UTC)$", "Z")
    return pc.replace_substring_regex(text, " ([+-][0-9:]+)$", r"\1")


def _parsed(text: pa.ChunkedArray, *, utc: bool) -> pa.ChunkedArray:
    """Texts of one of the two forms as Arrow times; a day that there is not becomes null."""
    upper = pc.replace_substring(pc.replace_substring(text, "t", "T"), "T", " ")
    series = pd.to_datetime(upper.to_pandas(), format="ISO8601", utc=utc, errors="coerce")
    array = pa.chunked_array([pa.array(series.to_numpy(), from_pandas=True)]) if not utc else None
    array = array if array is not None else pa.chunked_array([pa.array(series, from_pandas=True)])
    if pa.types.is_null(array.type):
        return pa.chunked_array([pa.nulls(len(text), UTC_TIME if utc else pa.timestamp("us"))])
    return floored(array).cast(UTC_TIME) if utc else floored(array)


def _localised(stored: pa.ChunkedArray, name: str, tz: Any, lenient: bool) -> pa.ChunkedArray:
    if str(tz) == "UTC":
        return pc.assume_timezone(stored, "UTC")
    series = stored.to_pandas()
    marked = series.dt.tz_localize(str(tz), ambiguous="NaT", nonexistent="NaT")
    wrong = np.flatnonzero((marked.isna() & series.notna()).to_numpy())
    if len(wrong) and not lenient:
        row = int(wrong[0])
        raise odd_hour_error(name, str(tz), f"at row {row}: {series.iloc[row]}")
    array = pa.chunked_array([pa.array(marked, from_pandas=True)])
    return floored(array).cast(UTC_TIME)
