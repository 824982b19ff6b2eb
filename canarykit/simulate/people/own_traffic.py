"""What a log says of the people who reach a feature: all that `simulate_decisions` asks for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from canarykit.arguments import checked
from canarykit.display import Column, Note, Result, Table, format_value
from canarykit.errors import DataError
from canarykit.events.log import as_log
from canarykit.exposure.calls import tellings
from canarykit.health.evidence.value_series import value_series
from canarykit.health.people.present import present_units
from canarykit.health.tellable import Measured
from canarykit.metrics import Guardrail
from canarykit.metrics.guardrail import read_guardrails
from canarykit.metrics.unit_outcomes import Outcomes, outcomes
from canarykit.metrics.values import Quantile
from canarykit.periods import column_micros
from canarykit.plan.given import as_plan
from canarykit.simulate.decisions.truth import require_shares
from canarykit.simulate.people.estimate import population_like
from canarykit.simulate.people.population import Population
from canarykit.times import DAY, duration, micros

if TYPE_CHECKING:
    import pyarrow as pa

    from canarykit.events import EventLog
    from canarykit.plan import RolloutPlan
    from canarykit.typing import Frame

HALVINGS = 6
"""The log is cut into 1, 2, 4 ... windows, and the people of each are counted."""
FEWEST = 10
"""People a window has on average, or it tells nothing; and people whose rates are believed."""
SLOW = 3600.0
"""Median seconds from exposure to event from which it matters that simulated events come at once."""


@dataclass(frozen=True, repr=False, eq=False)
class PresentRates(Result):
    """Traffic and rates without the feature; `**` hands them to `simulate_decisions` as what they are.

    Parameters
    ----------
    traffic
        A population that returns as the people of the log do; of a plan that assigns groups, how many come in
        an hour of a stage.
    rates
        By the guardrail's label: a share of people, or mean and standard deviation of a value.
    rows
        One a guardrail: its label, its rate, the standard deviation (None for shares), the people behind it,
        and the median seconds from exposure to event (None for values).
    """

    traffic: Population | float
    rates: Mapping[str, float | tuple[float, float]]
    rows: tuple[tuple[Any, ...], ...] = field(default=())
    notes: tuple[Note, ...] = ()

    _COLUMNS = (
        Column("guardrail", "guardrail"),
        Column("rate", "now", "number"),
        Column("spread", "standard deviation", "number"),
        Column("people", "people measured", "count"),
        Column("delay", "half of it after", "seconds"),
    )

    def keys(self) -> tuple[str, ...]:
        """Names of the arguments that `**` gives.

        Returns
        -------
        tuple of str
        """
        return ("traffic", "rates")

    def __getitem__(self, name: str) -> Any:
        if name not in self.keys():
            raise KeyError(name)
        return getattr(self, name)

    def _headline(self) -> str:
        if not isinstance(self.traffic, Population):
            return (
                f"about {24 * self.traffic:,.0f} groups reach the feature in a day; what they do without it"
            )
        week = self.traffic.sessions_per_week / self.traffic.activity_shape
        seen = self.traffic.n * (1 - (1 + week / 7) ** -self.traffic.activity_shape)
        return f"about {seen:,.0f} people reach the feature in a day; what they do without it"

    def _table(self) -> Table:
        return Table.of(self._COLUMNS, self.rows)

    def _extra_json(self) -> dict[str, Any]:
        names = ("n", "sessions_per_week", "activity_shape")
        people = isinstance(self.traffic, Population)
        traffic = {name: getattr(self.traffic, name) for name in names} if people else self.traffic
        return {"traffic": traffic, "rates": dict(self.rates)}


@checked
def rates_like(
    log: EventLog | Frame,
    plan: RolloutPlan,
    guardrails: Sequence[Guardrail] | Guardrail | None = None,
    *,
    within: str | None = None,
) -> PresentRates:
    """Measure in a log what `simulate_decisions` asks for, so that a plan is tried on one's own traffic.

    Who reaches the feature is who calls the plan's flag (before anybody did: everybody), how soon people
    return follows from how many different ones are seen in long and in short windows of the log. Rates are
    those of the people without the canary. Of a plan that assigns groups they are those of groups, and groups
    come evenly, as many in a stage as in that time of the log.

    Parameters
    ----------
    log
        Events of a past release of the flag, or of any weeks before it.
    plan
        The plan that is to be tried; it may be another than the one of the log.
    guardrails
        What will be judged; the share of people with an exception if left out.
    within
        How long people are followed, such as "2d"; by default the median length of the plan's percentage
        stages, or "7d" where they have none.

    Returns
    -------
    PresentRates
        `traffic` and `rates`; what was assumed, and which guardrails have no rate, is in `notes`.

    Raises
    ------
    PlanError
        If the guardrails contradict, or are of values where the plan assigns groups.
    DataError
        If the log has no events, or too few people to tell.

    Examples
    --------
    >>> import canarykit as ck
    >>> from canarykit.simulate import Effect
    >>> sample = ck.load_sample()
    >>> other = ck.RolloutPlan(
    ...     "new-checkout", (ck.Stage.for_share("20 %", 20, dwell="3d"),), starts_at="2026-10-05T09:00:00Z"
    ... )
    >>> mine = ck.rates_like(sample.log, other)
    >>> bad = ck.Scenario(effects=[Effect("errors", 5)])
    >>> ck.simulate_decisions(other, bad, n_runs=100, **mine, rng=7, progress=False).probability("roll back")
    1.0
    """
    log, plan, chosen = as_log(log), as_plan(plan), read_guardrails(guardrails)
    index = plan.aggregation_group_type_index
    if index is not None:
        require_shares(plan, chosen)
    begin, end = log.time_range
    if begin is None or end is None:
        raise DataError("the log has no events: there is nothing to be like")
    seconds = _typical_stage(plan) if within is None else duration(within, name="within")
    units, _, notes = present_units(log, plan.flag, plan, seconds, end, group=index)
    everybody = any(note.code == "nobody_exposed" for note in notes)
    if len(units) < FEWEST:
        who = "people" if index is None else "groups"
        raise DataError(f"the log has {len(units)} {who} without the canary; expected at least {FEWEST}")
    flag, actor = None if everybody else plan.flag, "person_id" if index is None else f"$group_{index}"
    traffic: Population | float
    if index is None:
        traffic, more = _traffic(log, flag)
    else:
        traffic, more = _groups_an_hour(log, flag, actor, seconds)
    notes += [*more, *_longer_stages(plan, (end - begin).total_seconds())]
    reduced = outcomes(log, [guardrail.metric for guardrail in chosen], units, actor=actor)
    rates: dict[str, float | tuple[float, float]] = {}
    rows: list[tuple[Any, ...]] = []
    for i, guardrail in enumerate(chosen):
        first = reduced.first[i]
        if first is not None:
            rate, spread = float((first >= 0).mean()), None
            after = (first - column_micros(reduced.units["entered_at"]))[first >= 0] / 1e6
            delay = float(np.median(after)) if len(after) else None
        else:
            rate, spread = _value(reduced, i)
            delay = None
        rows.append((guardrail.label, rate, spread, len(units), delay))
        if not (0 < rate < 1 if spread is None else rate > 0 and spread > 0):
            text = f"{guardrail.label} is {rate:g} for all people measured: no rate, the scenario's stands"
            notes.append(Note("no_rate", text))
            continue
        rates[guardrail.label] = rate if spread is None else (rate, spread)
        if delay is not None and delay > SLOW:
            mean = f"{max(round(delay / math.log(2) / 3600), 1)}h"
            text = (
                f"{guardrail.label}: half of the people have it only after {format_value(delay, 'seconds')}; "
                "simulated decisions take events at once, so real ones come that much later. Beside "
                f"delays={{{guardrail.label!r}: {mean!r}}} the rate is that of all who ever have it"
            )
            notes.append(Note("late", text))
    return PresentRates(traffic, rates, tuple(rows), tuple(notes))


def _typical_stage(plan: RolloutPlan) -> float:
    """Median length of the percentage stages, in seconds."""
    windows = plan.windows() if plan.has_windows else {}
    lengths = [
        (end - start).total_seconds()
        for name, (start, end) in windows.items()
        if end is not None and plan.stage(name).kind == "percentage"
    ]
    return float(np.median(lengths)) if lengths else 7.0 * DAY


def _longer_stages(plan: RolloutPlan, seconds: float) -> list[Note]:
    if _typical_stage(plan) <= seconds:
        return []
    text = f"the log is {format_value(seconds, 'seconds')} long: who comes in later than that is extrapolated"
    return [Note("extrapolated", text)]


def _value(reduced: Outcomes, i: int) -> tuple[float, float]:
    """The metric of all units, and the standard deviation of one's part in it, as the judge has them."""
    if isinstance(reduced.metrics[i], Quantile):
        measured = Measured.of(reduced, i)
        return measured.value, measured.spread / math.sqrt(max(measured.part, 1e-12))
    end = int(column_micros(reduced.units["leaves_at"]).max()) + 1
    series = value_series(reduced, i, np.array([end]), end)
    return float(series.control[-1]), math.sqrt(float(series.control_variance[-1]) * len(reduced.units))


def _traffic(log: EventLog, flag: str | None) -> tuple[Population, list[Note]]:
    """A population of which as many different people are seen in windows of each length as in the log.

    Of n people whose visits are Poisson with gamma rates, n (1 - (1 + m / k)^-k) are seen in a time with m
    visits each; people who come once and never again are as many who come rarely.
    """
    narrow, start, end = _seen_from(log, flag)
    widths = [-(-(end - start) // 2**j) for j in range(HALVINGS)]
    counts = log.reduce(["person_id", "timestamp"], partial(_seen, start=start, widths=widths), **narrow)
    seen = np.sum(counts, axis=0) / 2.0 ** np.arange(HALVINGS)
    well_measured = seen >= FEWEST
    if well_measured.sum() < 2:
        raise DataError(
            f"{seen[0]:,.0f} people reach the feature in this log: too few to tell how many return"
        )
    visits, shape = (
        grid.ravel() for grid in np.meshgrid(np.geomspace(1e-3, 300, 160), np.geomspace(0.05, 50, 60))
    )
    part = visits[:, None] / 2.0 ** np.arange(HALVINGS)
    logs = np.log(-np.expm1(-shape[:, None] * np.log1p(part / shape[:, None])))[:, well_measured]
    people = (np.log(seen[well_measured]) - logs).mean(axis=1)
    misfit = np.abs(np.log(seen[well_measured]) - logs - people[:, None]).max(axis=1)
    best = int(np.argmin(misfit))
    weeks = (end - start) / (7 * DAY * 1e6)
    notes = [Note("evenly", "people come evenly over the day and the week, as many as in windows of the log")]
    if misfit[best] > 0.1:
        text = (
            f"the people seen in windows of the log differ from that by up to {math.expm1(misfit[best]):.0%}"
        )
        notes.append(Note("misfit", text))
    traffic = replace(
        population_like(log, None),
        n=max(round(math.exp(people[best])), 1),
        sessions_per_week=float(visits[best] / weeks),
        activity_shape=float(shape[best]),
    )
    return traffic, notes


def _seen_from(log: EventLog, flag: str | None) -> tuple[Mapping[str, Any], int, int]:
    """The events that tell who reaches the feature, and their first and last moment."""
    asked = [{}] if flag is None else [telling.narrow for telling in tellings(log, flag)]
    for narrow in asked:
        times = log.reduce(["timestamp"], _ends, **narrow)
        if any(times):
            break
    return narrow, min(pair[0] for pair in times if pair), max(pair[1] for pair in times if pair) + 1


def _groups_an_hour(log: EventLog, flag: str | None, actor: str, seconds: float) -> tuple[float, list[Note]]:
    """Different groups seen in windows as long as a stage, by hour."""
    import pandas as pd

    narrow, start, end = _seen_from(log, flag)
    width = min(round(seconds * 1e6), end - start)
    windows = (end - start) // width  # what is left over at the end is too short to tell
    pairs = log.reduce([actor, "timestamp"], partial(_pairs, actor=actor, start=start, width=width), **narrow)
    seen = pd.concat(pairs).drop_duplicates()
    groups = float((seen["window"] < windows).sum()) / windows
    note = Note("evenly", "groups come evenly over a stage, as many as in that time of the log")
    return groups / (width / 3.6e9), [note]


def _pairs(table: pa.Table, *, actor: str, start: int, width: int) -> Any:
    """Groups and the windows in which they were seen."""
    frame = table.select([actor, "timestamp"]).to_pandas().dropna()
    at = column_micros(frame["timestamp"]) - start
    return frame[[actor]].astype(str).assign(window=at // width).drop_duplicates()


def _ends(table: pa.Table) -> tuple[int, int] | None:
    """First and last moment of a shard."""
    import pyarrow.compute as pc

    if not table.num_rows:
        return None
    ends = pc.min_max(table.column("timestamp"))
    return tuple(micros(ends[name].as_py()) for name in ("min", "max"))  # type: ignore[return-value]


def _seen(table: pa.Table, *, start: int, widths: list[int]) -> npt.NDArray[np.int64]:
    """Pairs of a person and a window in which the person was seen, for windows of each width."""
    import pandas as pd
    import pyarrow as pa

    who = pd.factorize(table.column("person_id").cast(pa.string()).to_pandas())[0].astype(np.int64)
    at = table.column("timestamp").cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy() - start
    return np.array([len(np.unique(who * 2**HALVINGS + at // width)) for width in widths])
