"""`people=`: which people a question is about, by their properties or by their ids."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.display import Note
from canarykit.errors import PlanError
from canarykit.events.names import check_properties
from canarykit.funnels.engine.columns import Columns
from canarykit.funnels.engine.filters import columns_of, filter_mask
from canarykit.funnels.question.parse import read_filters
from canarykit.funnels.question.specs import Filter, FilterGroup

if TYPE_CHECKING:
    import pyarrow as pa

    from canarykit.events import EventLog

__all__ = ["PeopleFilter", "narrowed", "people_of_filters", "read_people"]

PEOPLE_TYPES = ("person", "group")


@dataclass(frozen=True)
class PeopleFilter:
    """People whose properties pass, or whose ids are listed."""

    # filters of properties of people (or of their groups)
    filters: FilterGroup = field(default_factory=FilterGroup)
    ids: frozenset[str] | None = None  # ids of the people; None where properties decide

    def passing(self, log: EventLog, *, unit: str = "person_id", **narrow: Any) -> set[str]:
        """Ids of the units whose newest event among those that `narrow` names passes.

        `unit` is the column that names the units; `narrow` are `events`, `where`, `since` and `until` as
        `log.reduce` takes them: the exposures of a flag.
        """
        if self.ids is not None and not self.filters.values:
            return set(self.ids)
        columns = [unit, "timestamp", *columns_of(self.filters)]
        fn = partial(_passing, unit=unit, filters=self.filters)
        parts = log.reduce(list(dict.fromkeys(columns)), fn, actor=unit, **narrow)
        passing: set[str] = set().union(*parts)
        return passing if self.ids is None else passing & self.ids

    def recorded(self, log: EventLog) -> tuple[Note, ...]:
        """A note per property that nobody has; `DataError` where it looks like a misspelling."""
        return check_properties(log, columns_of(self.filters))

    def words(self) -> str:
        """Who they are, as a reader of a note is told."""
        said = [] if self.ids is None else ["those named"]
        return " and ".join([*said, *([_words(self.filters)] if self.filters.values else [])])


def read_people(value: Any) -> PeopleFilter:
    """The people that `people=` names.

    `value`: `{property: value}`, a mapping or list of mappings in PostHog's words (their type is "person"
    where they name none), filters made before, or a collection of ids. `PlanError` if a filter is of events:
    those narrow what is counted, not who.

    Examples
    --------
    >>> read_people({"plan": "pro"}).filters.values[0].type
    'person'
    >>> sorted(read_people(["ada", "bob"]).ids)
    ['ada', 'bob']
    """
    if isinstance(value, PeopleFilter):
        return value
    if isinstance(value, str):
        raise PlanError(f"people is {value!r}; expected a filter of properties, or a list of ids")
    listed = isinstance(value, Collection) and not isinstance(value, Mapping)
    if listed and value and all(isinstance(item, str) for item in value):
        return PeopleFilter(ids=frozenset(value))
    filters = read_filters(_of_people(value), where="people")
    if not filters.values:
        raise PlanError("people names nobody; expected a filter of properties such as {'plan': 'pro'}")
    if kinds := _types(filters) - set(PEOPLE_TYPES):
        raise PlanError(
            f"people has a filter of type {min(kinds)!r}; expected properties of persons or groups "
            "(a filter of events narrows what is counted: filters= or where=)"
        )
    return PeopleFilter(filters)


def narrowed(people: Any, name: str, value: str) -> PeopleFilter:
    """Of the people that `people=` names, those whose property has this value.

    Examples
    --------
    >>> narrowed(["ada", "bob"], "plan", "pro").words()
    'those named and plan pro'
    """
    only = Filter(name, (value,), "exact", "person")
    if people is None:
        return PeopleFilter(FilterGroup((only,)))
    who = read_people(people)
    return PeopleFilter(FilterGroup((*([who.filters] if who.filters.values else []), only)), who.ids)


def people_of_filters(filters: FilterGroup) -> FilterGroup:
    """The part of a question's filters that says who is asked about: properties of people and groups.

    Filters that mix people and events under one OR say nothing about people alone.

    Examples
    --------
    >>> pro = {"key": "plan", "value": "pro", "type": "person"}
    >>> mixed = read_filters([pro, {"key": "$os", "value": "iOS"}])
    >>> [item.property for item in people_of_filters(mixed).values]
    ['plan']
    """
    if not filters.values:
        return filters
    if _types(filters) <= set(PEOPLE_TYPES):
        return filters
    if filters.type == "OR":
        return FilterGroup()
    parts = [item for item in filters.values if _types(FilterGroup((item,))) <= set(PEOPLE_TYPES)]
    return FilterGroup(tuple(parts))


def _of_people(value: Any) -> Any:
    """The filters with "person" as their type where they name none."""
    if isinstance(value, Mapping):
        if "values" in value and value.get("type") in ("AND", "OR"):
            return {**value, "values": [_of_people(item) for item in value["values"]]}
        if "property" in value or "key" in value:
            return {"type": "person", **value}
        return FilterGroup(
            tuple(Filter(str(key), _plain(item), "exact", "person") for key, item in value.items())
        )
    if isinstance(value, Collection) and not isinstance(value, str | FilterGroup):
        return [_of_people(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | set | tuple) else value


def _types(filters: FilterGroup) -> set[str]:
    kinds: set[str] = set()
    for item in filters.values:
        kinds |= _types(item) if isinstance(item, FilterGroup) else {item.type}
    return kinds


def _words(filters: FilterGroup) -> str:
    said = []
    for item in filters.values:
        if isinstance(item, FilterGroup):
            said.append(f"({_words(item)})")
        else:
            values = item.value if isinstance(item.value, tuple | list) else (item.value,)
            named = " or ".join(str(value) for value in values if value is not None)
            verb = "" if item.operator == "exact" else f"{item.operator.replace('_', ' ')} "
            said.append(f"{item.property} {verb}{named}".rstrip())
    return (" and " if filters.type == "AND" else " or ").join(said)


def _passing(table: pa.Table, *, unit: str, filters: FilterGroup) -> set[str]:
    columns = Columns(table)
    codes, texts = columns.text(unit)
    time = columns.time()
    passed = filter_mask(filters, columns)
    order = np.lexsort((passed, time, codes))
    last = order[np.diff(codes[order], append=-2) != 0]
    last = last[passed[last] & (codes[last] >= 0)]
    return {texts[code] for code in codes[last].tolist()}
