"""What other systems' published rules would have said on the same counts: for comparison, never a default.

The formulas and defaults are re-implemented from public documentation and source code, on this stage's
people and events; the products see other data and may differ. Sources: GrowthBook safe rollouts
(github.com/growthbook/growthbook, docs/features/safe-rollouts), Kayenta's NetflixACAJudge
(github.com/spinnaker/kayenta), Argo Rollouts analysis (github.com/argoproj/argo-rollouts), Flagger
(github.com/fluxcd/flagger).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.counting import first_named
from canarykit.display import Column, Note, Result, Table
from canarykit.errors import DataError
from canarykit.health.decision import MIN_UNITS, Row, Verdict, first_decision
from canarykit.metrics.risk import IntervalCounts, RiskSets
from canarykit.periods import moment
from canarykit.stats.others.stopping_rules import (
    TOLERATED_RATE,
    Z_ONE_SIDED,
    growthbook_boundary,
    looks_above,
    pooled_z,
    unpooled_z,
)

if TYPE_CHECKING:
    from canarykit.health.evidence.event_evidence import EvidenceSeries
    from canarykit.health.report.stage_report import StageReport

OWN_RULE = "canarykit"
RULES = (
    OWN_RULE,
    "p < 0.05 at every look",
    "one look at the end",
    "daily group-sequential",
    "GrowthBook safe rollout",
    "Kayenta",
    "Argo Rollouts threshold",
    "Flagger threshold",
)
"""Names of the rules that `compare_rules` knows, in its order."""

_COLUMNS = (
    Column("rule", "rule"),
    Column("says", "says now"),
    Column("first_rollback", "first rollback", "time"),
    Column("looks_in_alarm", "looks in alarm", "count"),
    Column("why", "how it decides"),
)
_MOST_GATES = 30


@dataclass(frozen=True, repr=False, eq=False)
class RuleComparison(Result):
    """Verdicts of several rules on the same stage.

    Parameters
    ----------
    stage
        Name of the stage.
    rows
        (rule, what it says now, time of its first rollback, looks at which it was in alarm, how it decides).
    """

    stage: str
    rows: tuple[tuple[Any, ...], ...]
    notes: tuple[Note, ...] = ()

    def _headline(self) -> str:
        rolled = [row[0] for row in self.rows if row[2] is not None]
        words = f": {first_named(rolled)}" if rolled else ""
        share = f"{len(rolled) or 'none'} of {len(self.rows)} rules"
        return f"{self.stage}: {share} would have rolled back at some look{words}"

    def _table(self) -> Table:
        return Table.of(_COLUMNS, self.rows)


def compare_rules(report: StageReport) -> RuleComparison:
    """Judge a stage's share guardrails by other systems' published rules.

    `DataError` if the stage had no control, or no guardrail is a share of people.
    """
    series = report.series
    if series is None:
        raise DataError(f"stage {report.stage!r} has no control: no rule can compare anything")
    pairs = [
        (judged.guardrail, _oriented(judged.guardrail.worse, sets))
        for judged, sets in zip(series.guardrails, series.risk_sets, strict=True)
        if sets is not None
    ]
    if not pairs:
        raise DataError("no guardrail is a share of people: these rules need counts")
    units = np.diff(series.units_canary, prepend=0), np.diff(series.units_control, prepend=0)
    enough = (series.units_canary >= MIN_UNITS) & (series.units_control >= MIN_UNITS)
    shares = [_shares(sets, *units, swapped=g.worse == "lower") for g, sets in pairs]
    own_row, own_look = first_decision(series.rows)
    own = [series.looks[int(own_look)]] if Row(int(own_row)).verdict is Verdict.ROLL_BACK else []
    rows = [
        (
            OWN_RULE,
            report.verdict.value,
            moment(own[0]) if own else None,
            int(np.isin(series.rows, [row for row in Row if row.verdict is Verdict.ROLL_BACK]).sum()),
            "weighted e-processes, decision table",
        ),
        _ruled("p < 0.05 at every look", series, enough, _fixed(shares), "pooled z test at each look"),
        _ruled(
            "one look at the end",
            series,
            enough,
            _fixed(shares) & (series.looks == series.looks[-1]),
            "pooled z test, p < 0.05, at the end of the evaluation only",
        ),
        _ruled(
            "daily group-sequential",
            series,
            enough,
            _group_sequential(series.looks, shares),
            "pooled z test once a day, Lan-DeMets Pocock boundary over the evaluation so far",
        ),
        _ruled(
            "GrowthBook safe rollout",
            series,
            enough,
            _growthbook(shares),
            "one-sided asymptotic confidence sequence tuned at 5,000 people; not worse ships",
        ),
        _kayenta(series, pairs),
        _ruled(
            "Argo Rollouts threshold",
            series,
            np.ones(len(series.looks), dtype=bool),
            _above(pairs, limit=1),
            f"first interval above {TOLERATED_RATE:g} x the control's mean rate (failureLimit 0)",
        ),
        _ruled(
            "Flagger threshold",
            series,
            np.ones(len(series.looks), dtype=bool),
            _above(pairs, limit=5),
            f"five intervals above {TOLERATED_RATE:g} x the control's mean rate (threshold 5)",
        ),
    ]
    text = (
        "published rules re-implemented on this stage's people; thresholds that those systems leave to the "
        "user are set here, so this compares rules and not products"
    )
    return RuleComparison(report.stage, tuple(rows), (Note("published_rules", text),))


def _oriented(worse: str, sets: RiskSets) -> IntervalCounts:
    return sets.by_interval.swapped() if worse == "lower" else sets.by_interval


def _shares(sets: IntervalCounts, canary: Any, control: Any, *, swapped: bool) -> tuple[Any, Any, Any, Any]:
    """Cumulative events and people of both arms, oriented so that more in the first arm is harm."""
    first, second = (control, canary) if swapped else (canary, control)
    columns = (sets.events_canary, sets.events_control, first, second)
    x, y, n, m = (np.cumsum(column).astype(float) for column in columns)
    return x, y, n, m


def _fixed(shares: list[tuple[Any, Any, Any, Any]]) -> Any:
    return np.logical_or.reduce([pooled_z(*share) > Z_ONE_SIDED for share in shares])


def _group_sequential(looks: Any, shares: list[tuple[Any, Any, Any, Any]]) -> Any:
    """Looks at which a daily group-sequential test of any guardrail is over its boundary."""
    from canarykit.stats.planned_looks import spending_boundary

    day = (looks - looks[0]) // 86_400_000_000
    at = np.flatnonzero(np.append(np.diff(day) > 0, True))[-_MOST_GATES:]
    alarms = []
    for x, y, n, m in shares:
        with np.errstate(divide="ignore"):
            information = (1 / (1 / n + 1 / m))[at]  # 0 while an arm is empty
        more = np.diff(information, prepend=0.0) > 0
        alarm = np.zeros(len(looks), dtype=bool)
        if more.any():
            known, gates = information[more], at[more]
            plan = spending_boundary((known / known[-1]).tolist(), alpha=0.05, sided="one", kind="pocock")
            alarm[gates] = pooled_z(x, y, n, m)[gates] > np.asarray(plan.upper)
        alarms.append(alarm)
    return np.logical_or.reduce(alarms)


def _growthbook(shares: list[tuple[Any, Any, Any, Any]]) -> Any:
    alarms = [unpooled_z(x, y, n, m) > growthbook_boundary(n + m) for x, y, n, m in shares]
    return np.logical_or.reduce(alarms)


def _above(pairs: list[tuple[Any, IntervalCounts]], *, limit: int) -> Any:
    """Looks from which `limit` intervals in all were above the threshold, for any guardrail."""
    alarms = []
    for _, sets in pairs:
        total = sets.at_risk_control.sum()
        usual = sets.events_control.sum() / total if total else 0.0
        alarms.append(looks_above(sets.events_canary, sets.at_risk_canary, usual, times=limit))
    return np.logical_or.reduce(alarms)


def _kayenta(series: EvidenceSeries, pairs: list[tuple[Any, IntervalCounts]]) -> tuple[Any, ...]:
    """Mann-Whitney on the rates per interval, judged once over the whole stage as the product does."""
    from canarykit.stats.others.mann_whitney import classify_series

    labels = []
    for guardrail, sets in pairs:
        both = (sets.at_risk_canary > 0) & (sets.at_risk_control > 0)
        rates = (
            sets.events_canary[both] / sets.at_risk_canary[both],
            sets.events_control[both] / sets.at_risk_control[both],
        )
        labels.append((guardrail.label, classify_series(*rates, direction="increase").label))
    failed = [name for name, label in labels if label != "Pass"]
    says = Verdict.ROLL_BACK if failed else Verdict.PROMOTE
    when = moment(series.looks[-1]) if failed else None
    why = "Mann-Whitney on rates per interval at the end: " + ", ".join(f"{n} {label}" for n, label in labels)
    return ("Kayenta", says.value, when, len(failed) and 1, why)


def _ruled(rule: str, series: EvidenceSeries, enough: Any, alarms: Any, why: str) -> tuple[Any, ...]:
    alarms = alarms & enough
    at = np.flatnonzero(alarms)
    says = Verdict.ROLL_BACK if at.size else Verdict.PROMOTE if enough[-1] else Verdict.HOLD
    return (rule, says.value, moment(series.looks[at[0]]) if at.size else None, int(alarms.sum()), why)
