"""Time columns: tz-aware UTC microseconds, and no zone ever guessed without being told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from canarykit.errors import DataError, NaiveTimestampError

__all__ = ["UTC_TIME", "epoch_micros", "read_times"]

UTC_TIME = pa.timestamp("us", "UTC")
_OFFSET = r"(?:[Zz]|\d:\d\d[^+-]*[+-]\d\d(?::?\d\d)?)$"
_HINT = "pass tz= (for example tz='UTC') to say which zone they are in"


def epoch_micros(times: pa.ChunkedArray) -> np.ndarray:
    """A UTC time column as int64 microseconds since 1970; missing times are int64's minimum."""
    numbers = times.cast(pa.int64())
    if numbers.null_count:
        numbers = pc.fill_null(numbers, np.iinfo(np.int64).min)
    return numbers.to_numpy()


def read_times(series: pd.Series, name: str, tz: Any = None) -> tuple[pa.ChunkedArray, int]:
    """A time column as UTC microseconds, and how many values said no zone and were read in `tz`.

    Values that are missing or no time at all come back as null.

    Raises
    ------
    NaiveTimestampError
        If any value carries no offset and `tz` is not given.
    DataError
        If the column is numbers, if no value can be read, or if a local time is skipped or repeated by
        the zone's daylight saving.
    """
    if series.isna().all():
        return pa.chunked_array([pa.nulls(len(series), UTC_TIME)]), 0
    if pd.api.types.is_bool_dtype(series.dtype) or pd.api.types.is_numeric_dtype(series.dtype):
        raise DataError(
            f"column {name!r} holds numbers, not times; say their unit, for example "
            f"pd.to_datetime(frame[{name!r}], unit='ms', utc=True)"
        )
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        if series.dt.tz is not None:
            return _as_utc(series), 0
        if tz is None and series.notna().any():
            raise NaiveTimestampError(f"column {name!r} holds times without a time zone; {_HINT}")
        return _as_utc(_localised(series, name, tz or "UTC")), int(series.notna().sum())
    return _read_text(series, name, tz)


def _as_utc(series: pd.Series) -> pa.ChunkedArray:
    array = pa.array(series, from_pandas=True)
    chunked = array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
    return chunked.cast(pa.timestamp("us", chunked.type.tz), safe=False).cast(UTC_TIME)


def _localised(series: pd.Series, name: str, tz: Any) -> pd.Series:
    marked = series.dt.tz_localize(tz, ambiguous="NaT", nonexistent="NaT")
    wrong = np.flatnonzero((marked.isna() & series.notna()).to_numpy())
    if len(wrong):
        row = int(wrong[0])
        where = f"at row {row}: {series.iloc[row]}"
        raise DataError(f"column {name!r} holds a time that {tz} has not, or has twice {where}")
    return marked


def _read_text(series: pd.Series, name: str, tz: Any) -> tuple[pa.ChunkedArray, int]:
    given = series.map(_iso, na_action="ignore") if series.dtype == object else series
    text = given.astype("str") if series.dtype == object else given
    text = text.where(series.notna()).str.strip().str.replace(" UTC", "Z", regex=False)
    filled = text.notna() & (text != "")
    aware = text.str.contains(_OFFSET, regex=True, na=False)
    naive = filled & ~aware
    if tz is None and naive.any():
        readable = pd.to_datetime(text[naive], format="ISO8601", errors="coerce").notna()
        if readable.any():
            row = int(np.flatnonzero(naive.to_numpy())[np.flatnonzero(readable.to_numpy())[0]])
            mixed = "mixes times with and" if aware.any() else "holds times"
            raise NaiveTimestampError(
                f"column {name!r} {mixed} without a time zone (row {row}: {text.iloc[row]!r}); {_HINT}"
            )
    parsed = pd.to_datetime(text.where(aware), format="ISO8601", utc=True, errors="coerce").dt.as_unit("us")
    n_naive = 0
    if naive.any() and tz is not None:
        local = pd.to_datetime(text.where(naive), format="ISO8601", errors="coerce")
        local = _localised(local.dt.as_unit("us"), name, tz).dt.tz_convert("UTC")
        n_naive = int(local.notna().sum())
        parsed = parsed.fillna(local)
    if filled.any() and not parsed.notna().any():
        example = text[filled].iloc[0]
        raise DataError(f"column {name!r} holds no times, for example {example!r}; expected ISO 8601")
    return _as_utc(parsed), n_naive


def _iso(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
