"""Property operators as posthog-python 7.91 applies them in local evaluation: three-valued.

An absent property, an operator the SDK does not know, or a filter it cannot parse is inconclusive.
"""

from __future__ import annotations

import operator as op
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import numpy as np

from canarykit.flags import PropertyFilter
from canarykit.targeting.dates import Clock, nanoseconds, sdk_date, sdk_person_date
from canarykit.targeting.matcher import INCONCLUSIVE, NO, YES, Matcher, always, exact_texts, part_texts
from canarykit.targeting.patterns import NotPortableError, portable, search_portable
from canarykit.targeting.semver import sdk_range, sdk_version
from canarykit.targeting.server_operators import COMPARISONS, PARTS
from canarykit.targeting.value_text import (
    NotJsonError,
    ascii_lower,
    is_true,
    is_truth_like,
    sdk_number,
    value_text,
)

_VERSIONS: dict[str, Callable[[Any, Any], bool]] = {
    "semver_eq": op.eq, "semver_neq": op.ne, "semver_gt": op.gt,
    "semver_gte": op.ge, "semver_lt": op.lt, "semver_lte": op.le,
}  # fmt: skip
_RANGES = ("semver_tilde", "semver_caret", "semver_wildcard")
_CANNOT_TELL = always(INCONCLUSIVE, INCONCLUSIVE)


def sdk_matcher(item: PropertyFilter, clock: Clock, *, matching_version: int = 1) -> Matcher:
    """The filter ready to be asked, with the SDK's answers; parameters as in `server_matcher`."""
    name, wanted = item.operator, item.value
    if name in ("is_set", "is_not_set"):
        return always(YES if name == "is_set" else NO, INCONCLUSIVE)
    try:
        if name in ("exact", "is_not"):
            return _exact(name == "is_not", wanted, matching_version)
        if name in PARTS:
            return _part(PARTS[name], wanted, inverted=name.startswith("not_"))
        if name in ("regex", "not_regex"):
            return Matcher(INCONCLUSIVE, _regex_answer(str(wanted), inverted=name == "not_regex"))
        if name in COMPARISONS:
            return _numeric(COMPARISONS[name], wanted)
        if name in ("is_date_before", "is_date_after"):
            return _dates(op.lt if name == "is_date_before" else op.gt, wanted, clock)
        if name in _VERSIONS or name in _RANGES:
            return Matcher(INCONCLUSIVE, _version_answer(name, wanted))
    except NotJsonError:
        return _CANNOT_TELL
    return _CANNOT_TELL


def _guarded(test: Callable[[Any], bool]) -> Callable[[Any], int]:
    """A test whose parse errors are inconclusive."""

    def answer(value: Any) -> int:
        try:
            return int(test(value))
        except (NotJsonError, NotPortableError):
            return INCONCLUSIVE

    return answer


def _exact(inverted: bool, wanted: Any, matching_version: int) -> Matcher:
    if wanted == [] or (matching_version != 2 and is_truth_like(wanted)):
        truth = is_true(wanted)

        def same_truth(value: Any) -> bool:
            value_text(value)  # a value without JSON text is inconclusive even where only truth counts
            return (is_true(value) == truth) != inverted

        return Matcher(INCONCLUSIVE, _guarded(same_truth), exact_texts(["true"], inverted=inverted == truth))
    accepted = {value_text(v).lower() for v in (wanted if isinstance(wanted, list) else [wanted])}
    answer = _guarded(lambda value: (value_text(value).lower() in accepted) != inverted)
    return Matcher(INCONCLUSIVE, answer, exact_texts(accepted, inverted=inverted))


def _part(where: str, wanted: Any, *, inverted: bool) -> Matcher:
    part = ascii_lower(value_text(wanted))

    def test(value: Any) -> bool:
        text = ascii_lower(value_text(value))
        holds = {"contains": text.__contains__, "starts": text.startswith, "ends": text.endswith}[where](part)
        return holds != inverted

    return Matcher(INCONCLUSIVE, _guarded(test), part_texts(part, where, inverted=inverted))


def _regex_answer(pattern: str, *, inverted: bool) -> Callable[[Any], int]:
    def test(value: Any) -> bool:
        text = value_text(value)
        if pattern == "":
            return not inverted
        compiled = portable(pattern)
        return compiled is not None and search_portable(compiled, text) != inverted

    return _guarded(test)


def _numeric(compare: Callable[[Any, Any], Any], wanted: Any) -> Matcher:
    bound = sdk_number(wanted)
    if bound is None:
        return _CANNOT_TELL

    def answer(value: Any) -> int:
        number = sdk_number(value)
        return int(number is not None and bool(compare(number, bound)))

    return Matcher(INCONCLUSIVE, answer, numbers=lambda numbers: compare(numbers, bound))


def _dates(compare: Callable[[Any, Any], bool], wanted: Any, clock: Clock) -> Matcher:
    bound = sdk_date(wanted, clock, relative=True)

    def answer(value: Any) -> int:
        if value is None:
            return NO
        moment = None if bound is None else sdk_person_date(value, clock)
        if bound is None or moment is None:
            return INCONCLUSIVE
        as_date = isinstance(moment, date) and not isinstance(moment, datetime)
        return int(compare(moment, bound.date() if as_date else bound))

    if bound is None:
        return Matcher(INCONCLUSIVE, answer)
    at_once = nanoseconds(bound)
    return Matcher(INCONCLUSIVE, answer, moments=lambda moments: np.asarray(compare(moments, at_once)))


def _version_answer(name: str, wanted: Any) -> Callable[[Any], int]:
    ranged = name in _RANGES
    try:
        bound: Any = sdk_range(name, wanted) if ranged else sdk_version(wanted)
    except (ValueError, TypeError):
        bound = None

    def answer(value: Any) -> int:
        if value is None:
            return NO
        try:
            version = sdk_version(value)
        except (ValueError, TypeError):
            return INCONCLUSIVE
        if bound is None:
            return INCONCLUSIVE
        return int(bound[0] <= version < bound[1] if ranged else _VERSIONS[name](version, bound))

    return answer
