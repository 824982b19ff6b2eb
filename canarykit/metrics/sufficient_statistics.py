"""Sufficient statistics of metrics per stage, interval and variant: counts, sums, squares and products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from canarykit.arguments import checked
from canarykit.counting import counted
from canarykit.display import Column, Note, Result, Table
from canarykit.errors import DataError, PlanError, wrong_kind
from canarykit.events.log import as_log
from canarykit.metrics.group_sizes import totals_per_person
from canarykit.metrics.share import MetricSpec, ShareMetric
from canarykit.metrics.unit_outcomes import Outcomes, before_exposure, outcomes
from canarykit.metrics.values import Metric, PerPerson, Quantile
from canarykit.periods import column_micros, moment
from canarykit.plan.given import as_plan
from canarykit.times import duration, to_utc

if TYPE_CHECKING:
    from canarykit.events import EventLog
    from canarykit.exposure.result import Exposures
    from canarykit.plan import RolloutPlan
    from canarykit.typing import Frame, Time

_QUANTITIES = {
    "total": "sum",
    "weight": "denominator",
    "before": "sum before exposure",
    "before_weight": "denominator before exposure",
}
_COUNTS = (
    Column("metric", "metric"),
    Column("stage", "stage"),
    Column("interval", "interval from (UTC)", "time"),
    Column("variant", "variant"),
    Column("at_risk", "people at risk", "count"),
    Column("events", "people with it", "count"),
    Column("entered", "people exposed", "count"),
)


def _moment_columns() -> tuple[Column, ...]:
    """Sum and sum of squares of each quantity, then the sums of products of any two."""
    columns = []
    for key, words in _QUANTITIES.items():
        square = Column(
            f"{key}_squares", f"{words}: sum of squares" if key != "total" else "sum of squares", "number"
        )
        columns += [Column(key, words, "number"), square]
    columns += [
        Column(f"{one}_by_{other}", f"{_QUANTITIES[one]} x {_QUANTITIES[other]}", "number")
        for one, other in combinations(_QUANTITIES, 2)
    ]
    return tuple(columns)


_MOMENTS = _moment_columns()


@dataclass(frozen=True, repr=False, eq=False)
class Reduced(Result):
    """Sufficient statistics per metric, stage, interval and variant."""

    rows: tuple[tuple[Any, ...], ...]
    interval: str
    notes: tuple[Note, ...] = ()
    columns: tuple[Column, ...] = _COUNTS + _MOMENTS[:2]

    def _headline(self) -> str:
        metrics = counted(len({row[0] for row in self.rows}), "metrics")
        rows = counted(len(self.rows), "rows")
        return f"{metrics} by stage, {self.interval} interval and variant: {rows}"

    def _table(self) -> Table:
        return Table(self.columns, self.rows)


@checked
def reduce(
    log: EventLog | Frame,
    metrics: Sequence[Metric] | Metric,
    exposures: Exposures,
    plan: RolloutPlan,
    *,
    interval: str = "1h",
    as_of: Time | None = None,
) -> Reduced:
    """Sufficient statistics of metrics per stage, interval and variant.

    Share metrics give people at risk and first events in each interval. Value metrics give the number of
    people first exposed in it, and over them the sum and the sum of squares; ratios and averages also those
    of the denominator, metrics with `cuped` those of the time before the exposure, and both the sums of
    products, which is all that their comparison needs. Values are not capped. For a flag by organisation the
    groups are the rows: totals then have the people of each group as their denominator.

    Parameters
    ----------
    log
        `EventLog` over any engine, or a table of events with its default columns.
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
        One row per metric, stage, interval and variant, intervals without anybody left out, and columns
        that no metric needs.

    Examples
    --------
    >>> import canarykit as ck
    >>> plan = ck.RolloutPlan(
    ...     "new-checkout", (ck.Stage.for_share("half", 50, dwell="2d"),), starts_at="2026-09-07T09:00:00Z"
    ... )
    >>> log = ck.simulate_rollout(plan, ck.Population(300), rng=7)
    >>> exposed = ck.exposures(log, "new-checkout", plan=plan)
    >>> found = reduce(log, ck.metrics.Total("$pageview", cuped="14d"), exposed, plan, interval="1d")
    >>> [column for column in found.to_frame().columns if "before" in column]
    ['before', 'before_squares', 'total_by_before']
    """
    import pandas as pd

    log, plan = as_log(log), as_plan(plan)
    if not hasattr(exposures, "by_stage"):
        raise wrong_kind("exposures", exposures, "what `exposures` gives")
    specs = (metrics,) if isinstance(metrics, MetricSpec) else tuple(metrics)
    for spec in specs:
        if isinstance(spec, Quantile):
            raise PlanError(
                f"{spec.label}: a quantile does not follow from sums; reduce a SlowShare with a limit, or "
                "judge the quantile with evaluate_stage"
            )
    step = round(duration(interval, name="interval") * 1_000_000)
    if as_of is not None:
        now = to_utc(as_of, name="as_of")
    elif (last := log.time_range[1]) is not None:
        now = last + pd.Timedelta(microseconds=1)
    else:
        raise DataError("the log has no events: give as_of, the moment until which it is complete")
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
        if any(getattr(spec, "cuped", None) for spec in specs):
            until = unexposed_until(exposures, plan, stage, units["person_id"])
            units = units.assign(unexposed_until=until)
        reduced = outcomes(log, specs, units, actor=actor)
        reduced = replace(reduced, before=before_exposure(log, specs, reduced.units, actor=actor))
        reduced = totals_per_person(log, reduced, actor=actor)
        unreadable += reduced.unreadable
        codes, variants = pd.factorize(reduced.units["variant"], sort=True)
        for code, variant in enumerate(variants):
            arm = codes == code
            rows += _statistics(
                reduced, arm, stage, str(variant), start, stop, step, by_group=index is not None
            )
    notes = tuple(
        Note("unreadable", f"events whose property is not a number left out of {spec.label}", int(count))
        for spec, count in zip(specs, unreadable, strict=True)
        if count
    )
    used = [k for k in range(2, len(_MOMENTS)) if any(row[len(_COUNTS) + k] is not None for row in rows)]
    kept = [*range(len(_COUNTS) + 2), *(len(_COUNTS) + k for k in used)]
    columns = tuple((_COUNTS + _MOMENTS)[k] for k in kept)
    return Reduced(tuple(tuple(row[k] for k in kept) for row in rows), interval, notes, columns)


def _statistics(
    reduced: Outcomes,
    arm: npt.NDArray[np.bool_],
    stage: str,
    variant: str,
    start: Any,
    stop: Any,
    step: int,
    *,
    by_group: bool,
) -> list[Any]:
    """Rows of one arm of one stage: at risk and events, or moments, for each metric and interval."""

    origin = start.value // 1000
    n_intervals = max(1, -(-(stop.value // 1000 - origin) // step))
    entered = np.clip((column_micros(reduced.units["entered_at"])[arm] - origin) // step, 0, n_intervals - 1)
    people = np.bincount(entered, minlength=n_intervals)
    rows = []
    for i, spec in enumerate(reduced.metrics):
        moments: list[Any] = [None] * len(_MOMENTS)
        if isinstance(spec, ShareMetric):
            counts = reduced.interval_counts(i, origin=origin, step=step, n_intervals=n_intervals, where=arm)
            columns = [counts.at_risk_canary, counts.events_canary, people, *moments]
        else:
            with_it, moments = _moments(reduced, i, arm, entered, n_intervals, by_group=by_group)
            columns = [None, with_it, people, *moments]
        for k in range(n_intervals):
            cells = [None if column is None else column[k].item() for column in columns]
            if any(cells):
                begins = moment(origin + k * step)
                rows.append((spec.label, stage, begins, variant, *cells))
    return rows


def _moments(
    reduced: Outcomes,
    i: int,
    arm: npt.NDArray[np.bool_],
    entered: npt.NDArray[np.int64],
    n_intervals: int,
    *,
    by_group: bool,
) -> tuple[Any, list[Any]]:
    """Units with a denominator (None for totals over people), and the sums of `_MOMENTS`, per interval."""
    sums, weights = reduced.sums[i], reduced.weights[i]
    assert sums is not None
    assert weights is not None
    is_total = isinstance(reduced.metrics[i], PerPerson) and not by_group
    before = reduced.before[i] if reduced.before else None
    with_it = np.ones(len(sums), dtype=bool) if is_total else weights > 0
    quantities = {
        "total": sums,
        "weight": None if is_total else weights,
        "before": None if before is None else before.sums,
        "before_weight": None if is_total or before is None else before.weights,
    }
    mine = arm if is_total else arm & with_it
    of_mine = {key: None if q is None else q[mine] for key, q in quantities.items()}
    places = entered[mine[arm]]

    def binned(*factors: Any) -> Any:
        if any(factor is None for factor in factors):
            return None
        return np.bincount(places, math.prod(factors), minlength=n_intervals)

    columns = []
    for q in of_mine.values():
        columns += [binned(q), binned(q, q)]
    columns += [binned(of_mine[one], of_mine[other]) for one, other in combinations(of_mine, 2)]
    return None if is_total else np.bincount(entered, with_it[arm], minlength=n_intervals), columns


def unexposed_until(exposures: Any, plan: Any, stage: str, units: Any) -> Any:
    """Moment until which no unit of a stage can have had the feature, whichever arm it is in.

    That is its first exposure at all, or the start of the ramp where the flag was called before anybody was
    drawn: the same rule in both arms, so that pasts are of the same days. In a percentage stage the ramp
    starts with the first percentage, since those who were chosen earlier are not compared; at full release,
    where everybody is compared with a holdout, it starts with the first stage.
    """
    import pandas as pd

    people = exposures.people
    first = people.groupby(people[exposures.unit_column].astype(str))["exposed_at"].min()
    drawn = plan.stage(stage).kind == "percentage"
    starts = [
        w[0] for name, w in plan.windows().items() if not drawn or plan.stage(name).kind == "percentage"
    ]
    ramp = pd.Timestamp(min(starts))
    first_seen = units.map(first)
    return first_seen.where(first_seen >= ramp, ramp)
