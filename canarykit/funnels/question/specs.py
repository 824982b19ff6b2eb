"""What a funnel asks, as frozen specs; and what it refuses, with the step and the rule that is broken.

Steps are 0-based everywhere a person or a program sees them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from canarykit.errors import PlanError, did_you_mean
from canarykit.times import check_zone, micros

Order = Literal["ordered", "strict", "unordered"]
Attribution = Literal["first_touch", "last_touch", "all_events", "step", "exposure"]
PropertyType = Literal["event", "person", "group", "event_metadata"]
FirstTime = Literal["first_time_for_user", "first_time_for_user_with_filters"]
Interval = Literal["hour", "day", "week", "month"]

FOURTEEN_DAYS_US = 14 * 86_400_000_000
MAX_STEPS = 32
_PLAIN_UNITS = ("person", "session", "distinct_id", "person_id", "session_id")


@dataclass(frozen=True)
class Filter:
    """One property filter; values compare by their text (`true`, `95`), lists mean "any of"."""

    property: str
    value: Any = None
    operator: str = "exact"
    type: PropertyType = "event"
    group_type_index: int | None = None


@dataclass(frozen=True)
class FilterGroup:
    """Filters that must all hold ("AND") or of which one must ("OR"); groups nest."""

    values: tuple[Filter | FilterGroup, ...] = ()
    type: Literal["AND", "OR"] = "AND"


@dataclass(frozen=True)
class Entity:
    """An event name (None = any event) with its own filters."""

    event: str | None
    filters: FilterGroup = FilterGroup()


@dataclass(frozen=True)
class Step:
    """One step: any of its entities, and the step's own filters.

    `first_time` narrows the step to each person's first such event ever: `first_time_for_user` ignores all
    filters when looking for it, `first_time_for_user_with_filters` looks among the events that pass them.
    """

    entities: tuple[Entity, ...]
    filters: FilterGroup = FilterGroup()
    first_time: FirstTime | None = None
    name: str = ""

    @property
    def label(self) -> str:
        """The name people read: the given one, else the event names."""
        return self.name or " or ".join(
            e.event if e.event is not None else "any event" for e in self.entities
        )


@dataclass(frozen=True)
class Exclusion:
    """An event that must not happen after `from_step` and before `to_step` (0-based)."""

    entity: Entity
    from_step: int
    to_step: int


@dataclass(frozen=True)
class Breakdown:
    """How actors are split: the properties read, and which of an actor's values counts."""

    properties: tuple[str, ...]
    type: PropertyType = "event"
    attribution: Attribution = "first_touch"
    attribution_step: int = 0
    limit: int | None = 25
    normalize_url: bool = False
    path_cleaning: tuple[tuple[str, str], ...] = ()
    group_type_index: int | None = None

    @property
    def is_plain(self) -> bool:
        """Group values are one plain text, the others lists: a blank first value is then a value."""
        return self.type == "group"


@dataclass(frozen=True)
class TrendSpec:
    """Which conversion a trend follows, by which period."""

    interval: Interval = "day"
    from_step: int = 0
    to_step: int | None = None
    week_start: Literal["sunday", "monday"] = "sunday"
    hide_incomplete: bool = False
    as_of: datetime | None = None


@dataclass(frozen=True)
class FunnelQuery:
    """A whole funnel question, checked when made.

    `window_us` is the conversion window in microseconds, inclusive, from the first step of an attempt.
    `date_from` and `date_to` (UTC, both inclusive) bound the events that are read at all; None is open.
    `tie_width_us` lets events this close count as simultaneous in ordered funnels (default: exact ties only).
    `flag` is the flag key when the breakdown is a flag's variant.
    """

    steps: tuple[Step, ...]
    order: Order = "ordered"
    window_us: int = FOURTEEN_DAYS_US
    exclusions: tuple[Exclusion, ...] = ()
    optional: tuple[int, ...] = ()
    breakdown: Breakdown | None = None
    aggregate_by: str = "person"
    date_from: datetime | None = None
    date_to: datetime | None = None
    filters: FilterGroup = FilterGroup()
    days_of_week: tuple[int, ...] = ()
    timezone: str = "UTC"
    tie_width_us: int = 0
    flag: str | None = None

    def __post_init__(self) -> None:
        refuse(self)

    @property
    def n_steps(self) -> int:
        """Number of steps."""
        return len(self.steps)

    @property
    def entities(self) -> tuple[Entity, ...]:
        """The events of all steps, then those of the exclusions."""
        steps = (entity for step in self.steps for entity in step.entities)
        return (*steps, *(exclusion.entity for exclusion in self.exclusions))

    @property
    def step_labels(self) -> tuple[str, ...]:
        """Names of the steps as people read them; unordered funnels count steps, so rows say so."""
        if self.order == "unordered":
            return tuple(f"Completed {k + 1} step{'s' if k else ''}" for k in range(self.n_steps))
        return tuple(step.label for step in self.steps)

    @property
    def date_from_us(self) -> int | None:
        """`date_from` in microseconds since 1970."""
        return None if self.date_from is None else micros(self.date_from, name="date_from")

    @property
    def date_to_us(self) -> int | None:
        """`date_to` in microseconds since 1970, itself included."""
        return None if self.date_to is None else micros(self.date_to, name="date_to")

    @property
    def required(self) -> tuple[int, ...]:
        """Steps that are not optional: the j-th time that an engine records belongs to the j-th."""
        return tuple(k for k in range(self.n_steps) if k not in self.optional)

    def own_gaps(self, recorded: Any) -> list[Any]:
        """What an engine recorded by position, at the step it belongs to; None at optional steps."""
        gaps: list[Any] = [None] * self.n_steps
        for position, k in enumerate(self.required):
            gaps[k] = recorded[position]
        return gaps

    def last_required_before(self, step: int) -> int:
        """The step whose completion a drop-off at `step` is measured from."""
        return max((k for k in range(step) if k not in self.optional), default=0)

    @property
    def needs_every_event(self) -> bool:
        """Whether events that match no step matter: in strict funnels they break the chain."""
        return self.order == "strict"

    @property
    def flag_exposure(self) -> bool:
        """Whether actors belong to the variant of their first exposure."""
        return self.breakdown is not None and self.breakdown.attribution == "exposure"

    @property
    def looks_back(self) -> bool:
        """Whether events before `date_from` are needed, to know what came first."""
        return any(step.first_time for step in self.steps)


def refuse(query: FunnelQuery) -> None:
    """Raise `PlanError` for the first rule that the query breaks."""
    n = query.n_steps
    if n < 2:
        raise PlanError(f"the funnel has {n} step{'s' if n != 1 else ''}; a funnel needs at least two steps")
    if n > MAX_STEPS:
        raise PlanError(f"the funnel has {n} steps; a steps funnel has at most {MAX_STEPS} steps")
    _choice("order", query.order, get_args(Order))
    for number, step in enumerate(query.steps):
        if not step.entities:
            raise PlanError(f"step {number} has no event; give a name, or None for any event")
    if query.window_us <= 0:
        raise PlanError(f"the conversion window is {query.window_us} microseconds; expected longer than zero")
    if query.tie_width_us < 0:
        raise PlanError(f"tie_width is {query.tie_width_us} microseconds; expected 0 or more")
    _refuse_unit(query.aggregate_by)
    check_zone(query.timezone)
    wrong_days = [day for day in query.days_of_week if day not in range(1, 8)]
    if wrong_days:
        raise PlanError(f"days_of_week has {wrong_days}; expected ISO weekdays, 1 = Monday to 7 = Sunday")
    for position, exclusion in enumerate(query.exclusions):
        _refuse_exclusion(query, position, exclusion)
    refuse_optional(query)
    _refuse_breakdown(query)


def _refuse_unit(unit: str) -> None:
    """What is counted must be one of the spellings that are read."""
    kind, colon, name = str(unit).partition(":")
    plain = not colon and (kind in (*_PLAIN_UNITS, "group") or re.fullmatch(r"\$group_\d", kind))
    grouped = kind == "group" and re.fullmatch(r"\d", name)
    if plain or grouped or (kind in ("property", "person_property") and name.strip()):
        return
    spellings = ["person", "session", "distinct_id", "group:0", "property:<name>", "person_property:<name>"]
    hint = "a group is named by the index of its type, 'group:0'; " if kind == "group" else ""
    raise PlanError(f"aggregate_by is {unit!r}; {hint}{did_you_mean(str(unit), spellings)}")


def refuse_optional(query: FunnelQuery, chart: str = "steps") -> None:
    """Optional steps exist in ordered and strict steps charts only, never first, never doubled."""
    if not query.optional:
        return
    shown = ", ".join(f"step {k}" for k in query.optional)
    if query.order == "unordered" or chart != "steps":
        where = "an unordered funnel" if query.order == "unordered" else f"a {chart} chart"
        raise PlanError(
            f"{shown} is optional in {where}; optional steps need an ordered or strict steps funnel"
        )
    for k in query.optional:
        if not 0 <= k < query.n_steps:
            raise PlanError(f"optional step {k} does not exist; the steps are 0 to {query.n_steps - 1}")
        if k == 0:
            raise PlanError(
                f"step 0 ({query.steps[0].label!r}) is optional; the first step cannot be optional"
            )
        follower = k + 1
        required = follower < query.n_steps and follower not in query.optional
        if required and _may_equal(query.steps[k], query.steps[follower]):
            raise PlanError(
                f"optional step {k} ({query.steps[k].label!r}) equals step {follower}; "
                "an optional step cannot equal the required step after it"
            )


def check_range(query: FunnelQuery, from_step: int | None, to_step: int | None) -> tuple[int, int]:
    """`from_step` and `to_step` with their defaults, first and last step."""
    last = query.n_steps - 1
    start = 0 if from_step is None else from_step
    end = last if to_step is None else to_step
    if not (0 <= start < last and 1 <= end <= last and start < end):
        raise PlanError(
            f"from_step {start} to to_step {end}: from_step / to_step is out of range or reversed; "
            f"expected 0 <= from_step < to_step <= {last}"
        )
    return start, end


def resolve_trend(query: FunnelQuery, spec: TrendSpec) -> tuple[int, int]:
    """Check a trend question; its from and to step."""
    _choice("interval", spec.interval, get_args(Interval))
    _choice("week_start", spec.week_start, ("sunday", "monday"))
    refuse_optional(query, chart="trends")
    return check_range(query, spec.from_step, spec.to_step)


def _choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise PlanError(f"{name} {value!r} does not exist; {did_you_mean(str(value), choices)}")


def _refuse_exclusion(query: FunnelQuery, position: int, exclusion: Exclusion) -> None:
    last = query.n_steps - 1
    start, end = exclusion.from_step, exclusion.to_step
    name = f"exclusion {position} ({exclusion.entity.event or 'any event'!r}, steps {start} to {end})"
    if not (0 <= start < end and start < last and end <= last):
        raise PlanError(
            f"{name}: exclusion step range is invalid; expected 0 <= from_step < to_step <= {last}, "
            "the last step"
        )
    if query.order == "unordered" and (start, end) != (0, last):
        raise PlanError(
            f"{name}: partial exclusions are not allowed in unordered funnels; expected steps 0 to {last}"
        )
    for k in range(start, end + 1):
        for entity in query.steps[k].entities:
            filters = _merged(entity.filters, query.steps[k].filters)
            if entity.event == exclusion.entity.event and _subset(filters, exclusion.entity.filters):
                raise PlanError(
                    f"{name} is step {k} itself; an exclusion may not be one of the steps it lies between"
                )


def _refuse_breakdown(query: FunnelQuery) -> None:
    breakdown = query.breakdown
    if breakdown is None:
        return
    _choice("attribution", breakdown.attribution, get_args(Attribution))
    if not breakdown.properties:
        raise PlanError("the breakdown names no property")
    if breakdown.limit is not None and not (isinstance(breakdown.limit, int) and breakdown.limit >= 1):
        raise PlanError(
            f"the breakdown limit is {breakdown.limit!r}; expected 1 or more, or None for all values"
        )
    if breakdown.attribution == "step":
        k = breakdown.attribution_step
        if not 0 <= k < query.n_steps:
            raise PlanError(f"attribution step {k} does not exist; the steps are 0 to {query.n_steps - 1}")
        if query.order == "unordered" and k != 0:
            raise PlanError(f"attribution by step {k}: unordered funnels attribute by step 0 only")
    if breakdown.attribution == "exposure" and query.flag is None:
        raise PlanError("attribution='exposure' needs a flag: it takes the variant of the first exposure")


def _may_equal(optional: Step, follower: Step) -> bool:
    """Whether a required step takes every event of the optional one before it."""
    return any(
        mine.event == theirs.event
        and _subset(_merged(theirs.filters, follower.filters), _merged(mine.filters, optional.filters))
        for mine in optional.entities
        for theirs in follower.entities
    )


def _merged(first: FilterGroup, second: FilterGroup) -> FilterGroup:
    return FilterGroup((*first.values, *second.values))


def _subset(fewer: FilterGroup, more: FilterGroup) -> bool:
    return all(item in more.values for item in fewer.values)
