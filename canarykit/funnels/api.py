"""`funnel_by_flag`: a funnel question in plain values, answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from canarykit.arguments import checked, one_or_more
from canarykit.errors import PlanError, did_you_mean, wrong_kind
from canarykit.flags.given import key_of
from canarykit.funnels.engine.breakdowns import breakdown_columns
from canarykit.funnels.question.parse import (
    read_breakdown,
    read_exclusion,
    read_filters,
    read_step,
    read_window,
)
from canarykit.funnels.question.people import PeopleFilter, narrowed, people_of_filters, read_people
from canarykit.funnels.question.specs import Breakdown, Filter, FilterGroup, FunnelQuery, Order, Step
from canarykit.plan.given import as_plan
from canarykit.times import check_zone

if TYPE_CHECKING:
    from canarykit.events import EventLog
    from canarykit.flags import Flag
    from canarykit.funnels.answers.funnel import Funnel
    from canarykit.funnels.question.specs import Attribution, Exclusion, FilterGroup
    from canarykit.plan import RolloutPlan
    from canarykit.typing import Day, Duration, Filters, Frame

WindowFrom = Literal["first step", "exposure"]


@checked
def funnel_by_flag(
    log: EventLog | Frame,
    steps: Sequence[str | Sequence[str] | Mapping[str, Any] | Step | None],
    *,
    flag: str | Flag | None = None,
    breakdown: str | Sequence[str] | Mapping[str, Any] | Breakdown | None = None,
    within: Duration | Mapping[str, Any] | None = "14d",
    order: Order = "ordered",
    exclusions: Sequence[str | Mapping[str, Any] | Exclusion] = (),
    optional: Sequence[int | str] = (),
    attribution: Attribution | Sequence[Any] = "first_touch",
    aggregate_by: str | None = None,
    date_from: Day | None = None,
    date_to: Day | None = None,
    filters: Filters | FilterGroup = (),
    days_of_week: Sequence[int] = (),
    timezone: str = "UTC",
    tie_width_seconds: float = 0.0,
    limit: int | None = 25,
    plan: RolloutPlan | None = None,
    stage: str | None = None,
    people: Filters = None,
    window_from: WindowFrom | None = None,
    confidence: float = 0.95,
) -> Funnel:
    """Where the people of each variant fall out between the steps.

    The rules are PostHog's: attempts, exclusions, ties, optional steps and attribution give its numbers.

    Parameters
    ----------
    log
        `EventLog` over any engine, or a table of events with its default columns.
    steps
        At least two: event names, None for any event, lists of names (any of them), or mappings with
        `event` or `any_of`, `filters`, `math` ("first_time_for_user"), `name`, `optional`.
    flag
        Key of a flag, or the flag itself: people are split by its variant (`$feature/<flag>` on the
        events; with `attribution="exposure"` by what they were first exposed to).
    breakdown
        Split by a property instead, or beside the flag: its name (`"$browser"`, `"person.plan"`,
        `"group0.plan"`), a list of names, or a mapping in PostHog's words. Beside the flag a row is the
        pair of variant and value; with `attribution="exposure"` the value at the first exposure.
    within
        Conversion window from the first step of an attempt, included: "14d", "6h", a `timedelta`.
        A month is 31 days.
    order
        "ordered" (other events may lie between), "strict" (none may) or "unordered".
    exclusions
        Events that void an attempt: a name (through the whole funnel) or `{"event", "from_step",
        "to_step", "filters"}`, steps counted from 0.
    optional
        Steps that may be left out, by position from 0 or by name.
    attribution
        Which of a person's values counts: "first_touch", "last_touch", "all_events", `("step", n)`, or
        "exposure": the variant of the first exposure, events before it left out; over a whole ramp people
        exposed to several variants are set apart and counted. Take "exposure" for a release decision: first
        touch ignores events without a value, so that people whose flag failed to load are credited to the
        variant they see later.
    aggregate_by
        "person" (default), "group:<i>", "session", "distinct_id", "property:<name>" or
        "person_property:<name>". With a plan of a group flag, its group is the default.
    date_from, date_to
        Events read, both included; a date without a time is the whole day in `timezone`.
    filters
        Events outside them do not exist: a list (all must hold) or nested `{"type": "OR", "values": [...]}`.
        With `attribution="exposure"` those of people (type "person" or "group") narrow the exposed too.
    days_of_week
        ISO weekdays to keep, Monday = 1.
    timezone
        Zone of dates, weekdays and trend periods.
    tie_width_seconds
        Events this close count as simultaneous in ordered funnels; 0 is exact ties only.
    limit
        Most breakdown values shown; the rest is summed as "Other". None shows all.
    plan
        The rollout plan of the flag: its group, and its stages for exposures.
    stage
        One stage of the plan: its window bounds the events unless `date_from` and `date_to` do, and with
        `attribution="exposure"` people are those exposed in it, each with the variant of that stage. Compare
        within a stage: over a whole ramp people move from control to canary, and are set apart.
    people
        Only these people: a filter of their properties (`{"plan": "pro"}`, or mappings in PostHog's words),
        or a list of ids. Needs `attribution="exposure"`, whose denominator it narrows.
    window_from
        What `within` is counted from: the "first step" of an attempt, as PostHog does, or the "exposure",
        as the guardrails of `evaluate_stage` do. With "exposure" people whose time is not over by the end
        of the stage (or of the dates, or of the log) are left out and counted, once both arms have people
        whose time is over. None is "exposure" for a stage with `attribution="exposure"`, so that the funnel
        of a stage (up to the report's `as_of`: `date_to=`) gives the report's number, and "first step" for
        everything else.
    confidence
        Of the intervals.

    Returns
    -------
    Funnel
        Counts, shares with intervals and times per variant and step; people, times to convert, trends,
        comparisons and correlations are its methods.

    Raises
    ------
    PlanError
        For a question that PostHog refuses; the message names the step and the rule.
    DataError
        For an event, property or flag that looks like a misspelling of one the log has; a name that was
        simply never recorded is a note.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame(
    ...     {
    ...         "event": ["signup", "paid", "signup"],
    ...         "timestamp": pd.to_datetime(["2026-09-07 09:00Z", "2026-09-07 10:00Z", "2026-09-08 09:00Z"]),
    ...         "distinct_id": ["ada", "ada", "bob"],
    ...         "$feature/new-checkout": ["true", "true", "false"],
    ...     }
    ... )
    >>> funnel_by_flag(frame, ["signup", "paid"], flag="new-checkout").counts
    {'true': [1, 1], 'false': [1, 0]}
    """
    plan = None if plan is None else as_plan(plan)
    flag = None if flag is None else key_of(flag)
    asked = locals().copy()  # the whole question, to be asked again of fewer people
    from canarykit.events.log import as_log
    from canarykit.exposure.lookup import exposed_units
    from canarykit.funnels.answers.funnel import Funnel
    from canarykit.funnels.question.recorded import recorded_notes
    from canarykit.funnels.run import run_funnel

    if window_from is None:
        window_from = "exposure" if stage is not None and attribution == "exposure" else "first step"
    _require_exposure(attribution, people=people, window_from=window_from)
    if stage is not None:
        date_from, date_to = _stage_bounds(plan, stage, date_from, date_to)
    query = funnel_query(
        steps,
        flag=flag if flag is not None or plan is None else plan.flag,
        breakdown=breakdown,
        within=within,
        order=order,
        exclusions=exclusions,
        optional=optional,
        attribution=attribution,
        aggregate_by=aggregate_by or _assigned_unit(plan),
        date_from=date_from,
        date_to=date_to,
        filters=filters,
        days_of_week=days_of_week,
        timezone=timezone,
        tie_width_seconds=tie_width_seconds,
        limit=limit,
    )
    events = as_log(log)
    exposed = None
    if query.flag_exposure:
        who = _who(query, people)
        whole = window_from == "exposure"
        exposed = exposed_units(events, query, plan=plan, stage=stage, people=who, whole=whole)
    run = run_funnel(events, query, exposed=exposed)
    funnel = Funnel.from_run(query, run, events, exposed=exposed, confidence=confidence, notes=events.notes)
    notes = tuple(dict.fromkeys((*funnel.notes, *recorded_notes(funnel, events))))
    return replace(funnel, notes=notes, _of_segment=partial(_of_segment, asked))


def _of_segment(asked: dict[str, Any], name: str, value: str) -> Funnel:
    """The same question of the people whose property has a value."""
    if asked["attribution"] == "exposure":
        return funnel_by_flag(**{**asked, "people": narrowed(asked["people"], name, value)})
    already = read_filters(asked["filters"] or None)
    only = Filter(name, (value,), "exact", "person")
    group = FilterGroup((*([already] if already.values else []), only))
    return funnel_by_flag(**{**asked, "filters": group})


def funnel_query(
    steps: Sequence[str | Sequence[str] | Mapping[str, Any] | Step | None],
    *,
    flag: str | Flag | None = None,
    breakdown: str | Sequence[str] | Mapping[str, Any] | Breakdown | None = None,
    within: Duration | Mapping[str, Any] | None = "14d",
    order: Order = "ordered",
    exclusions: Sequence[str | Mapping[str, Any] | Exclusion] = (),
    optional: Sequence[int | str] = (),
    attribution: Attribution | Sequence[Any] = "first_touch",
    aggregate_by: str = "person",
    date_from: Day | None = None,
    date_to: Day | None = None,
    filters: Filters | FilterGroup = (),
    days_of_week: Sequence[int] = (),
    timezone: str = "UTC",
    tie_width_seconds: float = 0.0,
    limit: int | None = 25,
) -> FunnelQuery:
    """The question alone, checked; the parameters are those of `funnel_by_flag`.

    Examples
    --------
    >>> funnel_query(["signup", "paid"], within="1 month").window_us // 86_400_000_000
    31
    """
    if isinstance(steps, str | Mapping) or hasattr(steps, "columns") or not isinstance(steps, Iterable):
        raise wrong_kind("steps", steps, "a list of steps")
    steps = tuple(steps)
    if not 0 <= tie_width_seconds < 1e9:
        raise PlanError(f"tie_width_seconds is {tie_width_seconds}; expected seconds, 0 or more")
    flag = None if flag is None else key_of(flag)
    check_zone(timezone)
    read = tuple(read_step(step, position=k) for k, step in enumerate(steps))
    marked = [k for k, step in enumerate(steps) if isinstance(step, dict) and step.get("optional")]
    left_out = enumerate(one_or_more(exclusions))
    return FunnelQuery(
        steps=read,
        order=order,
        window_us=read_window(within),
        exclusions=tuple(read_exclusion(e, n_steps=len(read), position=k) for k, e in left_out),
        optional=tuple(sorted({*marked, *(_step_number(item, read) for item in one_or_more(optional))})),
        breakdown=_breakdown(flag, breakdown, attribution, limit),
        aggregate_by=aggregate_by,
        date_from=_bound(date_from, timezone, "date_from"),
        date_to=_bound(date_to, timezone, "date_to", last=True),
        filters=read_filters(filters or None),
        days_of_week=one_or_more(days_of_week),
        timezone=timezone,
        tie_width_us=round(tie_width_seconds * 1e6),
        flag=flag,
    )


def _breakdown(flag: str | None, breakdown: Any, attribution: Any, limit: int | None) -> Breakdown | None:
    if flag is None:
        return read_breakdown(breakdown, attribution=attribution, limit=limit)
    key = f"$feature/{flag}"
    beside = read_breakdown(breakdown, limit=limit)
    if beside is None:
        return read_breakdown([key], attribution=attribution, limit=limit)
    columns = breakdown_columns(beside)
    both = read_breakdown([key, *columns], attribution=attribution, limit=beside.limit)
    assert both is not None
    return replace(both, normalize_url=beside.normalize_url, path_cleaning=beside.path_cleaning)


def _require_exposure(attribution: Any, **given: Any) -> None:
    """Refuse what only attribution by exposure can answer."""
    window_from = given["window_from"]
    if window_from not in ("first step", "exposure"):
        raise PlanError(
            f"window_from is {window_from!r}; {did_you_mean(window_from, ['first step', 'exposure'])}"
        )
    for name, is_given in (
        ("people", given["people"] is not None),
        ("window_from", window_from == "exposure"),
    ):
        if is_given and attribution != "exposure":
            raise PlanError(f"{name}={given[name]!r} needs attribution='exposure', got {attribution!r}")


def _who(query: FunnelQuery, people: Any) -> PeopleFilter | None:
    """The people asked for, and those that the filters of people let through."""
    of_filters = people_of_filters(query.filters)
    if people is None:
        return PeopleFilter(of_question=of_filters) if of_filters.values else None
    named = read_people(people)
    return replace(named, of_question=of_filters) if of_filters.values else named


def _step_number(item: int | str, steps: tuple[Step, ...]) -> int:
    if isinstance(item, int):
        return item
    labels = [step.label for step in steps]
    if item not in labels:
        raise PlanError(f"optional step {item!r} is not a step; {did_you_mean(item, labels)}")
    return labels.index(item)


def _bound(value: Any, timezone: str, name: str, *, last: bool = False) -> datetime | None:
    """A bound of the events read; a bare date is that whole day in the query's zone."""
    if value is None:
        return None
    from datetime import timedelta

    from canarykit.times import day_start, read_day, to_utc

    day = read_day(value, name=name)
    if day is None:
        return to_utc(value, name=name, tz=timezone)
    if not last:
        return day_start(day, timezone)
    return day_start(day + timedelta(days=1), timezone) - timedelta(microseconds=1)


def _stage_bounds(plan: RolloutPlan | None, stage: str, date_from: Any, date_to: Any) -> tuple[Any, Any]:
    """The bounds given, else the stage's half-open window."""
    from datetime import timedelta

    if plan is None:
        raise PlanError(f"stage {stage!r} needs the plan: give plan=")
    start, end = plan.window(stage)
    last = None if end is None else end - timedelta(microseconds=1)
    return (start if date_from is None else date_from), (last if date_to is None else date_to)


def _assigned_unit(plan: RolloutPlan | None) -> str:
    index = None if plan is None else plan.aggregation_group_type_index
    return "person" if index is None else f"group:{index}"
