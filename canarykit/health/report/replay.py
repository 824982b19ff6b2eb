"""A past release judged again at every look it lived: who would have acted when, and for how many people."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from canarykit.arguments import checked
from canarykit.display import Column, Note, Result, Table, format_value
from canarykit.errors import DataError, PlanError, did_you_mean
from canarykit.events.log import as_log
from canarykit.health.decision import Verdict, verdict_of
from canarykit.health.evaluate import evaluate_stage
from canarykit.health.report.other_rules import OWN_RULE, RULES, compare_rules
from canarykit.health.report.release_report import ReleaseReport
from canarykit.metrics.guardrail import Guardrail
from canarykit.periods import column_micros, moment
from canarykit.plan.given import as_plan
from canarykit.times import to_utc

if TYPE_CHECKING:
    from canarykit.events import EventLog
    from canarykit.health.evidence.event_evidence import EvidenceSeries
    from canarykit.health.report.stage_report import StageReport
    from canarykit.plan import RolloutPlan
    from canarykit.typing import Frame, Time

_COLUMNS = (
    Column("stage", "stage"),
    Column("rule", "rule"),
    Column("says", "acts"),
    Column("acted_at", "at", "time"),
    Column("after", "into the stage", "seconds"),
    Column("people", "had it by then", "count"),
    Column("later", "got it later", "count"),
    Column("rerun", "to run again if false", "seconds"),
    Column("end", "what the end showed"),
)
_MOST_CHECKS = 12
"""Looks of a stage at which the whole report is made to see whether it acts as the evidence says."""


@dataclass(frozen=True, repr=False, eq=False)
class Replay(Result):
    """When each rule would have acted in a release that is over, by stage.

    Parameters
    ----------
    flag
        Which release.
    rows
        One a stage and rule: stage, rule, "roll back", "promote" or "hold" (it never acted), when it acted
        first and how many seconds into the stage, how many had met the canary in the stage by then, how many
        more met it in the stage later, how many seconds of the stage would have to be run again if the
        rollback had been a false alarm, and what canarykit's evidence showed at the stage's end.

    Notes
    -----
    Those who got the canary later are what an earlier action would have spared, if there was harm; if there
    was none, they are kept waiting, those who had it lose it again, and the stage starts anew. Which of both
    it was nobody knows for sure: `end` tells what was shown with all data of the stage ("harm",
    "within the margin" or "open"). Only the stage itself is counted, no later one.
    """

    flag: str
    rows: tuple[tuple[Any, ...], ...]
    notes: tuple[Note, ...] = ()

    def acted(self, stage: str, rule: str = OWN_RULE) -> dict[str, Any]:
        """The row of a stage and rule by column name: `says`, `acted_at`, `people`, `later` and the others.

        Raises
        ------
        DataError
            If that stage or rule was not replayed.
        """
        for name, position, wanted in (("stage", 0, stage), ("rule", 1, rule)):
            replayed = list(dict.fromkeys(row[position] for row in self.rows))
            if wanted not in replayed:
                raise DataError(f"no {name} {wanted!r} was replayed; {did_you_mean(wanted, replayed)}")
        keys = [column.key for column in _COLUMNS]
        rows = [row for row in self.rows if row[:2] == (stage, rule)]
        if not rows:
            raise DataError(f"rule {rule!r} could compare nothing in stage {stage!r}; the notes say why")
        return dict(zip(keys, rows[0], strict=True))

    def _headline(self) -> str:
        stages = len({row[0] for row in self.rows})
        first = self.rows[0][1]
        back = [row for row in self.rows if row[1] == first and row[2] == Verdict.ROLL_BACK.value]
        on = sum(row[1] == first and row[2] == Verdict.PROMOTE.value for row in self.rows)
        if not back:
            none = f"would have rolled back none of {stages} randomised stages"
            return f"{self.flag}: {first} {none} and promoted {on}"
        verdicts = "; ".join(
            f"{row[0]} after {format_value(row[4], 'seconds')}, when {row[5]:,} had it and {row[6]:,} not yet"
            for row in back
        )
        return f"{self.flag}: {first} would have rolled back {verdicts}"

    def _table(self) -> Table:
        return Table.of(_COLUMNS, self.rows)


@checked
def replay(
    log: EventLog | Frame,
    plan: RolloutPlan,
    guardrails: Sequence[Guardrail] | Guardrail | None = None,
    *,
    rules: Sequence[str] | str | None = None,
    every: str = "1h",
    as_of: Time | None = None,
    **options: Any,
) -> Replay:
    """Judge a past release at every look it lived: when would each rule have acted, and what was at stake.

    Each randomised stage is evaluated once, which gives the evidence at every look up to its end. Where
    canarykit's evidence first acts, the whole report is made as of that look and its neighbour, so the time
    told is one at which `evaluate_stage` acts and before which it did not.

    Parameters
    ----------
    log, plan, guardrails
        As for `evaluate_stage`.
    rules
        Names of rules: "canarykit", and the published ones of `StageReport.compare_rules`; all if left out.
    every
        How often one looks.
    as_of
        Where the replay stops, unless a stage ends before; the last event if left out.
    **options
        Further keywords of `evaluate_stage`, such as `alpha_rollback` or `people`.

    Returns
    -------
    Replay
        One row a stage and rule. Stages without a control are left out, and a note counts them.

    Raises
    ------
    PlanError
        For a rule that does not exist.
    DataError
        For a log without events, or if no stage with a control has begun.

    References
    ----------
    The published rules are cited in `canarykit.health.report.other_rules`.

    Examples
    --------
    >>> import canarykit as ck
    >>> from canarykit.simulate import Effect
    >>> plan = ck.RolloutPlan(
    ...     "new-checkout", (ck.Stage.for_share("half", 50, dwell="2d"),), starts_at="2026-09-07T09:00:00Z"
    ... )
    >>> broken = ck.Scenario(effects=[Effect("errors", 30)])
    >>> log = ck.simulate_rollout(plan, ck.Population(2000), broken, rng=7)
    >>> lived = ck.replay(log, plan, rules=["canarykit", "one look at the end"], segments=())
    >>> first, last = (lived.acted("half", rule) for rule in ("canarykit", "one look at the end"))
    >>> first["says"], first["acted_at"] < last["acted_at"], last["later"]
    ('roll back', True, 0)
    """
    log, plan = as_log(log), as_plan(plan)
    named = RULES if rules is None else (rules,) if isinstance(rules, str) else tuple(dict.fromkeys(rules))
    for name in named:
        if name not in RULES:
            raise PlanError(f"there is no rule {name!r}; {did_you_mean(name, RULES)}")
    if not named:
        raise PlanError("rules is empty; leave it out to replay every rule")
    newest = log.time_range[1] if as_of is None else as_of
    if newest is None:
        raise DataError("the log has no events: there is nothing to replay")
    now = to_utc(newest, name="as_of")
    options = {**options, "looks": every}
    rows: list[tuple[Any, ...]] = []
    notes: list[Note] = []
    without = []
    for stage, (start, end) in plan.windows().items():
        if start >= now:
            continue
        if plan.stage(stage).kind == "targeted":
            without.append(stage)
            continue
        at = now if end is None else min(now, end)
        report = evaluate_stage(log, plan, stage, guardrails, as_of=at, **options)
        variants = report.by_variant if isinstance(report, ReleaseReport) else {None: report}
        for key, one in variants.items():
            label = stage if key is None else f"{stage}: {key}"
            if one.series is None:
                without.append(label)
                continue
            asked = options if key is None else {**options, "variants": key}

            def report_at(look: int, stage: str = stage, asked: dict[str, Any] = asked) -> StageReport:
                return evaluate_stage(log, plan, stage, guardrails, as_of=moment(look), **asked)

            rows_of_rule, rule_notes = _Lived(label, one, one.series).judge(named, report_at)
            rows += rows_of_rule
            notes += rule_notes
    if not rows:
        raise DataError(f"no stage of {plan.flag!r} with a control has begun: there is nothing to replay")
    if without:
        text = f"stages without a control, which no rule can compare: {', '.join(without)}"
        notes.append(Note("no_control", text, len(without)))
    if named != (OWN_RULE,):
        text = (
            "published rules re-implemented on the people of each stage; thresholds that those systems leave "
            "to the user are set here, so this compares rules and not products"
        )
        notes.append(Note("published_rules", text))
    return Replay(plan.flag, tuple(rows), tuple(notes))


@dataclass(frozen=True)
class _Lived:
    """One stage (of one variant) with its evidence at every look."""

    label: str
    report: StageReport
    series: EvidenceSeries

    def judge(
        self, named: Sequence[str], report_at: Callable[[int], StageReport]
    ) -> tuple[list[tuple[Any, ...]], list[Note]]:
        """Rows of the rules named, in their order, and what the reader must know."""
        rows: list[tuple[Any, ...]] = []
        notes: list[Note] = []
        if OWN_RULE in named:
            row, own_notes = self.own(report_at)
            rows.append(row)
            notes += own_notes
        if set(named) != {OWN_RULE}:
            others, own_notes = self.others(named)
            rows += others
            notes += own_notes
        return sorted(rows, key=lambda row: named.index(row[1])), notes

    def own(self, report_at: Callable[[int], StageReport]) -> tuple[tuple[Any, ...], list[Note]]:
        """canarykit's row: its first look of those that act.

        The evidence of the whole stage tells where to look; what is only known of the present, such as how
        fresh the data are, a report as of that look tells.
        """
        looks = self.series.looks
        said = {len(looks) - 1: self.report.verdict}

        def acts(look: int) -> bool:
            if look not in said:
                said[look] = report_at(int(looks[look])).verdict
            return said[look] is not Verdict.HOLD

        candidates = [i for i, row in enumerate(self.series.rows) if verdict_of(int(row)) is not Verdict.HOLD]
        first = next((i for i in candidates[:_MOST_CHECKS] if acts(i)), None)
        if first is None and candidates and acts(len(looks) - 1):
            first = len(looks) - 1
        notes = []
        if candidates and first != candidates[0]:
            begun = format_value(moment(int(looks[candidates[0]])), "time")
            text = f"{self.label}: the evidence sufficed from {begun} on, but the report as of then held"
            notes.append(Note("held_at_first", text))
        if first is None:
            return self.row(OWN_RULE, Verdict.HOLD, None), notes
        while first > 0 and len(said) < 2 * _MOST_CHECKS and acts(first - 1):
            first -= 1
        return self.row(OWN_RULE, said[first], int(looks[first])), notes

    def others(self, named: Sequence[str]) -> tuple[list[tuple[Any, ...]], list[Note]]:
        """Rows of the published rules; what they did not stop they ship at the end of the stage."""
        try:
            compared = compare_rules(self.report).rows
        except DataError as error:
            return [], [Note("no_rules", f"{self.label}: {error}")]
        rows = []
        for rule, verdict, first_rollback, *_ in compared:
            if rule == OWN_RULE or rule not in named:
                continue
            says = Verdict.ROLL_BACK if first_rollback is not None else Verdict(verdict)
            at = int(self.series.looks[-1]) if first_rollback is None else first_rollback.value // 1000
            rows.append(self.row(rule, says, None if says is Verdict.HOLD else at))
        return rows, []

    def row(self, rule: str, says: Verdict, at: int | None) -> tuple[Any, ...]:
        """What was at stake when a rule acted, at microsecond `at`; nothing where it never did."""
        if at is None:
            return (self.label, rule, says.value, None, None, None, None, None, self.end)
        assert self.report.found is not None
        met = column_micros(self.report.found.units["exposed_at"])[self.report.found.canary]
        by_then = int((met < at).sum())
        after = (at - self.report.starts_at.value // 1000) / 1e6
        rerun = after if says is Verdict.ROLL_BACK else None
        when = moment(at).tz_convert(self.report.timezone)
        return (self.label, rule, says.value, when, after, by_then, len(met) - by_then, rerun, self.end)

    @property
    def end(self) -> str:
        """What the evidence shows with all data of the stage."""
        needed = {name: math.log(level) for name, level in self.series.thresholds.items()}
        guardrails = self.series.guardrails
        if any(g.weighted_log_e[-1] >= needed["roll back"] for g in guardrails):
            return "harm"
        safe = [g.standing_safe_log_e(needed["roll back"])[-1] >= needed["promote"] for g in guardrails]
        return "within the margin" if safe and all(safe) else "open"
