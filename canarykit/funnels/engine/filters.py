"""Property filters over text columns: judged once per distinct value, then looked up per row.

Comparison is PostHog's for queries: by text (`true`, `95`), lists mean "any of", and a missing property
(null, JSON null or blank) satisfies the negative operators.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.errors import PlanError, did_you_mean
from canarykit.funnels.question.specs import Filter, FilterGroup
from canarykit.regex import LinearPattern, linear_pattern

if TYPE_CHECKING:
    from canarykit.funnels.engine.columns import Columns

Test = Callable[[str | None], bool]


def property_column(name: str, kind: str, group_type_index: int | None = None) -> str:
    """The event log's name for a property.

    Examples
    --------
    >>> property_column("plan", "person"), property_column("plan", "group", 0)
    ('person.plan', 'group0.plan')
    """
    if kind == "person":
        return f"person.{name}"
    if kind == "group":
        return f"group{group_type_index or 0}.{name}"
    return name


def columns_of(group: FilterGroup) -> Iterator[str]:
    """Every column that the filters read."""
    for item in group.values:
        if isinstance(item, FilterGroup):
            yield from columns_of(item)
        else:
            yield property_column(item.property, item.type, item.group_type_index)


def filter_mask(group: FilterGroup, columns: Columns) -> np.ndarray:
    """Rows that pass the filters."""
    masks = [
        filter_mask(item, columns) if isinstance(item, FilterGroup) else _one_mask(item, columns)
        for item in group.values
    ]
    if not masks:
        return np.ones(columns.size, dtype=bool)
    combine = np.logical_and if group.type == "AND" else np.logical_or
    return combine.reduce(masks)


def _one_mask(item: Filter, columns: Columns) -> np.ndarray:
    codes, texts = columns.text(property_column(item.property, item.type, item.group_type_index))
    test = matcher(item)
    verdicts = np.array([*(test(text or None) for text in texts), test(None)], dtype=bool)
    return verdicts[codes]  # code -1, a missing value, reads the last verdict


def text_of(value: Any) -> str:
    """The text by which a value compares.

    Examples
    --------
    >>> text_of(True), text_of(95), text_of(95.0), text_of("95")
    ('true', '95', '95', '95')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def matcher(item: Filter) -> Test:
    """The test of one filter on one text; None is a missing property.

    Examples
    --------
    >>> test = matcher(Filter("plan", ("pro", "team"), "is_not"))
    >>> test("pro"), test("free"), test(None)
    (False, True, True)
    """
    values = item.value if isinstance(item.value, tuple | list) else (item.value,)
    wanted = [text_of(value) for value in values if value is not None]
    positive = _positive(item, wanted)
    if item.operator in _NEGATIVE:
        return lambda text: text is None or not positive(text)
    if item.operator == "is_not_set":
        return lambda text: text is None
    return lambda text: text is not None and positive(text)


def _positive(item: Filter, wanted: list[str]) -> Callable[[str], bool]:
    operator = _NEGATIVE.get(item.operator, item.operator)
    if operator in ("is_set", "is_not_set"):
        return lambda text: True
    if operator == "exact":
        accepted = set(wanted)
        return lambda text: text in accepted
    if operator == "icontains":
        needles = [text.lower() for text in wanted]
        return lambda text: any(needle in text.lower() for needle in needles)
    if operator == "regex":
        patterns = [query_pattern(text, f"filter on {item.property!r}") for text in wanted]
        return lambda text: any(pattern.search(text) for pattern in patterns)
    if operator in _COMPARE:
        return _comparison(item, _COMPARE[operator], wanted)
    if operator == "between":
        low, high = _numbers(item, wanted, 2)
        return lambda text: (number := _number(text)) is not None and low <= number <= high
    if operator in _DATES:
        return _date_comparison(item, _COMPARE.get(_DATES[operator]))
    operators = sorted({*_NEGATIVE, *_NEGATIVE.values(), *_COMPARE, *_DATES, "is_set", "is_not_set"})
    raise PlanError(
        f"filter on {item.property!r}: operator {item.operator!r} is unknown; "
        f"{did_you_mean(item.operator, operators)}"
    )


_NEGATIVE = {
    "is_not": "exact",
    "not_icontains": "icontains",
    "not_regex": "regex",
    "not_between": "between",
}
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda mine, theirs: mine > theirs,
    "gte": lambda mine, theirs: mine >= theirs,
    "lt": lambda mine, theirs: mine < theirs,
    "lte": lambda mine, theirs: mine <= theirs,
}
_DATES = {"is_date_before": "lt", "is_date_after": "gt", "is_date_exact": "same day"}


def query_pattern(text: str, where: str) -> LinearPattern:
    """A pattern as PostHog's queries read it (RE2, which neither looks around nor refers back)."""
    try:
        return linear_pattern(text)
    except ValueError as problem:
        raise PlanError(
            f"{where}: {text!r} is not a regular expression that RE2 can read: {problem}"
        ) from None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _numbers(item: Filter, wanted: list[str], how_many: int) -> list[float]:
    numbers = [n for text in wanted if (n := _number(text)) is not None and not math.isnan(n)]
    if len(numbers) != how_many:
        raise PlanError(
            f"filter on {item.property!r}: {item.operator} needs {how_many} number"
            f"{'s' if how_many > 1 else ''}, got {item.value!r}"
        )
    return numbers


def _comparison(
    item: Filter, compare: Callable[[Any, Any], bool], wanted: list[str]
) -> Callable[[str], bool]:
    """Numbers compare as numbers; a text to compare with compares as text."""
    if len(wanted) == 1 and _number(wanted[0]) is None:
        return lambda text: compare(text, wanted[0])
    limit = _numbers(item, wanted, 1)[0]
    return lambda text: (number := _number(text)) is not None and compare(number, limit)


def _date_comparison(item: Filter, compare: Callable[[Any, Any], bool] | None) -> Callable[[str], bool]:
    from canarykit.errors import DataError
    from canarykit.times import to_utc

    limit = to_utc(item.value, name=f"filter on {item.property!r}", tz="UTC")

    def test(text: str) -> bool:
        try:
            moment = to_utc(text, tz="UTC")
        except DataError:
            return False
        return compare(moment, limit) if compare else moment.normalize() == limit.normalize()

    return test
