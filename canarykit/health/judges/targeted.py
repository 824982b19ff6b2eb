"""Judging a targeted stage: chosen people, exact bounds, and no causal claim."""

from __future__ import annotations

import numpy as np

from canarykit.display import Note, format_value
from canarykit.health.checks.before_and_after import change_check, changes_section, find_change
from canarykit.health.checks.check import Arm, Check, Section, Status
from canarykit.health.checks.comparison_checks import data_check
from canarykit.health.checks.data_checks import log_checks, value_notes
from canarykit.health.checks.limit_checks import LimitLine, limit_line, session_section
from canarykit.health.decision import Evidence, Row, decide
from canarykit.health.people.units import before_and_after, sessions_of, stage_units
from canarykit.health.question import Question
from canarykit.health.report.audit_record import audit_record
from canarykit.health.report.organisations import groups_of, organisation_section
from canarykit.health.report.reasons import GAP_STEP, listed
from canarykit.health.report.segments import where_sections
from canarykit.health.report.sensitivity import busiest_section
from canarykit.health.report.stage_report import StageReport
from canarykit.health.report.survey import answer_sections

__all__ = ["PROVEN", "judge_targeted", "policy_evidence"]

PROVEN = 100.0
"""Log evidence written down for what is known without chance: a bound kept, a rule met."""


def judge_targeted(question: Question) -> StageReport:
    """Judge a stage of chosen people: limits, before and after, and whether the switch was tried."""
    units = stage_units(question)
    actor = question.actor
    before, after = before_and_after(question, units, actor=actor)
    n_canary = int(after.canary.sum())
    who = question.unit_words
    groups = groups_of(question, units)
    found = [find_change(g, before, after, i, groups) for i, g in enumerate(question.guardrails)]
    lines = [
        limit_line(question, guardrail, weight, after, i, who=who, change=found[i])
        for i, (guardrail, weight) in enumerate(zip(question.guardrails, question.weights, strict=True))
    ]
    changes = [change for change in found if change is not None]
    paired = [change_check(change, who=who) for change in changes]
    events = tuple(dict.fromkeys(name for g in question.guardrails for name in g.metric.events))
    sessions = sessions_of(question.log, units[units["canary"]], events, actor=actor)
    checks = [data_check(question, n_canary, None), *log_checks(question)]
    if question.plan.index(question.stage) == 0:
        checks.append(_switch_check(question, units))
    checks += [line.check for line in lines] + paired
    evidence = policy_evidence(
        question, lines, n_canary, held=any(c.status is Status.HOLD for c in checks[1:])
    )
    row = Row(int(np.ravel(decide(evidence, question.rules))[-1]))
    sections: tuple[Section, ...] = (session_section(sessions, events),)
    sections += (changes_section(changes, who=who),) if changes else ()
    sections += organisation_section(question, before, after, groups)
    sections += where_sections(question, after, units)
    sections += busiest_section(dict.fromkeys(units.loc[units["canary"], "person_id"], "canary"), question)
    sections += answer_sections(question)
    note = Note(
        "not_randomised",
        "the people of this stage were chosen, not drawn: the numbers describe them and prove nothing about "
        "the feature for anybody else",
    )
    return StageReport(
        flag=question.plan.flag,
        stage=question.stage,
        kind=question.kind,
        share=None,
        starts_at=question.start,
        ends_at=question.end,
        as_of=question.as_of,
        verdict=row.verdict,
        row=row,
        reason=_reason(question, row, checks, n_canary, sessions.total),
        n_canary=n_canary,
        n_control=int((~after.canary).sum()),
        checks=tuple(checks),
        next_steps=_steps(question, row, checks),
        sections=sections,
        audit=audit_record(question, row, evidence, found=after),
        unit=who,
        found=after,
        gaps=question.gaps,
        notes=(
            *question.log.notes,
            *question.exposures.notes,
            *value_notes(question, after),
            note,
        ),
    )


def policy_evidence(
    question: Question, lines: list[LimitLine], n_canary: int, *, held: bool, proven_only: bool = False
) -> Evidence:
    """The decision table's fields for a stage without a control: limits and rules instead of chance."""
    good = [line.proven if proven_only else line.kept for line in lines]
    small = question.rules.min_units if n_canary >= 1 else 0
    return Evidence(
        units_canary=np.array([max(n_canary, small)], dtype=float),
        units_control=np.array([float(question.rules.min_units)]),
        harm_log_e=np.zeros((len(lines), 1)),
        safe_log_e=np.array([[PROVEN if fine else 0.0] for fine in good]),
        fresh=np.array([question.is_fresh]),
        in_grace=np.array([question.in_grace]),
        critical_missing=False,
        breaker=any(line.breached for line in lines),
        dwell_met=np.array([question.dwell_left == 0]),
        success_met=not held,
        cap_reached=np.array([question.cap_reached]),
    )


def _switch_check(question: Question, units: object) -> Check:
    """Was the flag seen on and off by the people of the first stage?"""
    import pandas as pd

    assert isinstance(units, pd.DataFrame)
    on = units["canary"].to_numpy(bool) | (units["n_variants"] > 1).to_numpy(bool)
    both = int((units["n_variants"] > 1).sum())
    if not on.any():
        status, words = Status.HOLD, "Nobody has seen the feature yet: the flag was never on for anybody."
    elif both:
        status, words = Status.OK, f"The flag was seen on and off by {both:,} of the people who had it."
    else:
        status = Status.HOLD
        words = "The flag was never seen off again: turn it off once and check that the old way still works."
    return Check(
        name="switched on and off",
        kind="validity",
        status=status,
        meaning=words,
        measured="people who saw both values of the flag within the stage",
        canary=Arm(both, int(on.sum()), both / on.sum() if on.any() else None),
        method="a release that cannot be turned off cannot be rolled back",
    )


def _reason(question: Question, row: Row, checks: list[Check], n_canary: int, sessions: int) -> str:
    stage, who = question.stage, question.unit_words
    if row in (Row.TOO_LITTLE, Row.TOO_LITTLE_AFTER_GRACE, Row.CRITICAL_MISSING):
        return f"{stage}: {checks[0].meaning}"
    if row is Row.LIMIT_BREACHED:
        return f"{stage}: " + " ".join(c.meaning for c in checks if c.status is Status.BREACH)
    held = [c for c in checks if c.status in (Status.HOLD, Status.UNCLEAR)]
    if held:
        return f"{stage}: {held[0].name}: {held[0].meaning}" + (
            f" (and {len(held) - 1} more)" if len(held) > 1 else ""
        )
    seen = f"{n_canary:,} {who}" + (f" in {sessions:,} sessions" if sessions else "")
    if question.dwell_left > 0:
        left = format_value(question.dwell_left, "seconds")
        return f"{stage}: nothing seen against going on ({seen}); the minimum stay has {left} to go."
    names = listed([c.name for c in checks if c.kind == "limit"])
    return f"{stage}: nothing seen against going on ({seen}; {names}); this is no proof of safety."


def _steps(question: Question, row: Row, checks: list[Check]) -> tuple[str, ...]:
    following = question.next_stage
    if row is Row.SAFE:
        return (f"Go on to {following!r}: the bounds above say how many of them could still be hit.",)
    if row is Row.LIMIT_BREACHED:
        return (
            "Turn the flag off for everybody.",
            "Watch the sessions it happened in, fix, and start again.",
        )
    steps = []
    for check in checks:
        if check.status is Status.HOLD and check.name == "switched on and off":
            steps.append("Turn the flag off for the owner, check the old way, and turn it on again.")
        elif check.status is Status.HOLD and check.name == "gaps":
            steps.append(GAP_STEP)
        elif check.status is Status.HOLD and check.kind in ("limit", "descriptive"):
            steps.append(f"Watch the sessions behind {check.name!r} before anybody else gets it.")
    if row in (Row.TOO_LITTLE, Row.TOO_LITTLE_AFTER_GRACE):
        steps.append("Check that the flag is on for the people of this stage and that events arrive.")
    if question.dwell_left > 0:
        steps.append(f"The minimum stay ends in {format_value(question.dwell_left, 'seconds')}.")
    return tuple(dict.fromkeys(steps))
