"""`people=`: which people a question is about, by their properties or by their ids."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.display import Note
from canarykit.errors import DataError, PlanError, did_you_mean
from canarykit.events.names import check_properties, is_carried, misspelling_of
from canarykit.funnels.engine.columns import Columns
from canarykit.funnels.engine.filters import columns_of, filter_mask, text_of
from canarykit.funnels.question.parse import read_filters
from canarykit.funnels.question.specs import Filter, FilterGroup

if TYPE_CHECKING:
    import pyarrow as pa

    from canarykit.events import EventLog

PEOPLE_TYPES = ("person", "group")


@dataclass(frozen=True)
class PeopleFilter:
    """People whose properties pass, or whose ids are listed."""

    # filters of properties of people (or of their groups)
    filters: FilterGroup = field(default_factory=FilterGroup)
    ids: frozenset[str] | None = None  # ids of the people; None where properties decide
    # what the filters of a question say of persons: read off persons alone, as the question's events are
    of_question: FilterGroup = field(default_factory=FilterGroup)

    def located(self, log: EventLog) -> PeopleFilter:
        """The same with every property where the log has it: of persons, else of events (type "event").

        `DataError` for a property that neither persons nor events have: nobody would pass, or everybody.
        """
        if not log.event_names():
            return self
        return replace(self, filters=_located(self.filters, log))

    def passing(
        self, log: EventLog, *, unit: str = "person_id", begins: Any = None, until: Any = None, **narrow: Any
    ) -> set[str]:
        """Ids of the units that pass.

        What persons and groups have is judged at the newest event among those that `narrow` names; what only
        events have at each unit's first event that has it, as the segments of a report are.

        `unit` is the column that names the units; from `begins` on (None: the first) events tell a property
        that only they have; `until` is the end of the events looked at; `narrow` are `events` and `where` as
        `log.reduce` takes them: the exposures of a flag.
        """
        filters = self._all
        if not filters.values:
            return set(self.ids or ())
        of_events = tuple(dict.fromkeys(_of_events(filters)))
        if of_events:
            narrow = {"since": begins}
        columns = [unit, "timestamp", *columns_of(filters)]
        fn = partial(_passing, unit=unit, filters=filters, of_events=of_events)
        parts = log.reduce(list(dict.fromkeys(columns)), fn, actor=unit, until=until, **narrow)
        passing: set[str] = set().union(*parts)
        return passing if self.ids is None else passing & self.ids

    @property
    def _all(self) -> FilterGroup:
        groups = tuple(group for group in (self.filters, self.of_question) if group.values)
        return groups[0] if len(groups) == 1 else FilterGroup(groups)

    def recorded(self, log: EventLog) -> tuple[Note, ...]:
        """A note per property that nobody has; `DataError` where it looks like a misspelling."""
        return check_properties(log, columns_of(self._all))

    def nobody(self, log: EventLog) -> str:
        """Why nobody passes, where a value that is asked for is one that nobody has; else nothing.

        `DataError` where the value looks like a misspelling of one that is there.
        """
        for item in _leaves(self.filters):
            if item.operator != "exact" or item.value is None:
                continue
            (column,) = columns_of(FilterGroup((item,)))
            values: set[str] = set().union(*log.reduce([column], partial(_texts, column=column)))
            asked = item.value if isinstance(item.value, tuple | list) else (item.value,)
            wanted = [text_of(value) for value in asked if value is not None]
            if not values.isdisjoint(wanted):
                continue
            text = f"nobody has {item.property} {wanted[0]!r}; {did_you_mean(wanted[0], sorted(values))}"
            if meant := misspelling_of(wanted[0], values):
                raise DataError(text if "Did you mean" in text else f"{text} Did you mean {meant!r}?")
            return text.rstrip(".")
        return ""

    def words(self) -> str:
        """Who they are, and which of their properties were read off events, as a reader of a note is told."""
        said = [] if self.ids is None else ["those named"]
        words = " and ".join([*said, *([_words(self._all)] if self._all.values else [])])
        names = " and ".join(dict.fromkeys(_of_events(self._all)))
        return f"{words}; {names} as each one's first event with it says" if names else words


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
    return replace(who, filters=FilterGroup((*([who.filters] if who.filters.values else []), only)))


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


def _leaves(filters: FilterGroup) -> Iterator[Filter]:
    for item in filters.values:
        if isinstance(item, FilterGroup):
            yield from _leaves(item)
        else:
            yield item


def _of_events(filters: FilterGroup) -> Iterator[str]:
    """Properties that are read off events."""
    return (item.property for item in _leaves(filters) if item.type == "event")


def _located(filters: FilterGroup, log: EventLog) -> FilterGroup:
    values = tuple(
        _located(item, log) if isinstance(item, FilterGroup) else _where_it_is(item, log)
        for item in filters.values
    )
    return replace(filters, values=values)


def _where_it_is(item: Filter, log: EventLog) -> Filter:
    """The filter of the persons' property, else of the events'."""
    name = item.property
    on_persons = () if log.persons is None else tuple(map(str, log.persons.columns))
    if item.type != "person" or name in on_persons:
        return item
    if f"person.{name}" in log.columns or (
        "person_properties" in (*log.columns, *log.mapping) and is_carried(log, f"person.{name}")
    ):
        return item
    if log.has_property(name) or is_carried(log, name):
        return replace(item, type="event")
    names = sorted({*on_persons, *log.property_names()} - {"person_id", "distinct_id"})
    raise DataError(
        f"people: nobody has the property {name!r}, neither on persons nor on events; "
        f"{did_you_mean(name, names)}"
    )


class _OfUnits(Columns):
    """Columns in which properties of events are those of the unit: the value of its first event with one."""

    def __init__(self, table: pa.Table, unit: str, of_events: tuple[str, ...]) -> None:
        super().__init__(table)
        self._unit, self._of_events = unit, of_events

    def text(self, name: str) -> tuple[np.ndarray, list[str]]:
        codes, texts = super().text(name)
        if name not in self._of_events or not texts:
            return codes, texts
        who, units = super().text(self._unit)
        known = np.array([bool(text) for text in texts])
        rows = np.flatnonzero((codes >= 0) & (who >= 0))
        rows = rows[known[codes[rows]]]
        rank = np.argsort(np.argsort(np.array(texts, dtype=object)))
        rows = rows[np.lexsort((rank[codes[rows]], self.time()[rows], who[rows]))]
        firsts = rows[np.diff(who[rows], prepend=-1) != 0]
        value = np.full(len(units) + 1, -1, dtype=codes.dtype)  # the last one is for rows of nobody
        value[who[firsts]] = codes[firsts]
        return value[who], texts


def _passing(table: pa.Table, *, unit: str, filters: FilterGroup, of_events: tuple[str, ...]) -> set[str]:
    columns = _OfUnits(table, unit, of_events)
    codes, texts = columns.text(unit)
    time = columns.time()
    passed = filter_mask(filters, columns)
    order = np.lexsort((passed, time, codes))
    last = order[np.diff(codes[order], append=-2) != 0]
    last = last[passed[last] & (codes[last] >= 0)]
    return {texts[code] for code in codes[last].tolist()}


def _texts(table: pa.Table, *, column: str) -> set[str]:
    return set(Columns(table).text(column)[1]) - {""}
