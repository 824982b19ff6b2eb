"""What a funnel asks, as frozen specs. `read` makes them from plain values, `refuse` says no.

Steps are 0-based everywhere a person or a program sees them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from canarykit.times import micros

__all__ = [
    "Breakdown",
    "Entity",
    "Exclusion",
    "Filter",
    "FilterGroup",
    "FunnelQuery",
    "Step",
    "TrendSpec",
]

Order = Literal["ordered", "strict", "unordered"]
Attribution = Literal["first_touch", "last_touch", "all_events", "step", "exposure"]
PropertyType = Literal["event", "person", "group", "event_metadata"]
FirstTime = Literal["first_time_for_user", "first_time_for_user_with_filters"]
Interval = Literal["hour", "day", "week", "month"]

FOURTEEN_DAYS_US = 14 * 86_400_000_000


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
        from canarykit.funnels.question.refuse import refuse

        refuse(self)

    @property
    def n_steps(self) -> int:
        """Number of steps."""
        return len(self.steps)

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
