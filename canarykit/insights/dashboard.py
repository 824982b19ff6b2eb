"""The picture to look at every morning of a beta: usage with and without the flag, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from canarykit.arguments import checked, names_of
from canarykit.display import Column, Note, Result, Table, format_value
from canarykit.errors import DataError, PlanError
from canarykit.events.log import as_log
from canarykit.events.names import check_events, check_survey
from canarykit.exposure.compared import followed_whole, whole_or_all
from canarykit.metrics.share import ErrorShare, FunnelShare, ShareMetric
from canarykit.metrics.unit_outcomes import outcomes
from canarykit.periods import column_micros, moment
from canarykit.plan.given import as_plan
from canarykit.times import check_zone, to_utc

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from canarykit.events import EventLog
    from canarykit.feedback import SurveyByFlag
    from canarykit.plan import RolloutPlan
    from canarykit.typing import Filters, Frame, Time

_COLUMNS = (
    Column("what", "what"),
    Column("variant", "variant"),
    Column("people", "exposed", "count"),
    Column("count", "with it", "count"),
    Column("share", "share", "share"),
    Column("low", "from", "share"),
    Column("high", "to", "share"),
)


@dataclass(frozen=True, repr=False, eq=False)
class Dashboard(Result):
    """Usage of one stage with and without the flag.

    Parameters
    ----------
    flag, stage, as_of
        What, where and when.
    rows
        One row per event (or funnel) and variant: exposed people, people with it, share with Wilson limits.
    daily
        One row per day, variant and event: people exposed so far, and people with their first one that day.
    survey
        Answers by variant, or None.
    kinds
        For each row's `what`: "error", "key event" or "funnel".
    exposed
        Exposed people by variant.
    """

    flag: str
    stage: str
    as_of: pd.Timestamp
    variants: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    daily: pd.DataFrame
    kinds: dict[str, str]
    survey: SurveyByFlag | None = None
    notes: tuple[Note, ...] = ()
    exposed: Mapping[str, int] = field(default_factory=dict)

    def _headline(self) -> str:
        words = ", ".join(f"{count:,} with {variant}" for variant, count in self.exposed.items())
        return f"{self.flag}, {self.stage}, as of {format_value(self.as_of, 'time')}: {words or 'no one yet'}"

    def _table(self) -> Table:
        return Table.of(_COLUMNS, self.rows)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Shares of people with each event by variant, with intervals; `figure` shows the whole board."""
        from canarykit.plots.dashboard import plot_shares

        return plot_shares(self, ax=ax)

    def figure(self) -> Figure:
        """One figure: exposed people, key events, errors, the funnel, and the survey."""
        from canarykit.plots.dashboard import draw_board

        return draw_board(self)


@checked
def dashboard(
    log: EventLog | Frame,
    plan: RolloutPlan,
    stage: str,
    *,
    as_of: Time,
    key_events: Sequence[str] = (),
    errors: Sequence[str] = ("$exception",),
    steps: Sequence[str] = (),
    within: str = "14d",
    survey: str | Mapping[str, Any] | None = None,
    timezone: str = "UTC",
    people: Filters = None,
) -> Dashboard:
    """Exposed people, key events, errors, a funnel and a survey of one stage, by variant.

    A picture and no judgement: in a targeted stage the people were chosen, and nothing here is tested. Of a
    percentage stage whoever has the flag by choice (owner, team, beta, enrolled) is set apart, with a note.

    Parameters
    ----------
    log, plan, stage
        As in `evaluate_stage`.
    as_of
        Later events are not looked at.
    key_events
        Events whose share of people is shown.
    errors
        Events that are errors.
    steps, within
        A funnel: all steps in order, the last within this time after the exposure. Its shares are of the
        people whose time is over, once there are any in both arms.
    survey
        Id of a survey, or its definition.
    timezone
        Zone in which times are shown; days are the 24 hours from the stage's start, in any zone.
    people
        Only these people: a filter of their properties (`{"plan": "pro"}`, or mappings in PostHog's words),
        or a list of ids.

    Returns
    -------
    Dashboard
    """
    from canarykit.exposure.compared import compared_units
    from canarykit.stats.one_look.proportions import wilson

    log, plan = as_log(log), as_plan(plan)
    key_events, errors = names_of(key_events, "key_events"), names_of(errors, "errors")
    steps = names_of(steps, "steps")
    check_zone(timezone)
    now = to_utc(as_of, name="as_of")
    start, end = plan.window(stage)
    if now <= start:
        raise PlanError(f"stage {stage!r} starts at {start.isoformat()}, after as_of {now.isoformat()}")
    stop = now if end is None else min(now, end)
    counted = compared_units(log, plan.flag, plan=plan, stage=stage, as_of=now, people=people)
    seen = set(counted.units["variant"])
    variants = tuple(v for v in (plan.control, plan.canary) if v in seen)
    metrics: dict[str, tuple[str, ShareMetric]] = {
        name: ("key event", ErrorShare(name)) for name in key_events
    }
    metrics |= {name: ("error", ErrorShare(name)) for name in errors}
    for k in range(1, len(steps) + 1):
        chain = FunnelShare(tuple(steps[:k]), within=within)
        metrics[" > ".join(steps[:k])] = ("funnel", chain)
    units = counted.units[counted.units["variant"].isin(variants)].reset_index(drop=True)
    units = units.assign(
        canary=(units["variant"] == plan.canary).to_numpy(bool), entered_at=units["exposed_at"]
    )
    result = outcomes(log, [metric for _, metric in metrics.values()], units, actor=counted.unit_column)
    rows: list[tuple[Any, ...]] = []
    daily = []
    days = _days(start, stop)
    entered, leaves = (column_micros(units[name]) for name in ("entered_at", "leaves_at"))
    over = {
        metric.window[1]: followed_whole(entered, leaves, metric.window[1]) for _, metric in metrics.values()
    }
    canary = (units["variant"] == plan.canary).to_numpy(bool)
    over = {window: whole_or_all(whole, canary, ~canary) for window, whole in over.items()}
    waiting = sum(int((~whole).sum()) for whole in over.values())
    for variant in variants:
        arm = (units["variant"] == variant).to_numpy(bool)
        exposed = [int((entered[arm] < day_end).sum()) for _, day_end in days]
        for i, (what, (_, metric)) in enumerate(metrics.items()):
            first = result.first[i]
            assert first is not None
            whole = arm & over[metric.window[1]]
            x, n = int((first[whole] >= 0).sum()), int(whole.sum())
            share = wilson(x, n)
            limits = (None, None, None) if share is None else (share.value, share.low, share.high)
            rows.append((what, variant, n, x, *limits))
            for (day, day_end), so_far in zip(days, exposed, strict=True):
                new = int(((first[arm] >= day) & (first[arm] < day_end)).sum())
                daily.append((moment(day).tz_convert(timezone), variant, what, so_far, new))
    answers = None
    silent: tuple[Note, ...] = ()
    if survey is not None:
        from canarykit.feedback import survey_by_flag

        try:
            answers = survey_by_flag(
                log, survey, flag=plan.flag, plan=plan, stage=stage, as_of=now, people=people
            )
        except DataError as problem:  # on the first mornings nobody has been asked yet
            if isinstance(survey, str):
                check_survey(log, survey)
            silent = (Note("no_survey", f"nobody was asked in this stage: {problem}"),)
    frame = pd.DataFrame(daily, columns=["day", "variant", "what", "exposed", "people"])
    kinds = {what: kind for what, (kind, _) in metrics.items()}
    order = {what: rank for rank, what in enumerate(metrics)}
    rows.sort(key=lambda row: (order[row[0]], variants.index(row[1])))
    notes = [*counted.notes, *check_events(log, [*key_events, *errors, *steps]), *silent]
    if waiting:
        text = f"{counted.words} whose {within} since the exposure is not over are not in the funnel yet"
        notes.append(Note("not_whole", text, waiting))
    return Dashboard(
        plan.flag,
        stage,
        now.tz_convert(timezone),
        variants,
        tuple(rows),
        frame,
        kinds,
        answers,
        tuple(notes),
        {variant: counted.count(variant) for variant in variants},
    )


def _days(start: pd.Timestamp, stop: pd.Timestamp) -> list[tuple[int, int]]:
    """24-hour days from the stage's start, in microseconds; the last one may be shorter."""
    first, last = int(start.value // 1000), int(stop.value // 1000)
    starts = np.arange(first, last, 86_400_000_000, dtype=np.int64)
    return [(int(day), min(int(day) + 86_400_000_000, last)) for day in starts]
