"""One event over time, by the variant of the people it happened to.

The people are the exposed ones: each belongs to the variant of the first exposure, events before it do
not count, and people seen with several variants over a whole ramp are set apart and counted. What comes
back from the engine is one small array per variant and interval, never a row per event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from canarykit.arguments import checked
from canarykit.counting import counted
from canarykit.display import Column, Note, Result, Table, format_value
from canarykit.errors import DataError, PlanError, did_you_mean, require_kind
from canarykit.events.fields import PRESENT
from canarykit.events.log import as_log
from canarykit.events.names import check_events, check_properties
from canarykit.flags.given import key_of
from canarykit.funnels.question.people import PeopleFilter, read_people
from canarykit.funnels.question.specs import Filter, FilterGroup
from canarykit.insights.counts import Cohort, count_shard, rate_per_person
from canarykit.insights.people import TrendPeople, TrendSource, list_people
from canarykit.periods import Interval, PeriodGrid, column_micros, moment, period_grid
from canarykit.plan.given import as_plan
from canarykit.times import duration, micros

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from canarykit.events import EventLog
    from canarykit.flags import Flag
    from canarykit.plan import RolloutPlan
    from canarykit.typing import Duration, Filters, Frame, Time
    from canarykit.widgets.view import View

Measure = Literal["events", "users", "share"]
Per = Literal["exposed user", "exposure cohort"]

_MEASURES = ("events", "users", "share")
_PERS = ("exposed user", "exposure cohort")


@dataclass(frozen=True, repr=False, eq=False)
class FlagTrend(Result):
    """One event by interval and variant.

    Attributes
    ----------
    event, flag
        What was counted, and whose variants.
    measure, per, interval
        How: see `trend_by_flag`.
    unit
        What `value` is, in words.
    rows
        One mapping per interval and variant: `start` (in `timezone`), `variant`, `events`, `users`, `exposed`
        (people in the denominator), `value` with `low` and `high`, `incomplete`.
    confidence
        Of the intervals.
    timezone
        Zone in which days begin and times are shown.
    followed
        For exposure cohorts, one mapping per variant: `people` followed for the whole time, `users` of them
        with the event, `share` with `low` and `high`. These are the shares that a guardrail of the same
        event and time counts.
    """

    event: str
    flag: str
    measure: Measure
    per: Per | None
    interval: Interval
    unit: str
    rows: tuple[Mapping[str, Any], ...]
    confidence: float = 0.95
    notes: tuple[Note, ...] = ()
    timezone: str = "UTC"
    followed: tuple[Mapping[str, Any], ...] = ()
    _source: TrendSource | None = field(default=None)

    @property
    def variants(self) -> tuple[str, ...]:
        """Every variant with exposed people, in name order."""
        return tuple(dict.fromkeys(row["variant"] for row in self.rows))

    @property
    def is_share(self) -> bool:
        """Whether the values are fractions of people."""
        return self.measure == "share" or (self.measure == "users" and self.per is not None)

    def finding(self) -> str:
        """What the picture shows, in one line."""
        parts = []
        for variant in self.variants:
            mine = [row for row in self.rows if row["variant"] == variant]
            people = mine[-1]["exposed"]
            whole = [row for row in self.followed if row["variant"] == variant]
            if self.measure == "users" and whole:
                share = format_value(whole[0]["share"], "share")
                followed = counted(whole[0]["people"], "people followed for the whole time")
                parts.append(f"{share} of {followed} ({variant})")
                continue
            if self.per == "exposure cohort":
                people = sum(row["exposed"] for row in mine)
            if self.measure == "share":
                share = format_value(mine[-1]["value"], "share")
                parts.append(f"{share} of {counted(people, 'people')} ({variant})")
            else:
                events = sum(row["events"] for row in mine)
                parts.append(f"{events:,} from {counted(people, 'people')} exposed ({variant})")
        return f"{self.event} by {self.flag}: " + (", ".join(parts) or "nobody was exposed")

    def _headline(self) -> str:
        return f"{self.finding()} [{self.unit}, by {self.interval}]"

    def _table(self) -> Table:
        value: Any = "share" if self.is_share else ("count" if self.per is None else "number")
        columns = [
            Column("start", f"{self.interval} from", "time"),
            Column("variant", "variant"),
            Column("events", "events", "count"),
            Column("users", "users", "count"),
            Column("exposed", "exposed people", "count"),
            Column("value", self.unit, value),
        ]
        if self.is_share or self.per is not None:
            columns += [Column("low", "low", value), Column("high", "high", value)]
        return Table.of([*columns, Column("incomplete", "incomplete")], self.rows)

    def _extra_json(self) -> dict[str, Any]:
        names = ("event", "flag", "measure", "per", "interval", "unit", "confidence", "timezone", "followed")
        return {name: getattr(self, name) for name in names}

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """One line a variant with its interval as a band; incomplete intervals hollow and dashed."""
        from canarykit.plots.trends import draw_flag_trend

        return draw_flag_trend(self, ax=ax)

    def people(
        self,
        start: Time | int,
        *,
        variant: str | None = None,
        host: str | None = None,
        project_id: int | str | None = None,
    ) -> TrendPeople:
        """The people behind a point: to whom the event happened, with those events and their sessions.

        They are the `users` of the row: with the event in the interval; for a share of everyone so far, with
        it by the end of the interval; for an exposure cohort, exposed in the interval with it afterwards.

        Parameters
        ----------
        start
            Which interval: its start as in `rows` (text without an offset is read in the trend's zone), or
            its number, 0 the first and -1 the last.
        variant
            Only this variant; left out, all of them.
        host, project_id
            Where your recordings are: with a host each session becomes a replay URL.

        Raises
        ------
        DataError
            If no interval starts then, or nobody was exposed to the variant.
        """
        if self._source is None:
            raise PlanError("this trend was read back without its log; run trend_by_flag again")
        return list_people(self, self._source, start, variant=variant, host=host, project_id=project_id)

    def explore(
        self,
        *,
        segment: str | None = None,
        host: str | None = None,
        project_id: int | str | None = None,
    ) -> View:
        """The trend as a picture one can click: each interval leads to its people and their recordings.

        Parameters
        ----------
        segment
            A property of people by whose values the picture can be narrowed, as `people={property: value}`
            of `trend_by_flag` does.
        host, project_id
            As for `people`, which lists the same people without a widget.

        Raises
        ------
        ImportError
            Without the parts for notebooks (`canarykit[lab]`).
        """
        from canarykit.widgets.views import explore_trend

        return explore_trend(self, segment=segment, host=host, project_id=project_id)


@checked
def trend_by_flag(
    log: EventLog | Frame,
    event: str,
    *,
    flag: str | Flag,
    plan: RolloutPlan | None = None,
    stage: str | None = None,
    measure: Measure = "events",
    per: Per | None = None,
    interval: Interval = "day",
    within: Duration | None = None,
    since: Time | None = None,
    until: Time | None = None,
    as_of: Time | None = None,
    where: Mapping[str, Any] | None = None,
    people: Filters = None,
    timezone: str = "UTC",
    confidence: float = 0.95,
) -> FlagTrend:
    """How often an event happens to the people of each variant, over time.

    Parameters
    ----------
    log
        Events of any engine; counting happens there.
    event
        The event name, e.g. "$exception".
    flag
        Key of the flag, or the flag itself; people belong to the variant of their first exposure to it.
    plan
        The rollout plan, where there is one.
    stage
        Only this stage of the plan: its window, and the variant that people had in it. Over a whole ramp
        people move from control to canary and are set apart; within a stage they stay. A percentage stage
        counts those whom a hash put into their arm, without the people whom somebody chose.
    measure
        "events" counts events; "users" counts people with the event in the interval; "share" is the
        share of everyone exposed so far who has had the event at least once since (a curve that
        only rises with events and falls when new people come in).
    per
        None counts. "exposed user" divides by the people exposed by the end of the interval: events
        per person, or the share of people. "exposure cohort" groups people by the interval of their
        first exposure and follows each for `within` afterwards: every person is watched equally long. With a
        stage nobody is followed beyond its end, where the arms change.
    interval
        "hour", "day", "week" (from Sunday) or "month", cut in `timezone`.
    within
        How long each person of an exposure cohort is followed, e.g. "24h" or "7d".
    since, until
        First and last moment (half-open); the default starts at the first exposure and ends at `as_of`.
    as_of
        "Now": events from then on do not count, and intervals (or follow-up times) that end later are
        incomplete. The default is the time of the last event in the log.
    where
        A further filter on the events, as `log.reduce` takes it. What it says of `person.<name>` narrows
        the exposed people too.
    people
        Only these people: a filter of their properties (`{"plan": "pro"}`, or mappings in PostHog's words),
        or a list of ids.
    timezone
        Zone in which days begin, and in which the table and the picture show them.
    confidence
        Of the intervals: Wilson's for shares of people; for events per person a Poisson interval
        widened by the overdispersion seen between people.

    Returns
    -------
    FlagTrend

    Raises
    ------
    PlanError
        If `measure`, `per`, `interval` and `within` do not go together.
    DataError
        If the window holds no interval, or a name looks like a misspelling of one the log has.

    Notes
    -----
    The intervals are for reading one point at a time. A decision taken by watching the curve needs the
    always-valid evidence of `evaluate_stage`.
    """
    log, flag, plan = as_log(log), key_of(flag), None if plan is None else as_plan(plan)
    asked = locals().copy()  # the whole question, to be asked again of fewer people
    _require_sense(measure, per, within)
    from canarykit.exposure.compared import compared_units

    who, where = _people_of(people, where)
    counted = compared_units(log, flag, plan=plan, stage=stage, as_of=as_of, people=who)
    units, notes = counted.units, list(counted.notes)
    if stage is not None:
        assert plan is not None
        window = plan.window(stage)
        since, until = (b if a is None else a for a, b in zip((since, until), window, strict=True))
    if as_of is None and log.time_range[1] is None:
        raise DataError("the log holds no events, so there is nothing to follow over time")
    now = micros(log.time_range[1]) + 1 if as_of is None else micros(as_of, name="as_of")
    leave = now if stage is None or window[1] is None else min(now, micros(window[1]))
    exposed_us = column_micros(units["exposed_at"])
    unit = counted.unit_column
    first = int(exposed_us.min()) if len(units) else now
    begin = first if since is None else micros(since, name="since")
    end = now if until is None else min(now, micros(until, name="until"))
    grid = period_grid(begin, end, interval, timezone=timezone)
    seen = list(map(str, units["variant"]))
    variants = sorted(set(seen))  # pandas 2 takes names that differ behind a NUL for one
    numbers = {variant: number for number, variant in enumerate(variants)}
    cohort = Cohort(
        ids=units["person_id"].to_numpy(dtype=object),
        arm=np.fromiter((numbers[variant] for variant in seen), np.int64, len(seen)),
        exposed_us=exposed_us,
        edges=grid.edges,
        n_arms=len(variants),
        begin_us=begin,
        end_us=end,
        horizon_us=None if within is None else round(duration(within, name="within") * 1e6),
        leave_us=leave,
        compared=tuple(variants.index(arm) for arm in (counted.control, counted.canary) if arm in variants),
        unit_column=unit,
    )
    last = end if cohort.horizon_us is None else min(leave, end + cohort.horizon_us)
    bounds: dict[str, Any] = {"since": moment(min(begin, first)), "until": moment(last), "where": where}
    parts = log.reduce(
        [unit, "timestamp"], partial(count_shard, cohort=cohort), events=[event], actor=unit, **bounds
    )
    counts = sum(parts, np.zeros((5, len(variants), grid.n), dtype=np.int64))
    if not counts.any():
        notes += check_events(log, [event])
    if where:
        notes += check_properties(log, where)
    return FlagTrend(
        event,
        flag,
        measure,
        per,
        interval,
        _unit(measure, per, within),
        _rows(counts, cohort, grid, variants, measure, per, leave, confidence),
        confidence,
        tuple(notes),
        timezone,
        _followed(counts, cohort, variants, confidence),
        TrendSource(log, cohort, tuple(variants), bounds, partial(trend_by_flag, **asked), asked["people"]),
    )


def _people_of(people: Any, where: Any) -> tuple[Any, Any]:
    """Who is asked about, and the filter of events: what `where` says of persons says who."""
    require_kind("where", where, (Mapping, type(None)), "a mapping of properties to what they are")
    who = None if people is None else read_people(people)
    of_people = {
        name.removeprefix("person."): value
        for name, value in (where or {}).items()
        if name.startswith("person.")
    }
    if not of_people:
        return who, where
    of_events = {name: value for name, value in where.items() if not name.startswith("person.")}
    filters = FilterGroup(tuple(_person_filter(name, value) for name, value in of_people.items()))
    return replace(PeopleFilter() if who is None else who, of_question=filters), of_events


def _person_filter(name: str, value: Any) -> Filter | FilterGroup:
    """A filter that lets through what `log.reduce` does: a missing value, any value, or one of these."""
    if value is PRESENT:
        return Filter(name, None, "is_set", "person")
    values = tuple(value) if isinstance(value, list | tuple | set | frozenset) else (value,)
    texts = tuple(item for item in values if item is not None and item is not PRESENT)
    parts = [Filter(name, texts, "exact", "person")] if texts else []
    parts += [Filter(name, None, "is_not_set", "person")] if None in values else []
    parts += [Filter(name, None, "is_set", "person")] if PRESENT in values else []
    return parts[0] if len(parts) == 1 else FilterGroup(tuple(parts), "OR")


def _followed(
    counts: np.ndarray, cohort: Cohort, variants: list[str], confidence: float
) -> tuple[dict[str, Any], ...]:
    """Per variant, those followed for the whole time, and whom it happened to: the share of a guardrail."""
    from canarykit.stats.one_look.proportions import wilson

    if cohort.horizon_us is None:
        return ()
    people = np.bincount(cohort.arm[cohort.counted()], minlength=len(variants))
    rows = []
    for a, variant in enumerate(variants):
        users = int(counts[4, a].sum())
        share = wilson(users, int(people[a]), confidence=confidence)
        limits = (None, None, None) if share is None else (share.value, share.low, share.high)
        names = ("variant", "people", "users", "share", "low", "high")
        rows.append(dict(zip(names, (variant, int(people[a]), users, *limits), strict=True)))
    return tuple(rows)


def _rows(
    counts: np.ndarray,
    cohort: Cohort,
    grid: PeriodGrid,
    variants: list[str],
    measure: Measure,
    per: Per | None,
    leave_us: int,
    confidence: float,
) -> tuple[dict[str, Any], ...]:
    """A row for each interval and variant, from counts[what, variant, interval] and how many were exposed."""
    new = cohort.exposed()
    base = new[:, 1:] if per == "exposure cohort" else new.cumsum(axis=1)[:, 1:]
    horizon = cohort.horizon_us or 0
    rows = []
    for i, start in enumerate(grid.starts):
        incomplete = bool(
            grid.edges[i] < cohort.begin_us or grid.edges[i + 1] > min(cohort.end_us, leave_us - horizon)
        )
        for a, variant in enumerate(variants):
            events, users, squares = (int(v) for v in counts[:3, a, i])
            n = int(base[a, i])
            if measure == "share":
                users = int(counts[3, a, : i + 1].sum())
            value, low, high = _value(measure, per, events, users, squares, n, confidence)
            rows.append(
                {
                    "start": start,
                    "variant": variant,
                    "events": events,
                    "users": users,
                    "exposed": n,
                    "value": value,
                    "low": low,
                    "high": high,
                    "incomplete": incomplete,
                }
            )
    return tuple(rows)


def _value(
    measure: Measure, per: Per | None, events: int, users: int, squares: int, n: int, confidence: float
) -> tuple[float | None, float | None, float | None]:
    if per is None and measure != "share":
        return (events if measure == "events" else users), None, None
    if n == 0:
        return None, None, None
    if measure == "events":
        return rate_per_person(events, squares, n, confidence=confidence)
    from canarykit.stats.one_look.proportions import wilson

    share = wilson(users, n, confidence=confidence)
    return (None, None, None) if share is None else (share.value, share.low, share.high)


def _unit(measure: Measure, per: Per | None, within: Any) -> str:
    if measure == "share":
        return "share of exposed people so far"
    if per is None:
        return measure
    if per == "exposure cohort":
        what = "share of cohort" if measure == "users" else "events per person of the cohort"
        return f"{what} within {within}"
    return "share of exposed people" if measure == "users" else "events per exposed person"


def _require_sense(measure: str, per: str | None, within: Any) -> None:
    if measure not in _MEASURES:
        raise PlanError(f"measure {measure!r} does not exist; {did_you_mean(measure, _MEASURES)}")
    if per is not None and per not in _PERS:
        raise PlanError(f"per {per!r} does not exist; {did_you_mean(per, _PERS)}")
    if measure == "share" and per == "exposure cohort":
        raise PlanError("measure 'share' runs over calendar time; per 'exposure cohort' goes with 'users'")
    if (per == "exposure cohort") != (within is not None):
        raise PlanError("per 'exposure cohort' needs within=, e.g. within='7d', and nothing else takes it")
