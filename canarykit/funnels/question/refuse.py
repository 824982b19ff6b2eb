"""The queries a funnel refuses, each with the step and the rule it breaks."""

from __future__ import annotations

from typing import get_args

from canarykit.errors import PlanError, did_you_mean
from canarykit.funnels.question.specs import (
    Attribution,
    Exclusion,
    FilterGroup,
    FunnelQuery,
    Interval,
    Order,
    Step,
    TrendSpec,
)
from canarykit.times import check_zone

__all__ = ["check_range", "refuse", "refuse_optional", "resolve_trend"]

MAX_STEPS = 32


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
    check_zone(query.timezone)
    wrong_days = [day for day in query.days_of_week if day not in range(1, 8)]
    if wrong_days:
        raise PlanError(f"days_of_week has {wrong_days}; expected ISO weekdays, 1 = Monday to 7 = Sunday")
    for position, exclusion in enumerate(query.exclusions):
        _refuse_exclusion(query, position, exclusion)
    refuse_optional(query)
    _refuse_breakdown(query)


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


def _choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise PlanError(f"{name} {value!r} does not exist; {did_you_mean(str(value), known)}")


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
    if breakdown.limit is not None and breakdown.limit < 1:
        raise PlanError(
            f"the breakdown limit is {breakdown.limit}; expected 1 or more, or None for all values"
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
