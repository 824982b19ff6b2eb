"""How PostHog turns property values into text, numbers and truth before comparing them.

Strings stand as they are, every other value as its JSON text (`true`, `1`, `1.5`, `null`), which is what
the flags service and the SDKs' local evaluation both compare.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any

_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_SDK_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SERVER_NUMBER = re.compile(_SDK_NUMBER.pattern + r"|[+-]?(?:inf|infinity|nan)", re.IGNORECASE)


class NotJsonError(ValueError):
    """A value that has no JSON text: infinity, NaN, a date, an object with other keys than text."""


def value_text(value: Any) -> str:
    """The text a value is compared as.

    Examples
    --------
    >>> value_text("Pro"), value_text(True), value_text(1.0), value_text(None), value_text([1, "a"])
    ('Pro', 'true', '1.0', 'null', '[1,"a"]')
    """
    return value if isinstance(value, str) else _json_text(value)


def ascii_lower(text: str) -> str:
    """A to Z folded, every other letter as it is: how `icontains` and its kin ignore case."""
    return text.lower() if text.isascii() else text.translate(_ASCII_LOWER)


def server_number(value: Any) -> float | None:
    """The number the server compares: numbers, and texts that read as a number (infinity and NaN too)."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _float(value)
    text = value_text(value)
    return _float(text) if _SERVER_NUMBER.fullmatch(text) else None


def sdk_number(value: Any) -> float | None:
    """The number the SDK compares: as the server's, but finite, and from scalars only."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return None
    if isinstance(value, str) and not _SDK_NUMBER.fullmatch(value):
        return None
    number = _float(value)
    return number if number is not None and math.isfinite(number) else None


def is_truth_like(value: Any) -> bool:
    """Whether a filter value is true or false, as such or as text, or a list of nothing else."""
    if isinstance(value, list | tuple):
        return all(map(is_truth_like, value))
    return isinstance(value, bool) or (isinstance(value, str) and value.lower() in ("true", "false"))


def is_true(value: Any) -> bool:
    """Whether a value counts as true; every value that is not true-like counts as false."""
    if isinstance(value, list | tuple):
        return all(map(is_true, value))
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _float(value: Any) -> float | None:
    try:
        return float(value)
    except (OverflowError, ValueError):
        return None


def _json_text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_json_text, value)) + "]"
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise NotJsonError(f"{value!r} has keys that are not text")
        pairs = (f"{json.dumps(key, ensure_ascii=False)}:{_json_text(value[key])}" for key in sorted(value))
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, float):
        return _float_text(value)
    if value is None or isinstance(value, bool | str | int):
        return json.dumps(value, ensure_ascii=False)
    raise NotJsonError(f"{value!r} is {type(value).__name__}, which JSON does not have")


def _float_text(value: float) -> str:
    if not math.isfinite(value):
        raise NotJsonError(f"{value!r} is not a JSON number")
    text = repr(value)
    if "e" not in text:
        return text
    mantissa, exponent = text.split("e")
    if -6 < int(exponent) < 0:
        return format(Decimal(text), "f")
    return f"{mantissa}e{int(exponent):+d}" if int(exponent) >= 0 else f"{mantissa}e{int(exponent)}"
