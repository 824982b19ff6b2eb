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

from canarykit.display import Column, Note, Result, Table
from canarykit.errors import DataError, did_you_mean
from canarykit.metrics.risk import RiskSets, risk_sets
from canarykit.metrics.share import MetricSpec, ShareMetric
from canarykit.metrics.sql import shard_outcomes
from canarykit.metrics.values import Metric
from canarykit.times import duration, to_utc

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Outcomes", "Reduced", "outcomes", "reduce"]

_UNIT_COLUMNS = ("person_id", "canary", "entered_at", "leaves_at")


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
        Per metric: events left out because their property is no finite number.
    """

    units: pd.DataFrame
    metrics: tuple[Metric, ...]
    first: tuple[npt.NDArray[np.int64] | None, ...]
    sums: tuple[npt.NDArray[np.float64] | None, ...]
    weights: tuple[npt.NDArray[np.float64] | None, ...]
    unreadable: tuple[int, ...]

    @property
    def canary(self) -> npt.NDArray[np.bool_]:
        """True for units of the canary."""
        return self.units["canary"].to_numpy(bool)

    def time_at_risk(self, i: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Microseconds between which each unit's event counts for metric `i`, half-open."""
        return _window(self.metrics[i], _us(self.units["entered_at"]), _us(self.units["leaves_at"]))

    def risk_sets(
        self, i: int, *, origin: int, step: int, n_intervals: int, where: npt.NDArray[np.bool_] | None = None
    ) -> RiskSets:
        """Counts per interval of share metric `i`, over all units or those of a mask."""
        first = self.first[i]
        if first is None:
            raise DataError(f"{self.metrics[i].label!r} is no share of people; it has moments, not risk sets")
        starts, stops = self.time_at_risk(i)
        keep = slice(None) if where is None else where
        return risk_sets(
            starts[keep],
            stops[keep],
            first[keep],
            self.canary[keep],
            origin=origin,
            step=step,
            n_intervals=n_intervals,
        )

    def people(self, i: int, *, canary: bool | None = None) -> pd.DataFrame:
        """The people to whom metric `i` happened, with the time of it, earliest first."""
        import pandas as pd

        first = self.first[i]
        if first is None:
            raise DataError(f"{self.metrics[i].label!r} is no share of people: nobody in particular had it")
        chosen = first >= 0 if canary is None else (first >= 0) & (self.canary == canary)
        people = self.units.loc[chosen].assign(happened_at=pd.to_datetime(first[chosen], unit="us", utc=True))
        return people.sort_values(["happened_at", "person_id"], ignore_index=True)


def outcomes(
    log: Any, metrics: Sequence[Metric], units: pd.DataFrame, *, actor: str = "person_id"
) -> Outcomes:
    """Reduce a log to the first event, or the sums, of each unit and metric.

    Parameters
    ----------
    log
        `EventLog` over any engine.
    metrics
        Specs of `canarykit.metrics`.
    units
        Who is measured, one row each: `person_id` (text), `canary` (bool), `entered_at` and `leaves_at`
        (UTC, half-open). A person may have several rows with different times.
    actor
        Column of the events that names the unit: "person_id", or "$group_0" for a flag by organisation,
        whose key then stands in the units' `person_id`.

    Raises
    ------
    DataError
        If the units lack a column.
    """
    import pandas as pd
    import pyarrow as pa

    for column in _UNIT_COLUMNS:
        if column not in units:
            raise DataError(f"units lack {column!r}; {did_you_mean(column, units.columns)}")
    specs = tuple(metrics)
    units = units.reset_index(drop=True)
    if units.empty or not specs:
        return _collect(specs, units, [])
    entered, leaves = _us(units["entered_at"]), _us(units["leaves_at"])
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
        since=pd.Timestamp(int(entered.min()), unit="us", tz="UTC"),
        until=pd.Timestamp(int(leaves.max()), unit="us", tz="UTC"),
    )
    return _collect(specs, units, shards)


@dataclass(frozen=True, repr=False, eq=False)
class Reduced(Result):
    """Sufficient statistics per metric, stage, interval and variant."""

    rows: tuple[tuple[Any, ...], ...]
    interval: str
    notes: tuple[Note, ...] = ()

    _COLUMNS = (
        Column("metric", "metric"),
        Column("stage", "stage"),
        Column("interval", "interval from (UTC)", "time"),
        Column("variant", "variant"),
        Column("at_risk", "people at risk", "count"),
        Column("events", "people with it", "count"),
        Column("entered", "people exposed", "count"),
        Column("total", "sum", "number"),
        Column("total_squares", "sum of squares", "number"),
    )

    def _headline(self) -> str:
        metrics = len({row[0] for row in self.rows})
        return f"{metrics} metrics by stage, {self.interval} interval and variant: {len(self.rows)} rows"

    def _table(self) -> Table:
        return Table(self._COLUMNS, self.rows)


def reduce(
    log: Any,
    metrics: Sequence[Metric] | Metric,
    exposures: Any,
    plan: Any,
    *,
    interval: str = "1h",
    as_of: Any = None,
) -> Reduced:
    """Sufficient statistics of metrics per stage, interval and variant.

    Share metrics give people at risk and first events in each interval; value metrics give the number,
    sum and sum of squares over the people who were first exposed in it.

    Parameters
    ----------
    log
        `EventLog` over any engine.
    metrics
        One spec or several.
    exposures
        The answer of `canarykit.exposures(log, flag, plan=plan)`.
    plan
        `RolloutPlan` with windows.
    interval
        Length of an interval, "1h" or "1d".
    as_of
        Events from this moment on are not looked at; default: the last event of the log.

    Returns
    -------
    Reduced
        One row per metric, stage, interval and variant, intervals without anybody left out.
    """
    import pandas as pd

    specs = (metrics,) if isinstance(metrics, MetricSpec) else tuple(metrics)
    step = round(duration(interval, name="interval") * 1_000_000)
    now = (
        to_utc(as_of, name="as_of") if as_of is not None else log.time_range[1] + pd.Timedelta(microseconds=1)
    )
    index = plan.aggregation_group_type_index
    actor = "person_id" if index is None else f"$group_{index}"
    rows: list[tuple[Any, ...]] = []
    unreadable = np.zeros(len(specs), dtype=int)
    by_stage = exposures.by_stage
    for stage, (start, end) in plan.windows().items():
        stop = now if end is None else min(end, now)
        people = by_stage[(by_stage["stage"] == stage) & by_stage["variant"].notna()]
        if stop <= start or people.empty:
            continue
        units = people.assign(canary=True, entered_at=people["exposed_at"], leaves_at=stop)
        units = units.assign(person_id=units[exposures.unit_column].astype(str))
        found = outcomes(log, specs, units, actor=actor)
        unreadable += found.unreadable
        codes, variants = pd.factorize(found.units["variant"], sort=True)
        for code, variant in enumerate(variants):
            rows += _statistics(found, codes == code, stage, str(variant), start, stop, step)
    notes = tuple(
        Note("unreadable", f"events whose property is no number left out of {spec.label}", int(count))
        for spec, count in zip(specs, unreadable, strict=True)
        if count
    )
    return Reduced(tuple(rows), interval, notes)


def _statistics(
    found: Outcomes, arm: npt.NDArray[np.bool_], stage: str, variant: str, start: Any, stop: Any, step: int
) -> list[Any]:
    import pandas as pd

    origin = start.value // 1000
    n_intervals = max(1, -(-(stop.value // 1000 - origin) // step))
    entered = np.clip((_us(found.units["entered_at"])[arm] - origin) // step, 0, n_intervals - 1)
    people = np.bincount(entered, minlength=n_intervals)
    rows = []
    for i, spec in enumerate(found.metrics):
        per_person = found.sums[i]
        if per_person is None:
            sets = found.risk_sets(i, origin=origin, step=step, n_intervals=n_intervals, where=arm)
            columns = [sets.at_risk_canary, sets.events_canary, people, None, None]
        else:
            mine = per_person[arm]
            totals = [np.bincount(entered, v, minlength=n_intervals) for v in (mine, mine**2)]
            columns = [None, None, people, *totals]
        for k in range(n_intervals):
            cells = [None if column is None else column[k].item() for column in columns]
            if any(cells):
                moment = pd.Timestamp(origin + k * step, unit="us", tz="UTC")
                rows.append((spec.label, stage, moment, variant, *cells))
    return rows


def _collect(specs: tuple[Metric, ...], units: pd.DataFrame, shards: list[Any]) -> Outcomes:
    first: list[Any] = []
    sums: list[Any] = []
    weights: list[Any] = []
    unreadable = []
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
    return Outcomes(units, specs, tuple(first), tuple(sums), tuple(weights), tuple(unreadable))


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


def _us(times: Any) -> npt.NDArray[np.int64]:
    return times.dt.as_unit("us").astype("int64").to_numpy()
