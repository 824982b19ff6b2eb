"""Reading and writing JSON without losing a key: the few rules every part of a flag definition shares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final, TypeVar

from canarykit.errors import PlanError

MOST = 1e9
"""No percentage is anywhere near; beyond it floats lose whole numbers."""
MOST_GROUP_TYPES = 100
"""PostHog has five; no project has more than this."""

T = TypeVar("T")


class Unset:
    """The type of `UNSET`: a key that is absent, where absent and null mean different things."""

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        return "UNSET"


UNSET: Final = Unset()


def unless(value: T, default: T) -> T | Unset:
    """The value, or `UNSET` where it is the default and need not be written."""
    return UNSET if value == default else value


def require_mapping(data: Any, what: str) -> Mapping[str, Any]:
    """The data itself, or a `PlanError` that names what should have been a JSON object."""
    if not isinstance(data, Mapping):
        raise PlanError(f"{what} is {data!r}; expected a JSON object")
    return data


def list_of(data: Mapping[str, Any], key: str) -> list[Any]:
    """The list under a key; absent and null read as empty."""
    items = data.get(key)
    if items is None:
        return []
    if not isinstance(items, list | tuple):
        raise PlanError(f"{key!r} is {items!r}; expected a list")
    return list(items)


def require_json(value: Any, where: str) -> None:
    """Refuse what JSON text cannot hold: NaN, infinities, halves of a pair."""
    if isinstance(value, float) and not math.isfinite(value):
        raise PlanError(f"{where} holds {value!r}; expected a finite number")
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise PlanError(f"{where} holds {value!r}, half of a pair: not a text that can be sent") from None
    if isinstance(value, Mapping):
        for key, item in value.items():
            require_json(key, where)
            require_json(item, where)
    elif isinstance(value, list | tuple):
        for item in value:
            require_json(item, where)


def percentage(value: Any, where: str) -> float | None:
    """A percentage kept as the number it is (100 stays an integer), or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < MOST:
        raise PlanError(f"the rollout percentage of {where} is {value!r}; expected a number from 0 to 100")
    return value


def text(data: Mapping[str, Any], key: str, where: str, default: T) -> str | T:
    """The text under a key; absent, null and empty read as the default."""
    value = data.get(key)
    if value is not None and not isinstance(value, str):
        raise PlanError(f"{key!r} of {where} is {value!r}; expected a text")
    require_json(value, f"{key!r} of {where}")
    return value or default


def truth(data: Mapping[str, Any], key: str, where: str, default: bool = False) -> bool:
    """True or false under a key (some exports write 1 and 0); absent and null read as the default."""
    value = data.get(key)
    if value is not None and (not isinstance(value, bool | int) or value not in (0, 1)):
        raise PlanError(f"{key!r} of {where} is {value!r}; expected true or false")
    return default if value is None else bool(value)


def group_type(data: Mapping[str, Any], key: str, where: str, default: Any) -> Any:
    """The index of a group type under a key; absent reads as the default."""
    value = data.get(key, default)
    if value is None or value is default:
        return value
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MOST_GROUP_TYPES:
        raise PlanError(f"{key!r} of {where} is {value!r}; expected the number of a group type, or null")
    return value


def unknown_keys(data: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """Every key the reader has no name for, kept so that it can be written back."""
    return {key: value for key, value in data.items() if key not in keys}


def overlay(
    source: Mapping[str, Any] | None,
    now: Mapping[str, Any],
    before: Mapping[str, Any],
    extra: Mapping[str, Any],
) -> dict[str, Any]:
    """The JSON an object came from, with what changed since.

    `now` and `before` are the object's known keys as they would be written today and as read; a key that
    did not change keeps the form it came in, even if that form was absent. `extra` replaces every key
    that is not known.
    """
    if source is None:
        written = {key: value for key, value in now.items() if value is not UNSET}
        return deepcopy({**written, **extra})
    result = {key: value for key, value in source.items() if key in now or key in extra}
    for key, value in now.items():
        if value is UNSET and before.get(key, UNSET) is not UNSET:
            result.pop(key, None)
        elif value is not UNSET and value != before.get(key, UNSET):
            result[key] = value
    return deepcopy({**result, **extra})
