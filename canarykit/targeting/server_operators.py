"""Property operators as PostHog's flags service applies them: two-valued, absent properties included.

What cannot be parsed, in the filter or in the value, does not match.
"""

from __future__ import annotations

import math
import operator as op
from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np

from canarykit.flags import PropertyFilter
from canarykit.regex import RustPattern
from canarykit.targeting.dates import Clock, server_filter_date, server_person_date
from canarykit.targeting.matcher import NO, YES, Matcher, always, exact_texts, part_texts
from canarykit.targeting.patterns import server_pattern
from canarykit.targeting.semver import in_requirement, server_requirement, server_version
from canarykit.targeting.value_text import (
    NotJsonError,
    ascii_lower,
    is_true,
    is_truth_like,
    server_number,
    value_text,
)

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {"gt": op.gt, "gte": op.ge, "lt": op.lt, "lte": op.le}
PARTS = {
    "icontains": "contains", "starts_with": "starts", "ends_with": "ends",
    "not_icontains": "contains", "not_starts_with": "starts", "not_ends_with": "ends",
}  # fmt: skip
_DATES: dict[str, Callable[[int, int], bool]] = {
    "is_date_before": op.lt,
    "is_date_after": op.gt,
    "is_date_exact": op.eq,
}
_VERSIONS: dict[str, Callable[[Any, Any], bool]] = {
    "semver_eq": op.eq, "semver_neq": op.ne, "semver_gt": op.gt,
    "semver_gte": op.ge, "semver_lt": op.lt, "semver_lte": op.le,
}  # fmt: skip
_RANGES = ("semver_tilde", "semver_caret", "semver_wildcard")
_MATCHES_WHEN_ABSENT = {
    "is_not", "not_icontains", "not_starts_with", "not_ends_with", "not_icontains_multi", "not_regex",
    "not_between",
}  # fmt: skip


def server_matcher(item: PropertyFilter, clock: Clock, *, matching_version: int = 1) -> Matcher:
    """The filter of a person or group property ready to be asked, with the server's answers.

    `clock` is the moment and the team zone, for dates. In `matching_version` 1 a filter value of true or
    false is compared by truth; in 2 as text, like any other.
    """
    name, wanted = item.operator, item.value
    if name in ("is_set", "is_not_set"):
        return always(YES, NO) if name == "is_set" else always(NO, YES)
    if wanted is None:
        return always(NO, NO)
    absent = YES if name in _MATCHES_WHEN_ABSENT else NO
    if name in ("exact", "is_not"):
        return _exact(name == "is_not", wanted, absent, matching_version)
    if name in PARTS:
        part, inverted = value_text(wanted), name.startswith("not_")
        test = _part_test(PARTS[name], part)
        texts = part_texts(part, PARTS[name], inverted=inverted)
        return Matcher(absent, _text_answer(test, inverted), texts)
    if name in ("icontains_multi", "not_icontains_multi"):
        parts = [ascii_lower(value_text(v)) for v in (wanted if isinstance(wanted, list) else [wanted])]
        return Matcher(
            absent, _text_answer(lambda t: any(p in ascii_lower(t) for p in parts), name[0] == "n")
        )
    if name in ("regex", "not_regex"):
        pattern = server_pattern(value_text(wanted))
        if pattern is None:
            return always(NO, absent)
        return Matcher(absent, _pattern_answer(pattern, name == "not_regex"))
    if name in COMPARISONS:
        return _numeric(COMPARISONS[name], server_number(wanted))
    if name in ("between", "not_between"):
        return _between(wanted, absent, inverted=name == "not_between")
    if name in _DATES:
        return _dates(_DATES[name], wanted, clock)
    if name in _VERSIONS or name in _RANGES:
        return Matcher(NO, _version_answer(name, wanted))
    return always(NO, NO)  # in, not_in, flag_evaluates_to and unknown operators never match a property


def _exact(inverted: bool, wanted: Any, absent: int, matching_version: int) -> Matcher:
    by_truth = is_truth_like(wanted) if matching_version == 1 else wanted == []
    if by_truth:
        truth = is_true(wanted)

        def same_truth(value: Any) -> int:
            return int((is_true(value) == truth) != inverted)

        return Matcher(absent, same_truth, exact_texts(["true"], inverted=inverted == truth))
    accepted = {value_text(v).lower() for v in (wanted if isinstance(wanted, list) else [wanted])}
    texts = exact_texts(accepted, inverted=inverted)
    return Matcher(absent, _text_answer(lambda text: text.lower() in accepted, inverted), texts)


def _text_answer(test: Callable[[str], bool], inverted: bool) -> Callable[[Any], int]:
    def answer(value: Any) -> int:
        return int(test(_server_text(value)) != inverted)

    return answer


def _pattern_answer(pattern: RustPattern, inverted: bool) -> Callable[[Any], int]:
    """The server stops a pattern that takes too many steps, and then nobody matches, either way round."""

    def answer(value: Any) -> int:
        occurs = pattern.search(_server_text(value))
        return NO if occurs is None else int(occurs != inverted)

    return answer


def _server_text(value: Any) -> str:
    try:
        return value_text(value)
    except NotJsonError:
        return value.isoformat() if isinstance(value, date) else str(value)


def _part_test(where: str, part: str) -> Callable[[str], bool]:
    folded = ascii_lower(part)
    if where == "contains":
        return lambda text: folded in ascii_lower(text)
    if where == "starts":
        return lambda text: ascii_lower(text).startswith(folded)
    return lambda text: ascii_lower(text).endswith(folded)


def _numeric(compare: Callable[[Any, Any], Any], bound: float | None) -> Matcher:
    if bound is None:
        return always(NO, NO)

    def answer(value: Any) -> int:
        number = _number(value)
        return int(number is not None and bool(compare(number, bound)))

    return Matcher(NO, answer, numbers=lambda numbers: compare(numbers, bound))


def _number(value: Any) -> float | None:
    try:
        return server_number(value)
    except NotJsonError:
        return None


def _between(wanted: Any, absent: int, *, inverted: bool) -> Matcher:
    bounds = [server_number(v) for v in wanted] if isinstance(wanted, list) and len(wanted) == 2 else [None]
    if any(b is None or math.isnan(b) for b in bounds) or bounds[0] > bounds[-1]:  # type: ignore[operator]
        return always(NO, absent)
    low, high = bounds

    def answer(value: Any) -> int:
        number = _number(value)
        if number is None or math.isnan(number):
            return NO
        return int((low <= number <= high) != inverted)  # type: ignore[operator]

    def numbers(values: np.ndarray) -> np.ndarray:
        return ((values >= low) & (values <= high)) != inverted

    return Matcher(absent, answer, numbers=numbers)


def _dates(compare: Callable[[int, int], bool], wanted: Any, clock: Clock) -> Matcher:
    bound = server_filter_date(wanted, clock) if isinstance(wanted, str) else None
    if bound is None:
        return always(NO, NO)

    def answer(value: Any) -> int:
        moment = server_person_date(value.isoformat() if isinstance(value, date) else value, clock)
        return int(moment is not None and compare(moment, bound))

    return Matcher(NO, answer, moments=lambda moments: compare(moments, bound))  # type: ignore[arg-type,return-value]


def _version_answer(name: str, wanted: Any) -> Callable[[Any], int]:
    version_of = server_version
    if name in _RANGES:
        requirement = server_requirement(name, wanted)

        def in_range(value: Any) -> int:
            version = version_of(_server_text(value))
            return int(
                version is not None and requirement is not None and in_requirement(version, requirement)
            )

        return in_range
    compare, bound = _VERSIONS[name], server_version(wanted)

    def answer(value: Any) -> int:
        version = version_of(_server_text(value))
        return int(version is not None and bound is not None and compare(version, bound))

    return answer
