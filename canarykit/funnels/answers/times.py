"""How long people took from one step to another, and how conversion moved over time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.counting import counted
from canarykit.display import Column, Note, Result, Table, format_value
from canarykit.funnels.answers.labels import blank_name, label_text
from canarykit.funnels.engine.runs import FunnelRun, Label, TrendRun
from canarykit.funnels.question.specs import FunnelQuery
from canarykit.periods import moment
from canarykit.stats.one_look.proportions import wilson

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CURVE_POINTS = 200


@dataclass(frozen=True, repr=False, eq=False)
class ConversionTimes(Result):
    """Time from one step to another, of the people who did both.

    Attributes
    ----------
    from_name, to_name
        The two steps.
    rows
        PostHog's bins: `start_seconds`, `end_seconds`, `count`, all breakdown values pooled. There is one
        bin more than asked for, in which the longest time can fall.
    average_seconds, median_seconds
        Over everybody who did both steps; None when nobody did.
    by_variant
        One mapping per breakdown value: `variant`, `entered` (people at `from_name`), `converted`,
        `average_seconds`, `median_seconds`.
    confidence
        Of the bands of the curves.
    """

    from_name: str
    to_name: str
    rows: tuple[Mapping[str, Any], ...]
    average_seconds: float | None
    median_seconds: float | None
    by_variant: tuple[Mapping[str, Any], ...]
    confidence: float = 0.95
    notes: tuple[Note, ...] = ()
    blank: str = "(missing)"
    _samples: Mapping[Label, np.ndarray] = field(default_factory=dict)

    @classmethod
    def from_run(
        cls,
        run: FunnelRun,
        query: FunnelQuery,
        *,
        from_step: int | None = None,
        to_step: int | None = None,
        bins: int | None = None,
        confidence: float = 0.95,
    ) -> ConversionTimes:
        """Bins and times of one engine run; steps are 0-based here, None is the first and the last."""
        from canarykit.funnels.answers.numbers import time_to_convert

        start = 0 if from_step is None else from_step
        end = query.n_steps - 1 if to_step is None else to_step
        times = time_to_convert(run, query, from_step, to_step, bins)
        rows = [
            {"start_seconds": int(at), "end_seconds": int(at) + times.bin_width, "count": int(n)}
            for at, n in zip(times.bin_starts, times.bin_counts, strict=True)
        ]
        entered = np.bincount(run.value[run.reached >= start], minlength=len(run.labels))
        samples = {label: np.sort(times.samples[times.value == i]) for i, label in enumerate(run.labels)}
        by_variant = [
            {
                "variant": label,
                "entered": int(entered[i]),
                "converted": len(samples[label]),
                "average_seconds": float(samples[label].mean()) if len(samples[label]) else None,
                "median_seconds": float(np.median(samples[label])) if len(samples[label]) else None,
            }
            for i, label in enumerate(run.labels)
        ]
        names = query.step_labels
        return cls(
            names[start],
            names[end],
            tuple(rows),
            times.average_seconds,
            times.median_seconds,
            tuple(by_variant),
            confidence,
            (),
            blank_name(query),
            samples,
        )

    @property
    def variants(self) -> tuple[Label, ...]:
        """The breakdown values, in the order of the chart."""
        return tuple(row["variant"] for row in self.by_variant)

    def most_seconds(self, share: float) -> float:
        """The time within which `share` of all who did both steps did them; 0 when nobody did."""
        pooled = np.concatenate([np.zeros(0), *self._samples.values()])
        return float(np.quantile(pooled, share)) if len(pooled) else 0.0

    def curve(self, variant: Label) -> list[dict[str, float]]:
        """Share of the variant's people at the first of the two steps who had done the second by then.

        Returns
        -------
        list of dict
            At most 200 points: `seconds`, `share`, and Wilson's `low` and `high` at each point.
        """
        times = self._samples[variant]
        entered = next(row["entered"] for row in self.by_variant if row["variant"] == variant)
        if not len(times):
            return []
        picked = np.unique(np.linspace(0, len(times) - 1, MOST_CURVE_POINTS).round().astype(np.int64))
        picked = np.searchsorted(times, times[picked], side="right")  # people done by then, ties in
        points = []
        for done in np.unique(picked).tolist():
            share = wilson(done, max(entered, done), confidence=self.confidence)
            assert share is not None  # somebody is done, so somebody entered
            points.append(
                {
                    "seconds": float(times[done - 1]),
                    "share": share.value,
                    "low": share.low,
                    "high": share.high,
                }
            )
        return points

    def finding(self) -> str:
        """What the picture shows, in one line."""
        if self.median_seconds is None:
            return f"Nobody went from {self.from_name} to {self.to_name}"
        medians = [
            f"{format_value(row['median_seconds'], 'seconds')} ({label_text(row['variant'], self.blank)}, "
            f"{counted(row['converted'], 'people')})"
            for row in self.by_variant
            if row["converted"]
        ]
        return f"From {self.from_name} to {self.to_name}, half of those who convert take " + ", ".join(
            medians
        )

    def _headline(self) -> str:
        return self.finding()

    def _table(self) -> Table:
        columns = (
            Column("start_seconds", "from", "seconds"),
            Column("end_seconds", "to", "seconds"),
            Column("count", "people", "count"),
        )
        return Table.of(columns, self.rows)

    def _extra_json(self) -> dict[str, Any]:
        names = ("from_name", "to_name", "average_seconds", "median_seconds", "by_variant", "confidence")
        return {name: getattr(self, name) for name in names}

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """One curve a variant: the share who had converted by then, with its interval."""
        from canarykit.plots.funnel import draw_conversion_times

        return draw_conversion_times(self, ax=ax)


@dataclass(frozen=True, repr=False, eq=False)
class FunnelTrend(Result):
    """Conversion by the period in which people started.

    Attributes
    ----------
    from_name, to_name, interval
        What was followed, by what.
    rows
        One mapping per period and breakdown value: `start` (in `timezone`), `variant`, `entered`, `reached`,
        `share` with Wilson's `low` and `high` (None when nobody entered), `incomplete` (the period or
        its conversion window was still open when the data ends).
    confidence
        Of the intervals.
    timezone
        The funnel's zone, in which periods begin and times are shown.
    """

    from_name: str
    to_name: str
    interval: str
    rows: tuple[Mapping[str, Any], ...]
    confidence: float = 0.95
    notes: tuple[Note, ...] = ()
    blank: str = "(missing)"
    timezone: str = "UTC"

    @classmethod
    def from_run(
        cls,
        run: TrendRun,
        *,
        from_name: str,
        to_name: str,
        interval: str,
        confidence: float = 0.95,
        blank: str = "(missing)",
        timezone: str = "UTC",
    ) -> FunnelTrend:
        """The shares of one engine run."""
        rows = []
        for j, start in enumerate(run.periods.tolist()):
            for i, label in enumerate(run.labels):
                entered, reached = int(run.entered[i, j]), int(run.reached[i, j])
                share = wilson(reached, entered, confidence=confidence)
                rows.append(
                    {
                        "start": moment(start).tz_convert(timezone),
                        "variant": label,
                        "entered": entered,
                        "reached": reached,
                        "share": None if share is None else share.value,
                        "low": None if share is None else share.low,
                        "high": None if share is None else share.high,
                        "incomplete": bool(run.incomplete[j]),
                    }
                )
        return cls(from_name, to_name, interval, tuple(rows), confidence, run.notes, blank, timezone)

    @property
    def variants(self) -> tuple[Label, ...]:
        """The breakdown values, most entered first."""
        return tuple(dict.fromkeys(row["variant"] for row in self.rows))

    def finding(self) -> str:
        """What the picture shows, in one line."""
        parts = []
        for variant in self.variants:
            mine = [row for row in self.rows if row["variant"] == variant]
            entered, reached = (sum(row[key] for row in mine) for key in ("entered", "reached"))
            if entered:
                name = label_text(variant, self.blank)
                parts.append(f"{format_value(reached / entered, 'share')} of {name} ({entered:,})")
        return f"From {self.from_name} to {self.to_name} by {self.interval}: " + (
            ", ".join(parts) or "nobody"
        )

    def _headline(self) -> str:
        return self.finding()

    def _table(self) -> Table:
        columns = (
            Column("start", f"{self.interval} from", "time"),
            Column("variant", "variant"),
            Column("entered", "entered", "count"),
            Column("reached", "reached", "count"),
            Column("share", "share", "share"),
            Column("low", "low", "share"),
            Column("high", "high", "share"),
            Column("incomplete", "incomplete"),
        )
        return Table.of(
            columns, [{**row, "variant": label_text(row["variant"], self.blank)} for row in self.rows]
        )

    def _extra_json(self) -> dict[str, Any]:
        return {
            name: getattr(self, name)
            for name in ("from_name", "to_name", "interval", "confidence", "timezone")
        }

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """One line a variant with its interval; incomplete periods hollow and dashed."""
        from canarykit.plots.trends import draw_funnel_trend

        return draw_funnel_trend(self, ax=ax)
