"""Judging the full release: a holdout if there is one, otherwise limits, a plain picture, and clean-up."""

from __future__ import annotations

import dataclasses

import numpy as np

from canarykit.display import Note
from canarykit.health.checks.check import Check, Status
from canarykit.health.checks.cleanup_checks import cleanup_checks
from canarykit.health.checks.comparison_checks import data_check
from canarykit.health.checks.data_checks import log_checks, value_notes
from canarykit.health.checks.limit_checks import limit_line
from canarykit.health.decision import Row, decide
from canarykit.health.evidence.compare import compare
from canarykit.health.judges.percentage import comparison_report
from canarykit.health.judges.targeted import policy_evidence
from canarykit.health.people.cohort import Cohort
from canarykit.health.people.units import by_stage_rows
from canarykit.health.question import Question
from canarykit.health.report.audit_record import audit_record
from canarykit.health.report.by_day import daily_section
from canarykit.health.report.sensitivity import busiest_section
from canarykit.health.report.stage_report import StageReport
from canarykit.health.report.survey import answer_sections
from canarykit.metrics.unit_outcomes import outcomes

__all__ = ["holdout_cohort", "judge_full"]


def judge_full(question: Question) -> StageReport:
    """Judge a full release."""
    cohort = holdout_cohort(question) if question.cohort is None else question.cohort
    return _without_control(question) if cohort is None else _with_holdout(question, cohort)


def holdout_cohort(question: Question) -> Cohort | None:
    """Everybody against the holdout, which was drawn before any condition; None without anybody in it."""
    plan = question.plan
    if plan.holdout is None:
        return None
    value = plan.holdout.value
    rows = by_stage_rows(question)
    rows = rows[(rows["stage"] == question.stage) & (rows["exposed_at"] < question.stop)]
    if not (rows["variant"] == value).any():
        return None
    rows = rows[rows["variant"].isin([plan.canary, value])].reset_index(drop=True)
    before = by_stage_rows(question)
    earlier = set(before.loc[before["stage"] != question.stage, "person_id"])
    units = rows.assign(
        canary=(rows["variant"] == plan.canary).to_numpy(bool),
        entered_at=rows["exposed_at"],
        leaves_at=question.stop,
        several=(rows["n_variants"] > 1).to_numpy(bool),
        returning=rows["person_id"].isin(earlier).to_numpy(bool),
        crossed=False,
    )
    counts = (
        ("compared: everybody against the holdout", len(units)),
        ("of them in the holdout", int((~units["canary"]).sum())),
    )
    return Cohort(units, counts)


def _with_holdout(question: Question, cohort: Cohort) -> StageReport:
    plan = question.plan
    shares = plan.shares(question.stage)
    share = shares[plan.canary] / (shares[plan.canary] + shares[plan.holdout.value])
    report = comparison_report(question, compare(question, share=share, cohort=cohort), share)
    return dataclasses.replace(report, checks=(*report.checks, *cleanup_checks(question)))


def _without_control(question: Question) -> StageReport:
    plan = question.plan
    rows = by_stage_rows(question)
    rows = rows[(rows["stage"] == question.stage) & (rows["exposed_at"] < question.stop)]
    units = rows[rows["variant"] == plan.canary].reset_index(drop=True)
    units = units.assign(canary=True, entered_at=units["exposed_at"], leaves_at=question.stop)
    found = outcomes(question.log, [g.metric for g in question.guardrails], units, actor=question.actor)
    who = question.unit_words
    lines = [
        limit_line(question, guardrail, weight, found, i, who=who)
        for i, (guardrail, weight) in enumerate(zip(question.guardrails, question.weights, strict=True))
    ]
    lines = [
        line
        if guardrail.limit is not None
        else dataclasses.replace(line, check=_not_comparable(line.check), kept=False)
        for guardrail, line in zip(question.guardrails, lines, strict=True)
    ]
    cleanup = cleanup_checks(question)
    checks: tuple[Check, ...] = (
        data_check(question, len(units), None),
        *log_checks(question),
        *(line.check for line in lines),
        *cleanup,
    )
    evidence = policy_evidence(question, lines, len(units), held=bool(question.open_gaps), proven_only=True)
    row = Row(int(np.ravel(decide(evidence, question.rules))[-1]))
    note = Note(
        "not_comparable", "at 100 % nobody is without the feature: nothing can be compared at the same time"
    )
    return StageReport(
        flag=plan.flag,
        stage=question.stage,
        kind=question.kind,
        share=1.0,
        starts_at=question.start,
        ends_at=question.end,
        as_of=question.as_of,
        verdict=row.verdict,
        row=row,
        reason=_reason(question, row, checks),
        n_canary=len(units),
        n_control=0,
        checks=checks,
        next_steps=_steps(row, checks),
        sections=(
            daily_section(question),
            *busiest_section(dict.fromkeys(units["person_id"], "canary"), question),
            *answer_sections(question),
        ),
        audit=audit_record(question, row, evidence, found=found),
        unit=who,
        found=found,
        gaps=question.gaps,
        notes=(
            *question.log.notes,
            *question.exposures.notes,
            *value_notes(question, found),
            note,
        ),
    )


def _not_comparable(check: Check) -> Check:
    meaning = (
        "Not comparable: everybody has the feature. Judge by the last percentage stage, or keep a holdout. "
        f"For the record: {check.canary}."
    )
    return dataclasses.replace(check, status=Status.UNCLEAR, meaning=meaning)


def _reason(question: Question, row: Row, checks: tuple[Check, ...]) -> str:
    stage = question.stage
    if row in (Row.TOO_LITTLE, Row.TOO_LITTLE_AFTER_GRACE, Row.CRITICAL_MISSING):
        return f"{stage}: {checks[0].meaning}"
    if row is Row.LIMIT_BREACHED:
        return f"{stage}: " + " ".join(c.meaning for c in checks if c.status is Status.BREACH)
    open_items = sum(c.kind == "clean-up" and c.status is Status.OPEN for c in checks)
    tail = f" {open_items} clean-up item(s) open." if open_items else ""
    if row is Row.SAFE:
        return f"{stage}: every limit is kept, by exact bounds.{tail}"
    above = [c for c in checks if c.kind in ("validity", "limit") and c.status is Status.HOLD]
    if above:
        return f"{stage}: {above[0].name}: {above[0].meaning}{tail}"
    return f"{stage}: not comparable, since everybody has the feature; nothing here proves it safe.{tail}"


def _steps(row: Row, checks: tuple[Check, ...]) -> tuple[str, ...]:
    steps = [c.meaning for c in checks if c.kind == "clean-up" and c.status is Status.OPEN]
    if row is Row.LIMIT_BREACHED:
        return ("Set the flag back to the last percentage.", *steps)
    if row is not Row.SAFE:
        steps.insert(0, "Rest on the verdict of the last percentage stage, and watch the limits.")
    return tuple(steps)
