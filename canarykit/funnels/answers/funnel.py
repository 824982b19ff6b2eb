"""A finished funnel: what it prints, and everything one asks next.

Steps are named or counted from 1, as in the picture: `people(step=2)` are those who did the second step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

import numpy as np

from canarykit.arguments import checked
from canarykit.display import Column, Note, Result, Table, format_value
from canarykit.errors import PlanError, did_you_mean
from canarykit.funnels.answers.labels import blank_name, label_text
from canarykit.funnels.answers.numbers import step_table
from canarykit.funnels.answers.times import ConversionTimes, FunnelTrend
from canarykit.funnels.engine.runs import FunnelRun, Label
from canarykit.funnels.question.specs import FunnelQuery, TrendSpec
from canarykit.stats.one_look.proportions import wilson

if TYPE_CHECKING:
    from types import EllipsisType

    import pandas as pd
    from matplotlib.axes import Axes

    from canarykit.events import EventLog
    from canarykit.exposure.lookup import Exposed
    from canarykit.funnels.answers.compare import FunnelComparison
    from canarykit.funnels.answers.correlate import FunnelCorrelations
    from canarykit.funnels.answers.people import FunnelPeople
    from canarykit.messages import Style
    from canarykit.typing import Time
    from canarykit.widgets.view import View


@dataclass(frozen=True, repr=False, eq=False)
class Funnel(Result):
    """Where people fall out, by breakdown value.

    Attributes
    ----------
    query
        The question, every setting.
    start
        What shares are of: "exposure" (attribution by exposure) or "first step".
    rows
        One mapping per breakdown value and step: `variant`, `step` (from 1), `name`, `people` (at the
        start), `count` (people who did the step), `share` of the people at the start with Wilson's `low`
        and `high`, `from_previous` with `previous_low` and `previous_high` (from the last required step
        before), `dropped` (people lost since then), `average_seconds` and `median_seconds` from the required
        step before (None for an optional step), gaps of exactly zero left out as PostHog does.
    total_median_seconds
        From the first step to the last, over those who did all, all breakdown values pooled.
    confidence
        Of the intervals.
    """

    query: FunnelQuery
    start: Literal["exposure", "first step"]
    rows: tuple[Mapping[str, Any], ...]
    total_median_seconds: float | None
    confidence: float = 0.95
    notes: tuple[Note, ...] = ()
    _run: FunnelRun | None = field(default=None)
    _log: EventLog | None = field(default=None)
    _exposed: Exposed | None = field(default=None)
    _of_segment: Callable[[str, str], Funnel] | None = field(default=None)

    @classmethod
    def from_run(
        cls,
        query: FunnelQuery,
        run: FunnelRun,
        log: EventLog | None = None,
        *,
        exposed: Exposed | None = None,
        confidence: float = 0.95,
        notes: tuple[Note, ...] = (),
    ) -> Funnel:
        """The numbers of an engine run; the log (and who was exposed) stay at hand for what one asks next."""
        table = step_table(run, query)
        names = query.step_labels
        rows = []
        for i, label in enumerate(run.labels):
            counts = table.counts[i].tolist()
            people = counts[0] if run.exposed is None else int(run.exposed[i])
            average = query.own_gaps(table.average_seconds[i])
            median = query.own_gaps(table.median_seconds[i])
            for k, name in enumerate(names):
                before = counts[query.last_required_before(k)] if k else people
                share = wilson(counts[k], people, confidence=confidence)
                if k == 0 and run.exposed is None and share is not None:
                    share = replace(share, low=1.0, high=1.0)  # the first step is everybody, by definition
                # an optional step left out can make the next step more frequent than it
                step = wilson(counts[k], before, confidence=confidence) if counts[k] <= before else None
                rows.append(
                    {
                        "variant": label,
                        "step": k + 1,
                        "name": name,
                        "people": people,
                        "count": counts[k],
                        **_spread("share", "low", "high", share),
                        **_spread("from_previous", "previous_low", "previous_high", step),
                        "dropped": before - counts[k],
                        "average_seconds": _number(average[k]),
                        "median_seconds": _number(median[k]),
                    }
                )
        start: Literal["exposure", "first step"] = "first step" if run.exposed is None else "exposure"
        all_notes = tuple(dict.fromkeys((*run.notes, *(() if exposed is None else exposed.notes), *notes)))
        return cls(
            query, start, tuple(rows), table.total_median_seconds, confidence, all_notes, run, log, exposed
        )

    # ---- what it says ------------------------------------------------------------------------------------

    @property
    def variants(self) -> tuple[Label, ...]:
        """The breakdown values in the order of the chart; `(None,)` without breakdown."""
        return tuple(self._by_variant)

    @cached_property
    def _by_variant(self) -> dict[Label, list[Mapping[str, Any]]]:
        rows: dict[Label, list[Mapping[str, Any]]] = {}
        for row in self.rows:
            rows.setdefault(row["variant"], []).append(row)
        return rows

    @property
    def rest(self) -> Label:
        """What the values beyond the limit are summed as; None where nothing is summed."""
        run = self._run
        return None if run is None or run.other is None else run.labels[run.other]

    @property
    def steps(self) -> tuple[str, ...]:
        """Names of the steps."""
        return self.query.step_labels

    @property
    def counts(self) -> dict[Label, list[int]]:
        """People who did each step, per breakdown value."""
        return {variant: [row["count"] for row in self.rows_of(variant)] for variant in self.variants}

    def rows_of(self, variant: Label) -> list[Mapping[str, Any]]:
        """The rows of one breakdown value, in the order of the steps."""
        return list(self._by_variant.get(variant, ()))

    def finding(self, *, counts: bool = True) -> str:
        """What the picture shows, in one line: who got to the end."""
        if not self.rows:
            return f"Nobody entered the funnel from {self.steps[0]} to {self.steps[-1]}"
        ends = [row for row in self.rows if row["step"] == len(self.steps) and row["share"] is not None]
        parts = [
            f"{format_value(row['share'], 'share')} of {self.variant_name(row['variant'])}"
            + (f" ({row['count']:,} of {row['people']:,})" if counts else "")
            for row in ends[:4]
        ]
        more = f" and {len(ends) - 4} more" if len(ends) > 4 else ""
        by = f" by {self.breakdown_name}" if self.breakdown_name else ""
        return f"From {self.start} to {self.steps[-1]}{by}: {', '.join(parts) or 'nobody'}{more}"

    def summary(self, *, style: Style = "text") -> str:
        """The funnel as a message one can send, as "text", "markdown", for "slack", or as "html"."""
        from canarykit.funnels.answers.summary import funnel_message

        return funnel_message(self).render(style)

    def describe_rules(self) -> str:
        """Order, window, attribution and dates in a few words."""
        window = format_value(self.query.window_us / 1e6, "seconds")
        of_exposure = " of the exposure" if self._exposed is not None and self._exposed.whole else ""
        parts = [self.query.order, f"within {window}{of_exposure}"]
        breakdown = self.query.breakdown
        if breakdown is not None:
            mode = breakdown.attribution
            by = f"step {breakdown.attribution_step + 1}" if mode == "step" else mode.replace("_", " ")
            parts.append(f"variant by {by}" if self.query.flag is not None else by)
        if self.query.date_from is not None:
            parts.append(f"from {self._local(self.query.date_from)}")
        if self.query.date_to is not None:  # the last microsecond before a full minute reads as that minute
            parts.append(f"to {self._local(self.query.date_to + timedelta(microseconds=1))}")
        return ", ".join(parts)

    def _local(self, moment: datetime) -> str:
        return format_value(moment.astimezone(ZoneInfo(self.query.timezone)), "time")

    @property
    def breakdown_name(self) -> str | None:
        """What the funnel is broken down by: the flag, or the properties."""
        if self.query.flag is not None:
            return self.query.flag
        return None if self.query.breakdown is None else ", ".join(self.query.breakdown.properties)

    def variant_name(self, variant: Label) -> str:
        """How a breakdown value is printed."""
        return label_text(variant, blank_name(self.query))

    def _headline(self) -> str:
        return self.finding()

    def _small_print(self) -> Sequence[Any]:
        return (f"counted {self.describe_rules()}", *self.notes)

    def _table(self) -> Table:
        columns = [
            Column("variant", self.breakdown_name or "people"),
            Column("step", "step", "count"),
            Column("name", "name"),
            Column("count", "people", "count"),
            Column("share", f"from {self.start}", "share"),
            Column("low", "low", "share"),
            Column("high", "high", "share"),
            Column("from_previous", "from step before", "share"),
            Column("average_seconds", "average time", "seconds"),
            Column("median_seconds", "median time", "seconds"),
        ]
        return Table.of(columns, [{**row, "variant": self.variant_name(row["variant"])} for row in self.rows])

    def _extra_json(self) -> dict[str, Any]:
        return {
            "start": self.start,
            "confidence": self.confidence,
            "total_median_seconds": self.total_median_seconds,
            "rules": self.describe_rules(),
            "steps": list(self.steps),
        }

    def to_frame(self) -> pd.DataFrame:
        """Every row with all its fields: fractions, counts and seconds."""
        import pandas as pd

        return pd.DataFrame([{**row, "variant": self.variant_name(row["variant"])} for row in self.rows])

    def to_posthog(self) -> list[Any]:
        """The result in the shape of PostHog's API: a list of steps, or with a breakdown a list of lists.

        Nobody entered is `[]`. With several properties `breakdown_value` is a list, with one a list of one
        unless it is a group property, which is a plain string there.
        """
        from canarykit.funnels.answers.posthog_shape import posthog_rows

        return posthog_rows(self)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Bars by variant with interval whiskers and people on the bars."""
        from canarykit.plots.funnel import draw_funnel

        return draw_funnel(self, ax=ax)

    # ---- what one asks next ------------------------------------------------------------------------------

    @checked
    def people(
        self,
        step: int | str,
        *,
        dropped: bool = False,
        variant: Label | EllipsisType = ...,
        limit: int | None = None,
        host: str | None = None,
        project_id: int | str | None = None,
    ) -> FunnelPeople:
        """The people behind a bar, with their events and session ids.

        Parameters
        ----------
        step
            Name of a step, or its number counted from 1.
        dropped
            Those who did the last required step before it and not this one, instead of those who did it.
        variant
            Only this breakdown value; left out, all of them.
        limit
            At most so many people.
        host, project_id
            Where your recordings are: with a host each session becomes a replay URL.
        """
        from canarykit.funnels.answers.people import list_people

        return list_people(
            self, self.step_index(step), dropped=dropped, variant=variant, limit=limit, host=host,
            project_id=project_id,
        )  # fmt: skip

    def explore(
        self,
        *,
        segment: str | None = None,
        host: str | None = None,
        project_id: int | str | None = None,
    ) -> View:
        """The funnel as a picture one can click: each part leads to its people and their recordings.

        Parameters
        ----------
        segment
            A property of people by whose values the picture can be narrowed, as a filter of
            `funnel_by_flag` does.
        host, project_id
            As for `people`, which lists the same people without a widget.

        Raises
        ------
        ImportError
            Without the parts for notebooks (`canarykit[lab]`).
        """
        from canarykit.widgets.views import explore_funnel

        return explore_funnel(self, segment=segment, host=host, project_id=project_id)

    @checked
    def time_to_convert(
        self, from_step: int | str | None = None, to_step: int | str | None = None, bins: int | None = None
    ) -> ConversionTimes:
        """Time from one step to another (the first and the last unless named), with PostHog's bins.

        Parameters
        ----------
        from_step, to_step
            Names of steps, or numbers counted from 1.
        bins
            Number of bins, 1 to 90; by default the cube root of the number of people, at most 60.
        """
        return ConversionTimes.from_run(
            self._need_run(),
            self.query,
            from_step=None if from_step is None else self.step_index(from_step),
            to_step=None if to_step is None else self.step_index(to_step),
            bins=bins,
            confidence=self.confidence,
        )

    def trend(
        self,
        interval: Literal["hour", "day", "week", "month"] = "day",
        *,
        from_step: int | str | None = None,
        to_step: int | str | None = None,
        week_start: Literal["sunday", "monday"] = "sunday",
        hide_incomplete: bool = False,
        as_of: Time | None = None,
    ) -> FunnelTrend:
        """Conversion by the period in which people did the first step, by PostHog's rules for trends.

        Parameters
        ----------
        interval
            "hour", "day", "week" or "month" in the funnel's time zone.
        from_step, to_step
            Names of steps, or numbers counted from 1; the first and the last unless named.
        week_start
            First day of a week.
        hide_incomplete
            Leave out periods whose conversion window is still open.
        as_of
            "Now"; the time of the last event unless given.
        """
        from canarykit.funnels.run_trend import run_trend
        from canarykit.times import to_utc

        start = 0 if from_step is None else self.step_index(from_step)
        end = len(self.steps) - 1 if to_step is None else self.step_index(to_step)
        now = None if as_of is None else to_utc(as_of, name="as_of").to_pydatetime()
        spec = TrendSpec(interval, start, end, week_start, hide_incomplete, now)
        run = run_trend(self._need_log("trend"), self.query, spec, exposed=self._exposed)
        return FunnelTrend.from_run(
            run,
            from_name=self.steps[start],
            to_name=self.steps[end],
            interval=interval,
            confidence=self.confidence,
            blank=blank_name(self.query),
            timezone=self.query.timezone,
        )

    @checked
    def correlates(
        self,
        kind: Literal["events", "properties", "event properties"] = "events",
        *,
        variant: Label | EllipsisType = ...,
        names: tuple[str, ...] = (),
        exclude: tuple[str, ...] = (),
    ) -> FunnelCorrelations:
        """What those who converted did, or are, that the others did not.

        Parameters
        ----------
        kind
            "events" between the first step and the end of the attempt, "properties" of the people, or
            "event properties" (the properties of the events `names`).
        variant
            Only this breakdown value; left out, everybody.
        names
            The person properties, or the events, to look at; none means all ("event properties" needs
            some).
        exclude
            Names to leave out.
        """
        from canarykit.funnels.answers.correlate import correlate

        return correlate(self, kind, variant=variant, names=names, exclude=exclude)

    def compare(
        self, baseline: str | None = None, *, confidence: float | None = None, planned_people: int = 5000
    ) -> FunnelComparison:
        """Every variant against the baseline: difference and ratio of reaching each step from the start.

        Parameters
        ----------
        baseline
            The variant to compare with; by default the one called "control" or "false".
        confidence
            Of every interval; that of the funnel unless given.
        planned_people
            People of both arms together at which the always-valid interval is to be tightest.

        Notes
        -----
        With `attribution="exposure"` the start is the first exposure to the flag, which chance decided;
        that is the comparison for a release decision.
        """
        from canarykit.funnels.answers.compare import compare_variants

        return compare_variants(self, baseline, confidence=confidence, planned_people=planned_people)

    def step_index(self, step: int | str) -> int:
        """0-based position of a step given by its name or by its number counted from 1."""
        if isinstance(step, str):
            places = [k for k, name in enumerate(self.steps) if name == step]
            if not places:
                raise PlanError(f"the funnel has no step {step!r}; {did_you_mean(step, self.steps)}")
            if len(places) > 1:
                numbers = " and ".join(str(k + 1) for k in places)
                raise PlanError(f"steps {numbers} are both called {step!r}; give the number")
            return places[0]
        number = int(step) if isinstance(step, int | np.integer) and not isinstance(step, bool) else 0
        if not 1 <= number <= len(self.steps):
            raise PlanError(f"step is {step!r}; expected a name, or a number from 1 to {len(self.steps)}")
        return number - 1

    def _need_run(self) -> FunnelRun:
        if self._run is None:
            raise PlanError("this funnel was read back without its people; run funnel_by_flag again")
        return self._run

    def _need_log(self, what: str) -> EventLog:
        if self._log is None:
            raise PlanError(f"{what} reads the events again, and this funnel was made without its log")
        return self._log


def _spread(value: str, low: str, high: str, estimate: Any) -> dict[str, float | None]:
    if estimate is None:
        return {value: None, low: None, high: None}
    return {value: estimate.value, low: estimate.low, high: estimate.high}


def _number(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)
