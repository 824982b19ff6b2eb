"""Plain values into funnel specs: names, mappings in PostHog's words, durations with units."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from canarykit.arguments import one_or_more
from canarykit.errors import PlanError, did_you_mean, wrong_kind
from canarykit.funnels.question.specs import (
    FOURTEEN_DAYS_US,
    Breakdown,
    Entity,
    Exclusion,
    Filter,
    FilterGroup,
    Step,
)
from canarykit.times import duration

SECOND_US = 1_000_000
FIRST_TIMES = ("first_time_for_user", "first_time_for_user_with_filters")
PROPERTY_TYPES = ("event", "person", "group", "event_metadata")
STEP_KEYS = ("event", "events", "filters", "any_of", "math", "first_time", "custom_name", "name", "optional")
EXCLUSION_KEYS = ("event", "filters", "from_step", "to_step")
BREAKDOWN_KEYS = (
    "property",
    "type",
    "attribution",
    "attribution_step",
    "limit",
    "normalize_url",
    "path_cleaning",
    "group_type_index",
)


def read_window(value: Any) -> int:
    """A conversion window in microseconds.

    Text with its unit or a `timedelta`; or PostHog's mapping of interval and unit, in which a missing, zero
    or negative interval means 14, as it does there. A month is 31 days. None is 14 days.

    Examples
    --------
    >>> read_window("14d") == read_window(None) == read_window({"interval": 0, "unit": "day"})
    True
    >>> read_window({"interval": 1, "unit": "month"}) // 86_400_000_000
    31
    """
    if value is None:
        return FOURTEEN_DAYS_US
    if isinstance(value, Mapping):
        interval = value.get("interval")
        unit = value.get("unit") or "day"
        amount = interval if interval is not None and interval > 0 else 14
        return round(duration(f"{amount} {unit}", name="within") * SECOND_US)
    return round(duration(value, name="within") * SECOND_US)


def read_step(value: Any, *, position: int = 0) -> Step:
    """One step: an event name, None for any event, a list of names (any of them), or a mapping.

    Examples
    --------
    >>> read_step("paid").label, read_step(["a", "b"]).label, read_step(None).label
    ('paid', 'a or b', 'any event')
    >>> read_step({"event": "paid", "filters": {"plan": "pro"}}).filters.values[0].value
    'pro'
    """
    where = f"step {position}"
    if isinstance(value, Step):
        return value
    if value is None or isinstance(value, str):
        return Step((Entity(value),))
    if isinstance(value, Mapping):
        _known_keys(where, value, STEP_KEYS)
        first_time: Any = value.get("first_time") or value.get("math")
        if first_time is True:
            first_time = FIRST_TIMES[0]
        if first_time in ("total", False):
            first_time = None
        if first_time is not None and first_time not in FIRST_TIMES:
            raise PlanError(
                f"{where}: math {first_time!r} is unknown; {did_you_mean(first_time, FIRST_TIMES)}"
            )
        parts = value.get("any_of") or value.get("events")
        if parts:
            entities = tuple(_read_entity(part, where) for part in parts)
        elif "event" in value:
            entities = (Entity(value["event"]),)
        else:
            raise PlanError(f"{where} names no event; give 'event' (None = any event) or 'any_of'")
        name = value.get("name") or value.get("custom_name") or ""
        return Step(entities, read_filters(value.get("filters"), where=where), first_time, name)
    if isinstance(value, Sequence):
        return Step(tuple(_read_entity(part, where) for part in value))
    raise PlanError(f"{where} is {value!r}; expected an event name, None, a list of names or a mapping")


def _read_entity(value: Any, where: str) -> Entity:
    if isinstance(value, Entity):
        return value
    if value is None or isinstance(value, str):
        return Entity(value)
    if not isinstance(value, Mapping):
        raise PlanError(f"{where} has the part {value!r}; expected an event name or a mapping")
    return Entity(value.get("event"), read_filters(value.get("filters"), where=where))


def read_exclusion(value: Any, *, n_steps: int, position: int = 0) -> Exclusion:
    """One exclusion: an event name (excluded through the whole funnel) or a mapping with its steps.

    Examples
    --------
    >>> read_exclusion("refund", n_steps=3).to_step
    2
    """
    if isinstance(value, Exclusion):
        return value
    if isinstance(value, str):
        return Exclusion(Entity(value), 0, n_steps - 1)
    where = f"exclusion {position}"
    if not isinstance(value, Mapping):
        raise PlanError(f"{where} is {value!r}; expected an event name or a mapping")
    _known_keys(where, value, EXCLUSION_KEYS)
    entity = Entity(value.get("event"), read_filters(value.get("filters"), where=where))
    from_step, to_step = value.get("from_step"), value.get("to_step")
    return Exclusion(
        entity, 0 if from_step is None else from_step, n_steps - 1 if to_step is None else to_step
    )


def read_filters(value: Any, *, where: str = "filters") -> FilterGroup:
    """Filters from a list (all must hold), a nested AND / OR mapping, or `{property: value}`.

    Examples
    --------
    >>> read_filters([{"property": "plan", "value": ["pro", "team"]}]).values[0].operator
    'exact'
    >>> read_filters({"type": "OR", "values": [{"plan": "pro"}, {"seats": 95}]}).type
    'OR'
    """
    if value is None:
        return FilterGroup()
    if isinstance(value, FilterGroup):
        return value
    if isinstance(value, Filter):
        return FilterGroup((value,))
    if isinstance(value, Mapping):
        item = _read_filter(value, where)
        return item if isinstance(item, FilterGroup) else FilterGroup((item,))
    if isinstance(value, Iterable) and not isinstance(value, str):
        return FilterGroup(tuple(_read_filter(item, where) for item in value))
    raise PlanError(f"{where}: {value!r} is not a filter; expected a mapping or a list of mappings")


def _read_filter(value: Any, where: str) -> Filter | FilterGroup:
    """A filter, or a group of them, from any of its spellings; another shape is refused by its place."""
    if isinstance(value, Filter | FilterGroup):
        return value
    if not isinstance(value, Mapping) and hasattr(value, "key") and hasattr(value, "operator"):
        value = {
            "property": value.key,
            "value": value.value,
            "operator": value.operator,
            "type": value.type,
            "group_type_index": value.group_type_index,
        }
    if not isinstance(value, Mapping):
        raise PlanError(f"{where}: {value!r} is not a filter; expected a mapping")
    name = value.get("property", value.get("key"))
    if name is None and _is_group(value):
        if value.get("type") not in ("AND", "OR"):
            hint = did_you_mean(str(value.get("type", "")).upper(), ["AND", "OR"])
            raise PlanError(f"{where}: a group of filters has type {value.get('type')!r}; {hint}")
        return FilterGroup(tuple(_read_filter(item, where) for item in value["values"]), value["type"])
    if name is None:
        for key, item in value.items():
            if item is None:
                raise PlanError(
                    f"{where}: filter on {key!r} has the value None; where it is missing is asked for by "
                    f"{{'property': {key!r}, 'operator': 'is_not_set'}}"
                )
            _refuse_no_value(key, item, where)
        return FilterGroup(tuple(Filter(str(key), item) for key, item in value.items()))
    wanted = value.get("value")
    _refuse_no_value(name, wanted, where)
    kind: Any = value.get("type") or "event"
    if kind not in PROPERTY_TYPES:
        raise PlanError(
            f"{where}: filter on {name!r} has type {kind!r}; {did_you_mean(kind, PROPERTY_TYPES)}"
        )
    return Filter(
        str(name),
        tuple(wanted) if isinstance(wanted, list | set | tuple) else wanted,
        value.get("operator") or "exact",
        kind,
        value.get("group_type_index"),
    )


def _refuse_no_value(name: Any, wanted: Any, where: str) -> None:
    """A filter compares with texts and numbers."""
    for item in one_or_more(wanted):
        if isinstance(item, Mapping) or (isinstance(item, float) and not math.isfinite(item)):
            raise PlanError(f"{where}: filter on {name!r} has the value {item!r}; expected a text or number")


def _is_group(value: Mapping[str, Any]) -> bool:
    """Whether a mapping means several filters together, however its type is spelt."""
    items = value.get("values")
    listed = isinstance(items, list | tuple)
    grouped = "type" in value or any(isinstance(item, Mapping | Filter | FilterGroup) for item in items or ())
    return listed and grouped and set(value) <= {"type", "values"}


def read_breakdown(
    value: Any, *, attribution: Any = "first_touch", limit: int | None = 25
) -> Breakdown | None:
    """A breakdown: a property, a list of properties, or a mapping; `attribution` may be `("step", n)`.

    Examples
    --------
    >>> read_breakdown("$browser").attribution
    'first_touch'
    >>> read_breakdown("person.plan").type, read_breakdown("group0.plan").group_type_index
    ('person', 0)
    >>> read_breakdown("$browser", attribution=("step", 1)).attribution_step
    1
    """
    if value is None or isinstance(value, Breakdown):
        return value
    mode, number = _read_attribution(attribution)
    if isinstance(value, str):
        prefix, name, index = _split_name(value)
        return Breakdown((name,), prefix, mode, number, limit, group_type_index=index)
    if not isinstance(value, Iterable):
        raise wrong_kind("breakdown", value, "the name of a property, a list of names, or a mapping")
    if not isinstance(value, Mapping):
        return Breakdown(tuple(str(item) for item in value), "event", mode, number, limit)
    _known_keys("breakdown", value, BREAKDOWN_KEYS)
    if "property" not in value:
        raise PlanError(f"the breakdown names no 'property'; {did_you_mean('property', value)}")
    names = value["property"]
    if value.get("attribution") is not None:
        mode, number = _read_attribution(value["attribution"])
    kind: Any = value.get("type") or "event"
    if kind not in PROPERTY_TYPES:
        raise PlanError(f"the breakdown has type {kind!r}; {did_you_mean(kind, PROPERTY_TYPES)}")
    cleaning = tuple(map(_read_cleaning, one_or_more(value.get("path_cleaning"))))
    group = value.get("group_type_index")
    return Breakdown(
        (names,) if isinstance(names, str) else tuple(names),
        kind,
        mode,
        value.get("attribution_step", number) or 0,
        value.get("limit", limit),
        bool(value.get("normalize_url")),
        cleaning,
        (group or 0) if kind == "group" else None,
    )


def _read_cleaning(rule: Any) -> tuple[str, str]:
    """One rule of path cleaning: what is replaced, and by what."""
    parts = (rule.get("regex"), rule.get("alias")) if isinstance(rule, Mapping) else rule
    if not isinstance(parts, tuple | list) or len(parts) != 2 or not all(isinstance(p, str) for p in parts):
        raise PlanError(f"a rule of path cleaning is {rule!r}; expected {{'regex': ..., 'alias': ...}}")
    return parts[0], parts[1]


def _read_attribution(value: Any) -> tuple[Any, int]:
    if isinstance(value, str):
        return value, 0
    if isinstance(value, Sequence) and len(value) == 2 and value[0] == "step":
        return "step", int(value[1])
    raise PlanError(f"attribution is {value!r}; expected a name, or ('step', number)")


def _split_name(name: str) -> tuple[Any, str, int | None]:
    """`person.plan` and `group0.plan` name person and group properties, as in an event log."""
    prefix, dot, name_in_group = name.partition(".")
    if dot and prefix == "person":
        return "person", name_in_group, None
    if dot and prefix.startswith("group") and prefix[5:].isdigit():
        return "group", name_in_group, int(prefix[5:])
    return "event", name, None


def _known_keys(where: str, value: Mapping[str, Any], settings: Sequence[str]) -> None:
    for key in value:
        if key not in settings:
            raise PlanError(f"{where} has no setting {key!r}; {did_you_mean(str(key), settings)}")
