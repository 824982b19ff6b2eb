"""Metrics reduced where the data are: one pass over the events, one small row per person and metric back.

`outcomes` asks the log's engine for the narrow columns the metrics need; within each shard of people DuckDB
joins them to the units (who, which arm, from when to when) and keeps the first event or the sums of each.
Events never become Python objects, and every engine runs the same statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from canarykit.arguments import checked
from canarykit.errors import DataError, did_you_mean, what_is
from canarykit.events.log import as_log
from canarykit.metrics.risk import IntervalCounts, RiskSets, interval_counts, risk_sets
from canarykit.metrics.share import ShareMetric
from canarykit.metrics.sql import shard_outcomes
from canarykit.metrics.values import Metric, Quantile
from canarykit.periods import column_micros, moment
from canarykit.times import duration

if TYPE_CHECKING:
    import pandas as pd

    from canarykit.events import EventLog
    from canarykit.stats.one_look.survival import WaitingTimes
    from canarykit.typing import Frame

_UNIT_COLUMNS = ("person_id", "canary", "entered_at", "leaves_at")


@dataclass(frozen=True, eq=False)
class Before:
    """What each unit did before it was ever exposed, by the same metric.

    Parameters
    ----------
    sums, weights
        The sum per unit, and the number of events (or the denominator) behind it; 0 where there was none. Of
        a share metric both are 1 where the unit had the event.
    """

    sums: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Numbers:
    """Every number that counts for a quantile, by unit and size."""

    # position of the unit of each number, and the number
    unit: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]

    @classmethod
    def sorted(cls, unit: npt.NDArray[np.int64], value: npt.NDArray[np.float64]) -> Numbers:
        """In an order that hangs on no engine."""
        order = np.lexsort((value, unit))
        return cls(unit[order], value[order])

    def only(self, mask: npt.NDArray[np.bool_]) -> Numbers:
        """Those of some of the units, which move up."""
        kept, new_position = mask[self.unit], np.cumsum(mask) - 1
        return Numbers(new_position[self.unit[kept]], self.value[kept])


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What happened to each unit, per metric.

    Parameters
    ----------
    units
        One row per person (and stage): `person_id`, `canary`, `entered_at`, `leaves_at`, and whatever
        else the caller had.
    metrics
        The specs, in order.
    first
        Per share metric: microsecond of the first event that counts, -1 for none; None for value metrics.
    sums, weights
        Per value metric: the sum per person, and the number of events (or the denominator) behind it.
    unreadable
        Per metric: events left out because their property is missing or no finite number.
    before
        Per metric: what `before_exposure` found, None for metrics without `cuped`; empty when not asked.
    numbers
        Per metric: every number of a quantile, None for other metrics.
    """

    units: pd.DataFrame
    metrics: tuple[Metric, ...]
    first: tuple[npt.NDArray[np.int64] | None, ...]
    sums: tuple[npt.NDArray[np.float64] | None, ...]
    weights: tuple[npt.NDArray[np.float64] | None, ...]
    unreadable: tuple[int, ...]
    before: tuple[Before | None, ...] = ()
    numbers: tuple[Numbers | None, ...] = ()

    @property
    def canary(self) -> npt.NDArray[np.bool_]:
        """True for units of the canary."""
        return self.units["canary"].to_numpy(bool)

    def time_at_risk(self, i: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Microseconds between which each unit's event counts for metric `i`, half-open.

        Parameters
        ----------
        i
            Which metric, counting from 0.

        Returns
        -------
        tuple of numpy.ndarray
            From, and until, one a unit.
        """
        return _window(
            self.metrics[i], column_micros(self.units["entered_at"]), column_micros(self.units["leaves_at"])
        )

    def time_is_over(self, i: int) -> npt.NDArray[np.bool_]:
        """Units that have had the whole time in which metric `i` counts; nobody where it has no end.

        Parameters
        ----------
        i
            Which metric, counting from 0.

        Returns
        -------
        numpy.ndarray
            Of bool, one a unit.
        """
        window = self.metrics[i].window[1]
        if np.isinf(window):
            return np.zeros(len(self.units), dtype=bool)
        entered, leaves = column_micros(self.units["entered_at"]), column_micros(self.units["leaves_at"])
        return np.asarray(entered + round(window * 1e6) <= leaves)

    def waiting_times(self, i: int, where: npt.NDArray[np.bool_]) -> WaitingTimes:
        """Seconds from the exposure to the event of share metric `i`, for a mask of units.

        Parameters
        ----------
        i
            Which metric, counting from 0.
        where
            Mask of the units that count.

        Returns
        -------
        WaitingTimes
        """
        from canarykit.stats.one_look.survival import waiting_times

        starts, stops, first, _ = self._moments(i, where)
        present = starts < stops
        starts, stops, first = starts[present], stops[present], first[present]
        return waiting_times((np.where(first >= 0, first, stops) - starts) / 1e6, first >= 0)

    def share_told(self, i: int, where: npt.NDArray[np.bool_]) -> float | None:
        """The share of units that margins in points of share metric `i` start from.

        Parameters
        ----------
        i
            Which metric, counting from 0.
        where
            Mask of the units that count.

        Returns
        -------
        float or None
            Of a time to event the share within its time, None while nobody was followed for so
            long; of other metrics the share so far. None where there are no units.
        """
        metric, first = self.metrics[i], self.first[i]
        assert first is not None
        if not where.any():
            return None
        if isinstance(metric, ShareMetric) and metric.by_age:
            return self.waiting_times(i, where).share_by(metric.window[1])
        return float((first[where] >= 0).mean())

    def risk_sets(
        self,
        i: int,
        *,
        origin: int,
        step: int,
        n_intervals: int,
        until: int | None = None,
        where: npt.NDArray[np.bool_] | None = None,
    ) -> RiskSets:
        """Events of share metric `i` within entry cohorts, over all units or those of a mask.

        A metric that is `by_age` compares people at the same time since their exposure.

        People who were seen in an earlier stage form cohorts of their own: how many of them have the canary
        follows from the shares of two stages. So do, for metrics with `cuped`, those who had the event before
        they were exposed.

        Parameters
        ----------
        i
            Which metric, counting from 0.
        origin
            Start of the first interval, in UTC microseconds.
        step
            Length of an interval, in microseconds.
        n_intervals
            Number of intervals.
        until
            UTC microseconds up to which the data are complete; None is the end of the last
            interval.
        where
            Mask of the units that count; None counts all.

        Returns
        -------
        RiskSets
        """
        mask = slice(None) if where is None else where
        kinds = [self.units["returning"].to_numpy(np.int64)] if "returning" in self.units else []
        before = self.before[i] if self.before else None
        if before is not None:
            kinds.append(2 * (before.weights > 0).astype(np.int64))
        return risk_sets(
            *self._moments(i, mask),
            origin=origin,
            step=step,
            n_intervals=n_intervals,
            until=until,
            strata=np.sum(kinds, axis=0)[mask] if kinds else None,
            by_age=getattr(self.metrics[i], "by_age", False),
        )

    def interval_counts(
        self, i: int, *, origin: int, step: int, n_intervals: int, where: npt.NDArray[np.bool_]
    ) -> IntervalCounts:
        """Everybody at risk and the first events of share metric `i` by interval, for a mask of units.

        Parameters
        ----------
        i
            Which metric, counting from 0.
        origin
            Start of the first interval, in UTC microseconds.
        step
            Length of an interval, in microseconds.
        n_intervals
            Number of intervals.
        where
            Mask of the units that count.

        Returns
        -------
        IntervalCounts
        """
        return interval_counts(*self._moments(i, where), origin=origin, step=step, n_intervals=n_intervals)

    def _moments(self, i: int, mask: Any) -> tuple[Any, Any, Any, Any]:
        """Start and end of each unit's time at risk, its first event, and whether it has the canary."""
        first = self.first[i]
        if first is None:
            raise DataError(
                f"{self.metrics[i].label!r} is not a share of people; it has moments, not risk sets"
            )
        starts, stops = self.time_at_risk(i)
        return starts[mask], stops[mask], first[mask], self.canary[mask]

    def only(self, mask: npt.NDArray[np.bool_]) -> Outcomes:
        """The same for some of the units.

        Parameters
        ----------
        mask
            True for the units to keep.

        Returns
        -------
        Outcomes
        """
        if mask.all():
            return self

        def kept(columns: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(None if column is None else column[mask] for column in columns)

        before = tuple(b and Before(b.sums[mask], b.weights[mask]) for b in self.before)
        units = self.units[mask].reset_index(drop=True)
        columns = kept(self.first), kept(self.sums), kept(self.weights)
        numbers = tuple(n and n.only(mask) for n in self.numbers)
        return Outcomes(units, self.metrics, *columns, self.unreadable, before, numbers)

    def people(self, i: int, *, canary: bool | None = None) -> pd.DataFrame:
        """The people to whom metric `i` happened, with the time of it, earliest first.

        Parameters
        ----------
        i
            Which metric, counting from 0.
        canary
            Only those with the canary (True) or without (False); None takes both.

        Returns
        -------
        pandas.DataFrame
            `person_id`, the arm, and the time (UTC).
        """
        import pandas as pd

        first = self.first[i]
        if first is None:
            raise DataError(
                f"{self.metrics[i].label!r} is not a share of people: nobody in particular had it"
            )
        chosen = first >= 0 if canary is None else (first >= 0) & (self.canary == canary)
        people = self.units.loc[chosen].assign(happened_at=pd.to_datetime(first[chosen], unit="us", utc=True))
        return people.sort_values(["happened_at", "person_id"], ignore_index=True)


@checked
def outcomes(
    log: EventLog | Frame, metrics: Sequence[Metric], units: pd.DataFrame, *, actor: str = "person_id"
) -> Outcomes:
    """Reduce a log to the first event, or the sums, of each unit and metric.

    Parameters
    ----------
    log
        `EventLog` over any engine, or a table of events with its default columns.
    metrics
        Specs of `canarykit.metrics`.
    units
        Who is measured, one row each: `person_id` (text), `canary` (bool), `entered_at` and `leaves_at`
        (UTC, half-open). A person may have several rows with different times.
    actor
        Column of the events that names the unit: "person_id", or "$group_0" for a flag by organisation,
        whose key then stands in the units' `person_id`.

    Returns
    -------
    Outcomes

    Raises
    ------
    DataError
        If the units lack a column.
    """
    import pyarrow as pa

    log = as_log(log)
    _require_units(units)
    specs = tuple(metrics)
    units = units.reset_index(drop=True)
    if units.empty or not specs:
        return _collect(specs, units, [])
    entered, leaves = column_micros(units["entered_at"]), column_micros(units["leaves_at"])
    table = pa.table(
        {
            "unit": pa.array(np.arange(len(units), dtype=np.int32)),
            "person_id": pa.array(units["person_id"].astype(str).to_numpy(object), pa.string()),
            "entered": pa.array(entered),
            "leaves": pa.array(leaves),
        }
    )
    names = list(dict.fromkeys(name for spec in specs for name in spec.events))
    properties = list(dict.fromkeys(name for spec in specs for name in spec.properties))
    shards = log.reduce(
        [actor, "event", "timestamp", *properties],
        partial(shard_outcomes, units=table, metrics=specs, actor=actor),
        actor=actor,
        native=["event", *_numbers(specs)],
        events=names,
        since=moment(entered.min()),
        until=moment(leaves.max()),
    )
    return _collect(specs, units, shards)


@checked
def before_exposure(
    log: EventLog | Frame, metrics: Sequence[Metric], units: pd.DataFrame, *, actor: str = "person_id"
) -> tuple[Before | None, ...]:
    """What each unit did in the time before its exposure, for the metrics that say `cuped`.

    One more pass over those metrics' events for each length of time; only sums per unit come back.

    Parameters
    ----------
    log, metrics, actor
        As in `outcomes`.
    units
        As in `outcomes`. A column `unexposed_until` (UTC) says until when each unit had not seen the feature;
        without it that is `entered_at`. For people who saw the feature in an earlier stage it must be the
        earlier moment: what somebody did with the feature already there would bias the comparison.

    Returns
    -------
    tuple
        Per metric, `Before` or None.
    """
    log = as_log(log)
    _require_units(units)
    until = units["unexposed_until" if "unexposed_until" in units else "entered_at"]
    answer: list[Before | None] = [None] * len(metrics)
    spans: dict[float, list[int]] = {}
    for i, spec in enumerate(metrics):
        window = getattr(spec, "cuped", None)
        if window is not None:
            spans.setdefault(duration(window, name="cuped"), []).append(i)
    for seconds, places in spans.items():
        import pandas as pd

        earlier = units.assign(entered_at=until - pd.Timedelta(seconds=seconds), leaves_at=until)
        before = outcomes(log, [metrics[i].unlimited() for i in places], earlier, actor=actor)
        for i, first, sums, weights in zip(places, before.first, before.sums, before.weights, strict=True):
            if first is not None:
                had = (first >= 0).astype(float)
                answer[i] = Before(had, had)
                continue
            assert sums is not None
            assert weights is not None
            answer[i] = Before(sums, weights)
    return tuple(answer)


def _collect(specs: tuple[Metric, ...], units: pd.DataFrame, shards: list[Any]) -> Outcomes:
    first: list[Any] = []
    sums: list[Any] = []
    weights: list[Any] = []
    unreadable = []
    numbers: list[Numbers | None] = []
    size = len(units)
    for i, spec in enumerate(specs):
        is_share = isinstance(spec, ShareMetric)
        moments = np.full(size if is_share else 0, -1, dtype=np.int64)
        both = np.zeros((2, 0 if is_share else size))
        for shard in shards:
            at = shard["unit"][i]
            if is_share:
                moments[at] = shard["first"][i]
            else:
                both[0, at], both[1, at] = shard["sums"][i], shard["weights"][i]
        first.append(moments if is_share else None)
        sums.append(None if is_share else both[0])
        weights.append(None if is_share else both[1])
        unreadable.append(sum(shard["unreadable"][i] for shard in shards))
        numbers.append(
            _joined([shard["numbers"][i] for shard in shards]) if isinstance(spec, Quantile) else None
        )
    columns = tuple(first), tuple(sums), tuple(weights)
    return Outcomes(units, specs, *columns, tuple(unreadable), numbers=tuple(numbers))


def _joined(parts: list[Any]) -> Numbers:
    """The numbers of all shards."""
    unit = np.concatenate([np.empty(0, np.int64), *(part[0] for part in parts)])
    return Numbers.sorted(unit, np.concatenate([np.empty(0), *(part[1] for part in parts)]))


def _numbers(specs: Sequence[Metric]) -> list[str]:
    """Properties that are only ever read as numbers, which may come as the engine stores them."""
    matched = {key for spec in specs for key, _ in spec.filters}
    read = dict.fromkeys(name for spec in specs for name in spec.properties)
    return [name for name in read if name not in matched]


def _window(spec: Metric, entered: npt.NDArray[np.int64], leaves: npt.NDArray[np.int64]) -> Any:
    after, before = spec.window
    starts = entered + round(after * 1_000_000)
    stops = leaves if np.isinf(before) else np.minimum(leaves, entered + round(before * 1_000_000))
    return starts, stops


def _require_units(units: pd.DataFrame) -> None:
    """Refuse what is not a table of units with their arms and times."""
    if not hasattr(units, "columns"):
        raise DataError(f"units is {what_is(units)}; expected a pandas frame with {', '.join(_UNIT_COLUMNS)}")
    for column in _UNIT_COLUMNS:
        if column not in units:
            raise DataError(f"units lack {column!r}; {did_you_mean(column, units.columns)}")
