"""Guardrails proposed from what a log has, each with a margin that its traffic can tell."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.arguments import checked
from canarykit.counting import counted
from canarykit.display import Column, Note, Result, Table, format_value
from canarykit.errors import DataError, PlanError, did_you_mean
from canarykit.events.log import as_log
from canarykit.flags.given import key_of
from canarykit.health.people.present import present_units
from canarykit.health.tellable import Measured, Planned
from canarykit.metrics.direction import event_direction, has_harm_word, number_direction
from canarykit.metrics.guardrail import Guardrail
from canarykit.metrics.share import Conversion, ErrorShare, MetricSpec, ShareMetric
from canarykit.metrics.time_to_event import TimeToEvent
from canarykit.metrics.unit_outcomes import Outcomes, outcomes
from canarykit.metrics.values import Metric, Quantile, Total
from canarykit.periods import column_micros
from canarykit.plan.given import as_plan
from canarykit.times import DAY, duration

if TYPE_CHECKING:
    import pyarrow as pa

    from canarykit.events import EventLog
    from canarykit.flags import Flag
    from canarykit.plan import RolloutPlan
    from canarykit.typing import Frame

MOST = {"error": 3, "time": 2, "money": 1, "conversion": 2, "speed": 1}
"""Proposals of each kind at most."""
HIGHER, LOWER, SLOWER = (
    (1.1, 1.25, 1.5, 2.0, 3.0, 5.0),
    (0.98, 0.95, 0.9, 0.8, 0.7, 0.5),
    (1.1, 1.25, 1.5, 2.0),
)
"""Margins that are tried, the tightest first."""
FEWEST, MOST_COMMON = 0.005, 0.95
"""Share of people between which an event is taken for a conversion that may change."""
SOON = ("10s", "30s", "1min", "5min", "15min", "1h", "3h", "6h", "12h", "1d", "3d", "7d")
"""Times in which what nearly everybody does should have happened: the first in which nine in ten did it."""
AT_ONCE = 1.0
"""Median seconds below which an event is part of the exposure, and cannot come any later."""
_VITALS = ("$web_vitals_LCP_value", "$web_vitals_INP_value")
_GOALS = (
    "paid", "payment", "purchase", "purchased", "order", "ordered", "checkout", "subscribed", "subscription",
    "upgrade", "upgraded", "signup", "registered", "completed", "finished",
)  # fmt: skip
_NOT_GOALS = ("survey sent", "survey shown", "survey dismissed")


@dataclass(frozen=True, repr=False, eq=False)
class SuggestedGuardrails(Result):
    """Guardrails that a log and its traffic allow.

    Parameters
    ----------
    guardrails
        To be given to `evaluate_stage`, after a look at them.
    rows
        One a guardrail: which direction is harm, what it is now, how many people that rests on, what is
        tolerated, the chance that a harmless release is shown to be within it by the end of the dwell, the
        smallest harm that is seen by then with the chance asked for, and why it was chosen.
    """

    guardrails: tuple[Guardrail, ...]
    rows: tuple[tuple[Any, ...], ...]
    notes: tuple[Note, ...] = ()

    _COLUMNS = (
        Column("guardrail", "guardrail"),
        Column("worse", "worse when"),
        Column("now", "now"),
        Column("people", "people measured", "count"),
        Column("tolerated", "tolerated"),
        Column("safe", "shown safe in time, if harmless", "share"),
        Column("seen", "harm seen in time from"),
        Column("because", "because"),
    )

    def __iter__(self) -> Iterator[Guardrail]:
        return iter(self.guardrails)

    @property
    def code(self) -> str:
        """The same guardrails as Python that can be pasted after `import canarykit as ck`."""
        lines = "".join(f"    {_code(item)},\n" for item in self.guardrails)
        return f"guardrails = [\n{lines}]"

    def _headline(self) -> str:
        count = len(self.guardrails)
        return f"{count} guardrail{'s' * (count != 1)} proposed from what the log has; read them before use"

    def _table(self) -> Table:
        return Table.of(self._COLUMNS, self.rows)

    def _extra_json(self) -> dict[str, Any]:
        return {"guardrails": [item.to_dict() for item in self.guardrails], "code": self.code}


@checked
def suggest_guardrails(
    log: EventLog | Frame,
    flag: str | Flag,
    plan: RolloutPlan | None = None,
    *,
    stage: str | None = None,
    dwell: str | None = None,
    power: float = 0.8,
) -> SuggestedGuardrails:
    """Propose guardrails: errors, rage clicks, load times, revenue and conversions that a log has.

    Of a conversion that nearly everybody reaches, the time to it is proposed: how soon is what can be harmed.

    Parameters
    ----------
    log
        Events from before or during the release.
    flag
        Whose people are counted: those who called it. Nobody yet: everybody in the log.
    plan
        Gives the canary's share and the length of the stage; without it half of the people for a week.
    stage
        Percentage stage to plan for; by default the plan's last one, after which everybody gets the feature.
    dwell
        How long the stage lasts, such as "3d"; by default its length in the plan, or "7d".
    power
        Chance of showing a harmless release to be safe by then, the margin being the tightest with it, and
        of seeing the harm that is told.

    Returns
    -------
    SuggestedGuardrails
        Its `guardrails` go into `evaluate_stage`, its `code` into a notebook. What was assumed is in `notes`.

    Raises
    ------
    DataError
        If the log has no events.

    Examples
    --------
    >>> import canarykit as ck
    >>> plan = ck.RolloutPlan(
    ...     "new-checkout", (ck.Stage.for_share("half", 50, dwell="4d"),), starts_at="2026-09-07T09:00:00Z"
    ... )
    >>> log = ck.simulate_rollout(plan, ck.Population(2000), rng=7, progress=False)
    >>> found = ck.suggest_guardrails(log, "new-checkout", plan)
    >>> [(item.label, item.worse) for item in found.guardrails][:2]
    [('people with $exception', 'higher'), ('95 % quantile of load_ms', 'higher')]
    """
    log, plan = as_log(log), None if plan is None else as_plan(plan)
    if not 0 < power < 1:
        raise PlanError(f"power is {power}; expected a chance between 0 and 1, such as 0.8")
    end = log.time_range[1]
    if end is None:
        raise DataError("the log has no events: there is nothing to propose guardrails from")
    share, seconds, notes = _stage_of(plan, stage, dwell)
    units, per_day, more = present_units(log, key_of(flag), plan, seconds, end)
    notes += more
    chosen = _candidates(log)
    if not chosen or units.empty:
        return SuggestedGuardrails((), (), (*notes, Note("nothing", "nothing in the log names a harm")))
    reduced = outcomes(log, [metric for metric, _, _ in chosen], units)
    people = max(round(per_day * seconds / DAY), 4)
    measured = [(metric, kind, why, Measured.of(reduced, i)) for i, (metric, kind, why) in enumerate(chosen)]
    kept = _best([*measured, *_speeds(reduced, measured)])
    proposals = [
        _proposal(metric, why, base, people, share, power, len(kept)) for metric, _, why, base in kept
    ]
    notes.append(
        Note(
            "traffic",
            f"about {counted(people, 'people')} come into the stage in {format_value(seconds, 'seconds')}, "
            f"{format_value(share, 'share')} of them into the canary; the arms are what they are now",
        )
    )
    notes += [
        Note("too_few", f"{row[0]}: even the widest margin tried ({row[4]}) is rarely shown in that time")
        for _, row in proposals
        if row[5] < power
    ]
    notes.append(
        Note(
            "assumed",
            "chosen by the names of events and properties; margins are what the traffic can tell, not what "
            "the product can bear; chances are approximate, by the limits of all looks",
        )
    )
    return SuggestedGuardrails(
        tuple(g for g, _ in proposals), tuple(row for _, row in proposals), tuple(notes)
    )


def _stage_of(
    plan: RolloutPlan | None, stage: str | None, dwell: str | None
) -> tuple[float, float, list[Note]]:
    """Canary's share and seconds of the stage that is planned for."""
    if plan is None:
        if stage is not None:
            raise PlanError(f"stage is {stage!r} but there is no plan: give plan=")
        text = "no plan: half of the people get the canary"
        return 0.5, duration(dwell or "7d", name="dwell"), [Note("no_plan", text)]
    drawn = [item.name for item in plan.stages if item.kind == "percentage"]
    if not drawn:
        raise PlanError("the plan has no percentage stage: there is no control to compare with")
    name = stage or drawn[-1]
    if name not in drawn:
        raise PlanError(f"stage is {name!r}, which is not a percentage stage; {did_you_mean(name, drawn)}")
    if dwell is not None:
        seconds = duration(dwell, name="dwell")
    else:
        start, stop = plan.window(name) if plan.has_windows else (None, None)
        seconds = (stop - start).total_seconds() if start is not None and stop is not None else 7 * DAY
    share = float(plan.share(name) or 0.5)
    return share, seconds, [Note("stage", f"planned for the stage {name!r}")]


def _candidates(log: EventLog) -> list[tuple[Metric, str, str]]:
    """Metrics that the names in a log suggest, with their kind and the reason."""
    names = [name for name, count in log.event_names().items() if count]
    chosen: list[tuple[Metric, str, str]] = [
        (ErrorShare(name), "error", "an error by its name")
        for name in names
        if event_direction(name) == "higher"
    ]
    for event, number in _numbers(log, names):
        if number_direction(event, number) == "higher":
            chosen.append((Quantile(event, number), "time", "a time by its name"))
        elif number_direction(event, number) == "lower":
            chosen.append((Total(event, number), "money", "an amount of money by its name"))
    chosen += [
        (Conversion(name, within=None), "conversion", "what people come for, by its name")
        for name in names
        if _is_goal(name)
    ]
    return chosen


def _speeds(found: Outcomes, measured: Iterable[Any]) -> list[Any]:
    """The time to each conversion that nearly everybody reaches, within the time that most need for it."""
    speeds = []
    for i, (metric, kind, _, base) in enumerate(measured):
        first = found.first[i]
        if kind != "conversion" or first is None or not base.value > MOST_COMMON:
            continue
        after = (first - column_micros(found.units["entered_at"]))[first >= 0] / 1e6
        usual = float(np.quantile(after, 0.9))
        within = next((time for time in SOON if duration(time, name="within") > usual), None)
        if within is None or float(np.median(after)) < AT_ONCE:
            continue
        share = float((after < duration(within, name="within")).sum()) / base.people
        level = Measured(share, math.sqrt(share * (1 - share)), base.people)
        why = "nearly everybody does it: what can be harmed is how soon"
        speeds.append((TimeToEvent(metric.event, within=within), "speed", why, level))
    return speeds


def _is_goal(name: str) -> bool:
    plain = not name.startswith("$") and name not in _NOT_GOALS and event_direction(name) is None
    return plain and not has_harm_word(name)


def _numbers(log: EventLog, names: Iterable[str]) -> list[tuple[str, str]]:
    """Event and property where a number of time or money stands, the most frequent first."""
    properties = [name for name in log.property_names() if number_direction("event", name) is not None]
    vitals = [name for name in properties if name.startswith("$web_vitals_")]
    properties = [name for name in properties if name not in vitals or name in _VITALS]
    if not properties:
        return []
    parts = log.reduce(["event", *properties], partial(_count_numbers, properties=tuple(properties)))
    counts: dict[tuple[str, str], int] = {}
    for part in parts:
        for key, count in part.items():
            counts[key] = counts.get(key, 0) + count
    asked = set(names)
    return sorted((key for key, n in counts.items() if n and key[0] in asked), key=lambda k: (-counts[k], k))


def _count_numbers(events: pa.Table, *, properties: tuple[str, ...]) -> dict[tuple[str, str], int]:
    import pandas as pd

    frame = events.select(["event", *properties]).to_pandas()
    counts = {}
    for name in properties:
        numeric = pd.to_numeric(frame[name], errors="coerce").notna()
        for event, count in frame.loc[numeric, "event"].value_counts().items():
            counts[str(event), name] = int(count)
    return counts


def _best(measured: list[Any]) -> list[Any]:
    """The proposals of each kind: the most telling first, no more than a reader can watch."""
    money = {metric.event for metric, kind, _, _ in measured if kind == "money"}

    def rank(item: Any) -> tuple[Any, ...]:
        metric, kind, _, base = item
        if kind in ("conversion", "speed"):
            words = metric.event.lower().replace("_", " ").replace("-", " ").split()
            return (metric.event not in money, not any(word in _GOALS for word in words), base.value)
        if kind == "time":
            return (not metric.property_name.startswith("$web_vitals"), -base.people)
        return (getattr(metric, "event", "") != "$exception", -base.value)

    kept = []
    for kind, most in MOST.items():
        usable = [item for item in measured if item[1] == kind and item[3].value > 0]
        if kind == "conversion":
            usable = [item for item in usable if FEWEST <= item[3].value <= MOST_COMMON]
        seen: set[str] = set()
        for item in sorted(usable, key=rank):
            number = getattr(item[0], "property_name", None) or item[0].event
            if number not in seen and len(seen) < most:
                seen.add(number)
                kept.append(item)
    return kept


def _proposal(
    metric: Metric,
    why: str,
    base: Measured,
    people: int,
    share: float,
    power: float,
    count: int,
) -> tuple[Guardrail, tuple[Any, ...]]:
    """The tightest margin of the ladder that a harmless release is shown to be within in time."""
    n = people * base.part
    arms = max(round(n * share), 1), max(round(n * (1 - share)), 1)
    worse = metric.harmful_direction or "lower"
    ladder = LOWER if worse == "lower" else SLOWER if isinstance(metric, Quantile) else HIGHER
    planned = Planned(metric, base, *arms, count)
    for margin in ladder:
        safe = planned.shown_safe(margin)
        if safe >= power:
            break
    harm = planned.harm_seen(margin, power)
    seen = "no harm up to 20 times" if harm is None else f"{harm:.2g} times"
    critical = isinstance(metric, ErrorShare) and metric.event == "$exception"
    guardrail = Guardrail(metric, margin_ratio=margin, critical=critical)
    now = format_value(base.value, "share" if isinstance(metric, ShareMetric) else "number")
    now = now.replace(" ", "\u00a0")  # a number stays with its unit
    tolerated = f"{'down' if worse == 'lower' else 'up'} to {margin:g} times"
    row = (guardrail.label, worse, now, base.people, tolerated, safe, seen, why)
    return guardrail, row


def _code(guardrail: Guardrail) -> str:
    options = [f"margin_ratio={guardrail.margin_ratio:g}"]
    if guardrail.critical:
        options.append("critical=True")
    return f"ck.Guardrail({_spec(guardrail.metric)}, {', '.join(options)})"


def _spec(metric: MetricSpec) -> str:
    """The call that makes a metric, with what differs from its defaults."""
    given = []
    for item in dataclasses.fields(metric):
        value = getattr(metric, item.name)
        if item.name in ("event", "property_name"):
            given.append(repr(value))
        elif value != item.default:
            given.append(f"{item.name}={value!r}")
    return f"ck.metrics.{type(metric).__name__}({', '.join(given)})"
