"""Judging a targeted stage: chosen people, exact bounds, and no causal claim."""

from __future__ import annotations

import numpy as np

from canarykit.counting import and_more, counted, first_named
from canarykit.display import Note, format_value
from canarykit.health.checks.before_and_after import change_check, changes_section, find_change
from canarykit.health.checks.check import Arm, Check, Section, Status
from canarykit.health.checks.comparison_checks import data_check
from canarykit.health.checks.data_checks import log_checks, value_notes
from canarykit.health.checks.limit_checks import LimitLine, limit_line, session_section
from canarykit.health.data.data_state import DataState
from canarykit.health.decision import Evidence, Row
from canarykit.health.judges.conclude import conclude, decide_now
from canarykit.health.people.segment_values import segment_values
from canarykit.health.people.units import before_and_after, sessions_of, stage_units
from canarykit.health.question import Question
from canarykit.health.report.organisations import groups_of, organisation_section
from canarykit.health.report.reasons import GAP_STEP
from canarykit.health.report.segments import where_sections
from canarykit.health.report.sensitivity import busiest_section
from canarykit.health.report.stage_report import StageReport
from canarykit.health.report.survey import answer_sections

PROVEN = 100.0
"""Log evidence written down for what is known without chance: a bound kept, a rule met."""


def judge_targeted(data: DataState) -> StageReport:
    """Judge a stage of chosen people: limits, before and after, and whether the switch was tried."""
    question, plan = data.question, data.question.plan
    units = stage_units(question, (plan.canary, plan.control), data.until)
    before, after = before_and_after(question, units)
    n_canary = int(after.canary.sum())
    who = question.unit_words
    groups = groups_of(question, units, until=data.until)
    of_guardrails = [find_change(g, before, after, i, groups) for i, g in enumerate(question.guardrails)]
    lines = [
        limit_line(question, guardrail, weight, after, i, who=who, change=of_guardrails[i])
        for i, (guardrail, weight) in enumerate(zip(question.guardrails, question.weights, strict=True))
    ]
    changes = [change for change in of_guardrails if change is not None]
    paired = [change_check(change, who=who) for change in changes]
    events = tuple(dict.fromkeys(name for g in question.guardrails for name in g.metric.events))
    sessions = sessions_of(question.log, units[units["canary"]], events, actor=question.actor)
    checks = [data_check(data, n_canary, None), *log_checks(data)]
    if plan.index(question.stage) == 0:
        checks.append(_switch_check(question, units))
    checks += [line.check for line in lines] + paired
    is_held = data.too_many_unusable or any(c.status is Status.HOLD for c in checks[1:])
    evidence = policy_evidence(data, lines, n_canary, held=is_held)
    row = decide_now(evidence, question.rules)
    sections: tuple[Section, ...] = (session_section(sessions, events),)
    sections += (changes_section(changes, who=who),) if changes else ()
    sections += organisation_section(question, before, after, groups)
    segments = segment_values(question, units, until=data.until)
    sections += where_sections(question, after, segments)
    sections += busiest_section(
        dict.fromkeys(units.loc[units["canary"], "person_id"], "canary"), data.pulse.busy
    )
    sections += answer_sections(question)
    note = Note(
        "not_randomised",
        "the people of this stage were chosen, not drawn: the numbers describe them and prove nothing about "
        "the feature for anybody else",
    )
    return conclude(
        data,
        row,
        share=None,
        arms=(n_canary, int((~after.canary).sum())),
        reason=_reason(data, row, checks, n_canary, sessions.total),
        checks=checks,
        steps=_steps(data, row, checks),
        sections=sections,
        evidence=evidence,
        outcomes=after,
        segments=segments,
        notes=(*value_notes(question, after), note),
    )


def policy_evidence(
    data: DataState, lines: list[LimitLine], n_canary: int, *, held: bool, proven_only: bool = False
) -> Evidence:
    """The decision table's fields for a stage without a control: limits and rules instead of chance."""
    question = data.question
    good = [line.proven if proven_only else line.kept for line in lines]
    small = question.rules.min_units if n_canary >= 1 else 0
    return Evidence(
        units_canary=np.array([max(n_canary, small)], dtype=float),
        units_control=np.array([float(question.rules.min_units)]),
        harm_log_e=np.zeros((len(lines), 1)),
        safe_log_e=np.array([[PROVEN if fine else 0.0] for fine in good]),
        fresh=np.array([data.is_fresh]),
        in_grace=np.array([question.in_grace]),
        critical_missing=False,
        breaker=any(line.breached for line in lines),
        dwell_met=np.array([data.dwell_left == 0]),
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


def _reason(data: DataState, row: Row, checks: list[Check], n_canary: int, sessions: int) -> str:
    stage, who = data.question.stage, data.question.unit_words
    if row in (Row.TOO_LITTLE, Row.TOO_LITTLE_AFTER_GRACE, Row.CRITICAL_MISSING):
        return f"{stage}: {checks[0].meaning}"
    if row is Row.LIMIT_BREACHED:
        return f"{stage}: {and_more([c.meaning for c in checks if c.status is Status.BREACH])}"
    holding = [c for c in checks[1:] if c.status in (Status.HOLD, Status.UNCLEAR)]
    if holding:
        return f"{stage}: {holding[0].name}: {and_more([c.meaning for c in holding])}"
    seen = f"{counted(n_canary, who)}" + (f" in {counted(sessions, 'sessions')}" if sessions else "")
    if data.dwell_left > 0:
        left = format_value(data.dwell_left, "seconds")
        return f"{stage}: nothing seen against going on ({seen}); the minimum stay has {left} to go."
    if data.too_many_unusable:
        return f"{stage}: {checks[0].meaning}"
    names = first_named([c.name for c in checks if c.kind == "limit"])
    return f"{stage}: nothing seen against going on ({seen}; {names}); this does not prove that it is safe."


def _steps(data: DataState, row: Row, checks: list[Check]) -> tuple[str, ...]:
    following = data.question.next_stage
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
    if data.dwell_left > 0:
        steps.append(f"The minimum stay ends in {format_value(data.dwell_left, 'seconds')}.")
    return tuple(dict.fromkeys(steps))
