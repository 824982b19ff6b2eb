"""What a result looks like as bars, and who stands behind each part: a funnel's steps, a trend, a plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from canarykit.counting import counted
from canarykit.display import format_value
from canarykit.errors import DataError, PlanError, did_you_mean
from canarykit.widgets.explorer import Explorer
from canarykit.widgets.picture import Bar, Part, Picture, Segments

if TYPE_CHECKING:
    import pandas as pd

    from canarykit.display import Result
    from canarykit.events import EventLog
    from canarykit.funnels.answers.funnel import Funnel
    from canarykit.insights.trend import FlagTrend
    from canarykit.plan import RolloutPlan
    from canarykit.typing import Time
    from canarykit.widgets.view import View

MOST_SEGMENTS = 20


def explore_funnel(
    funnel: Funnel, *, segment: str | None, host: str | None, project_id: int | str | None
) -> View:
    """A bar per step and breakdown value: who reached the step, and who was lost before it."""

    def picture(one: Funnel) -> Picture:
        return _funnel_picture(one, host=host, project_id=project_id)

    if segment is None:
        return Explorer(picture(funnel))
    log, narrow = funnel._log, funnel._of_segment
    if log is None or narrow is None:
        raise PlanError("this funnel was read back without its log; run funnel_by_flag again")
    return Explorer(picture(funnel), _segments(log, segment, lambda value: picture(narrow(segment, value))))


def _funnel_picture(funnel: Funnel, *, host: str | None, project_id: int | str | None) -> Picture:
    bars, behind = [], {}
    for variant in funnel.variants:
        name = funnel.variant_name(variant)
        for row in funnel.rows_of(variant):
            entered = row["people"] or 1
            reached = f"{name}/{row['step']}/reached"
            said = f"{format_value(row['share'], 'share')} ({row['count']:,})"
            label, width = f"{row['name']}: reached", row["count"] / entered
            parts = [Part(reached, label, said, width, tone(name))]
            behind[reached] = (row["step"], False, variant)
            if row["step"] > 1 and row["dropped"] > 0:
                lost = f"{name}/{row['step']}/lost"
                label, width = f"{row['name']}: lost before", row["dropped"] / entered
                parts.append(Part(lost, label, f"{row['dropped']:,} lost", width, "lost"))
                behind[lost] = (row["step"], True, variant)
            bars.append(Bar(f"{row['step']}. {row['name']}", name, name, tuple(parts)))

    def people(part: str) -> Result:
        step, dropped, variant = behind[part]
        return funnel.people(step, dropped=dropped, variant=variant, host=host, project_id=project_id)

    return Picture(funnel, tuple(bars), people, f"Shares are of people at the {funnel.start}.")


def explore_trend(
    trend: FlagTrend, *, segment: str | None, host: str | None, project_id: int | str | None
) -> View:
    """A bar per interval and variant: to how many it happened."""
    source = trend._source
    if source is None:
        raise PlanError("this trend was read back without its log; run trend_by_flag again")

    def picture(one: FlagTrend) -> Picture:
        return _trend_picture(one, host=host, project_id=project_id)

    if segment is None:
        return Explorer(picture(trend))
    return Explorer(
        picture(trend), _segments(source.log, segment, lambda value: picture(source.ask_of(segment, value)))
    )


def _trend_picture(trend: FlagTrend, *, host: str | None, project_id: int | str | None) -> Picture:
    most = max((row["value"] or 0 for row in trend.rows), default=0) or 1
    kind: Any = "share" if trend.is_share else ("count" if trend.per is None else "number")
    bars, behind = [], {}
    for variant in trend.variants:
        for row in trend.rows:
            if row["variant"] != variant:
                continue
            when = format_value(row["start"], "time")
            part = f"{variant}/{when}"
            said = f"{format_value(row['value'], kind)} ({counted(row['users'], 'people')})"
            label = f"{trend.interval} from {when}" + (", not complete" if row["incomplete"] else "")
            width = (row["value"] or 0) / most
            bars.append(Bar(label, variant, variant, (Part(part, label, said, width, tone(variant)),)))
            behind[part] = (row["start"], variant)

    def people(part: str) -> Result:
        start, variant = behind[part]
        return trend.people(start, variant=variant, host=host, project_id=project_id)

    return Picture(trend, tuple(bars), people, f"Bars are {trend.unit}, on one scale.")


def explore_plan(plan: RolloutPlan, log: EventLog, *, segment: str | None, as_of: Time | None) -> View:
    """A bar per stage and variant: who was exposed in it."""
    from canarykit import exposures  # by its public name: a plan stands above what is found of it

    if not plan.has_windows:
        raise PlanError(
            f"the plan for {plan.flag!r} does not say when its stages were: with_windows={{stage: start}}"
        )

    def picture(value: str | None = None) -> Picture:
        people = None if value is None else {str(segment): value}
        seen = exposures(log, plan.flag, plan=plan, as_of=as_of, people=people)
        rows = seen.by_stage
        counts = rows.groupby(["stage", "variant"]).size().to_dict() if len(rows) else {}
        most, bars, behind = max(counts.values(), default=1), [], {}
        for stage in seen.stages:
            start, end = plan.window(stage)
            closed = "open" if end is None else format_value(end, "time")
            heading = f"{stage}, {format_value(start, 'time')} to {closed}"
            for variant in seen.variants:
                count = int(counts.get((stage, variant), 0))
                part = f"{stage}/{variant}"
                one = Part(part, f"{stage}, {variant}", f"{count:,}", count / most, tone(variant))
                bars.append(Bar(variant, heading, variant, (one,)))
                behind[part] = (stage, variant)

        def exposed(part: str) -> pd.DataFrame:
            stage, variant = behind[part]
            rows = seen.of_stage(stage)
            return rows[rows["variant"] == variant].reset_index(drop=True)

        return Picture(seen, tuple(bars), exposed, "Bars are people first exposed in the stage, by variant.")

    if segment is None:
        return Explorer(picture())
    return Explorer(picture(), _segments(log, segment, picture))


def _segments(log: EventLog, name: str, picture_of: Callable[[str], Picture]) -> Segments:
    """The values that people of the log have, most frequent first."""
    persons = log.persons
    names = () if persons is None else tuple(map(str, persons.columns))
    if persons is None or name not in names:
        hint = did_you_mean(name, names) if names else "the log was read without persons="
        raise DataError(f"segment is {name!r}, not a property of people; {hint}")
    counts = persons[name].dropna().astype(str).value_counts()
    values = sorted(counts.index, key=lambda value: (-counts[value], value))[:MOST_SEGMENTS]
    return Segments(name, tuple(values), picture_of)


def tone(name: str) -> str:
    """Whose colour a variant has."""
    if name in ("false", "control"):
        return "control"
    return "canary" if name in ("true", "test", "canary") else "other"
