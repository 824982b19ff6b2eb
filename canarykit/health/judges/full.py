"""Judging the full release: a holdout if there is one, otherwise limits, a plain picture, and clean-up."""

from __future__ import annotations

import dataclasses

from canarykit.counting import and_more, counted
from canarykit.display import Note
from canarykit.health.checks.check import Check, Status
from canarykit.health.checks.cleanup_checks import cleanup_checks
from canarykit.health.checks.comparison_checks import data_check
from canarykit.health.checks.data_checks import log_checks, value_notes
from canarykit.health.checks.limit_checks import limit_line
from canarykit.health.data.data_state import DataState
from canarykit.health.decision import Row
from canarykit.health.evidence.compare import compare
from canarykit.health.judges.conclude import conclude, decide_now
from canarykit.health.judges.percentage import comparison_report
from canarykit.health.judges.targeted import policy_evidence
from canarykit.health.people.units import stage_units
from canarykit.health.report.by_day import daily_section
from canarykit.health.report.sensitivity import busiest_section
from canarykit.health.report.stage_report import StageReport
from canarykit.health.report.survey import answer_sections
from canarykit.metrics.unit_outcomes import outcomes


def judge_full(data: DataState) -> StageReport:
    """Judge a full release."""
    if data.cohort is None:
        return _without_control(data)
    plan = data.question.plan
    shares = plan.shares(data.question.stage)
    share = shares[plan.canary] / (shares[plan.canary] + shares[plan.holdout.value])
    return comparison_report(data, compare(data, data.cohort, share), cleanup_checks(data))


def _without_control(data: DataState) -> StageReport:
    """Everybody has the feature: limits at any look, a plain picture by day, and what to clean up."""
    question = data.question
    units = stage_units(question, (question.plan.canary,), data.until)
    reduced = outcomes(question.log, [g.metric for g in question.guardrails], units, actor=question.actor)
    who = question.unit_words
    lines = [
        limit_line(question, guardrail, weight, reduced, i, who=who)
        for i, (guardrail, weight) in enumerate(zip(question.guardrails, question.weights, strict=True))
    ]
    lines = [
        line
        if guardrail.limit is not None
        else dataclasses.replace(line, check=_not_comparable(line.check), kept=False)
        for guardrail, line in zip(question.guardrails, lines, strict=True)
    ]
    cleanup = cleanup_checks(data)
    checks: tuple[Check, ...] = (
        data_check(data, len(units), None),
        *log_checks(data),
        *(line.check for line in lines),
        *cleanup,
    )
    evidence = policy_evidence(data, lines, len(units), held=not data.is_whole, proven_only=True)
    row = decide_now(evidence, question.rules)
    note = Note(
        "not_comparable", "at 100 % nobody is without the feature: nothing can be compared at the same time"
    )
    return conclude(
        data,
        row,
        share=1.0,
        arms=(len(units), 0),
        reason=_reason(data, row, checks, proven=all(line.proven for line in lines)),
        checks=checks,
        steps=_steps(row, checks),
        sections=(
            daily_section(data),
            *busiest_section(dict.fromkeys(units["person_id"], "canary"), data.pulse.busy),
            *answer_sections(question),
        ),
        evidence=evidence,
        outcomes=reduced,
        notes=(*value_notes(question, reduced), note),
    )


def _not_comparable(check: Check) -> Check:
    meaning = (
        "Not comparable: everybody has the feature. Judge by the last percentage stage, or keep a holdout. "
        f"For the record: {check.canary}."
    )
    return dataclasses.replace(check, status=Status.UNCLEAR, meaning=meaning)


def _reason(data: DataState, row: Row, checks: tuple[Check, ...], *, proven: bool) -> str:
    stage = data.question.stage
    if row in (Row.TOO_LITTLE, Row.TOO_LITTLE_AFTER_GRACE, Row.CRITICAL_MISSING):
        return f"{stage}: {checks[0].meaning}"
    if row is Row.LIMIT_BREACHED:
        return f"{stage}: {and_more([c.meaning for c in checks if c.status is Status.BREACH])}"
    open_items = sum(c.kind == "clean-up" and c.status is Status.OPEN for c in checks)
    tail = f" {counted(open_items, 'clean-up items are open')}." if open_items else ""
    if row is Row.SAFE:
        return f"{stage}: every limit is kept, by bounds that hold at every look.{tail}"
    above = [c for c in checks[1:] if c.kind in ("validity", "limit") and c.status is Status.HOLD]
    if above:
        return f"{stage}: {above[0].name}: {above[0].meaning}{tail}"
    if data.too_many_unusable and proven and data.dwell_left == 0:
        return f"{stage}: {checks[0].meaning}"
    return f"{stage}: not comparable, since everybody has the feature; nothing here proves it safe.{tail}"


def _steps(row: Row, checks: tuple[Check, ...]) -> tuple[str, ...]:
    steps = [c.meaning for c in checks if c.kind == "clean-up" and c.status is Status.OPEN]
    if row is Row.LIMIT_BREACHED:
        return ("Set the flag back to the last percentage.", *steps)
    if row is not Row.SAFE:
        steps.insert(0, "Rest on the verdict of the last percentage stage, and watch the limits.")
    return tuple(steps)
