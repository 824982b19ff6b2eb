"""What a cell is: the one rule by which every engine reads events, value by value.

Ids and properties are text, the text of their JSON; what is not there is missing. Columns of Arrow are
read by the same rule in `canarykit.events.text`, documents of JSON in `canarykit.events.documents`, times
in `canarykit.events.clock`. An engine may take a short way only where it surely gives the same.

==================================  ==========================================================
cell                                text
==================================  ==========================================================
null, NaN, NaT, an infinite number  missing
`"pro"`, `""`                       `pro`, the empty text (as an id: missing)
half of an emoji, wrong UTF-8       U+FFFD in its place
`True`                              `true`
`95`, `2**60 + 1`                   `95`, `1152921504606846977`: never through a float
`95.0`, `0.1`, `1e20`               `95`, `0.1`, `1e+20`: the shortest form, without `.0`
`Decimal("95.50")`                  `95.5`
a whole number as a float id        its digits; from 2**53 on refused, for digits are lost
`UUID(...)`                         lower case with hyphens
bytes                               the text they spell in UTF-8
a date, a time                      ISO 8601
a moment                            ISO 8601 to the microsecond; in UTC if it has a zone
a list, a struct, a map             compact JSON, keys in their order (a list of pairs is a map)
==================================  ==========================================================
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

_SHORT_FLOATS = (np.float16, np.float32)


def value_text(value: Any) -> str | None:
    """One Python value as text; None where it is missing.

    Examples
    --------
    >>> value_text(True), value_text(95.0), value_text("pro"), value_text(None), value_text({"a": [1]})
    ('true', '95', 'pro', None, '{"a":[1]}')
    """
    if value is None:
        return None
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer):
        return _digits(int(value))
    if isinstance(value, float | np.floating):
        return number_text(value)  # type: ignore[arg-type]
    if isinstance(value, Mapping | list | tuple | set | frozenset | np.ndarray):
        return json_text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, Decimal):
        return decimal_text(value)
    if value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, datetime.datetime):
        return _moment_text(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return str(datetime.timedelta(value.days, value.seconds, value.microseconds))
    if isinstance(value, np.datetime64):
        return value_text(pd.Timestamp(value))
    if isinstance(value, np.timedelta64):
        return value_text(pd.Timedelta(value))
    return str(value)


def number_text(value: float) -> str | None:
    """A float in its shortest form, whole numbers without `.0`; NaN and infinities are missing.

    Examples
    --------
    >>> number_text(95.0), number_text(0.1), number_text(1e20), number_text(float("nan"))
    ('95', '0.1', '1e+20', None)
    """
    if not math.isfinite(value):
        return None
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    short = str(value) if isinstance(value, _SHORT_FLOATS) else repr(float(value))
    return short.removesuffix(".0")


def decimal_text(value: Decimal) -> str | None:
    """A decimal number written out, without zeros at its end.

    Examples
    --------
    >>> decimal_text(Decimal("95.50")), decimal_text(Decimal("100")), decimal_text(Decimal("NaN"))
    ('95.5', '100', None)
    """
    if not value.is_finite():
        return None
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def json_text(value: Any) -> str | None:
    """A value as compact JSON; None where it is nested too deeply to be written.

    Examples
    --------
    >>> json_text({"a": [1.0, None, True], "b": "é"})
    '{"a":[1,null,true],"b":"é"}'
    """
    try:
        return _json(value)
    except RecursionError:
        return None


def well_formed(text: str) -> str:
    """Text that UTF-8 can hold: half of a surrogate pair becomes U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _json(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = (f"{_quoted(_key(key))}:{_json(item)}" for key, item in value.items())
        return "{" + ",".join(pairs) + "}"
    if _is_map(value):
        return _json(dict(value))
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_json, value)) + "]"
    if isinstance(value, np.ndarray):
        return _json(value.tolist())
    if isinstance(value, set | frozenset):
        return _json(sorted(value, key=str))
    text = value_text(value)
    if text is None:
        return "null"
    number = isinstance(value, bool | int | float | Decimal | np.bool_ | np.integer | np.floating)
    return text if number or hasattr(value, "is_json_number") else _quoted(text)


def _is_map(value: Any) -> bool:
    """Whether a list is a map as pandas holds it: pairs of a text and a value."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in value)
    )


def _key(key: Any) -> str:
    text = value_text(key)
    return "null" if text is None else text


def _quoted(text: str) -> str:
    return json.dumps(well_formed(text), ensure_ascii=False)


def _digits(value: int) -> str | None:
    """All digits of a whole number; None beyond what any double reaches, as JSON readers see it."""
    return str(value) if value.bit_length() <= 1024 else None


def _moment_text(value: datetime.datetime) -> str:
    moment = pd.Timestamp(value)
    moment = moment if moment.tzinfo is None else moment.tz_convert("UTC")
    return moment.floor("us").as_unit("us").isoformat()
