"""The report of a percentage stage, and of a holdout at full release: a randomised comparison."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from canarykit.display import Column, Note, Table
from canarykit.health.checks.check import Check, Section
from canarykit.health.checks.comparison_checks import comparison_checks
from canarykit.health.checks.data_checks import value_notes
from canarykit.health.checks.who_is_missing import Missing, find_missing, missing_check, missing_sections
from canarykit.health.decision import Row, decide
from canarykit.health.evidence.compare import Comparison, compare
from canarykit.health.evidence.settle import ANY_LOSS, settle_lines
from canarykit.health.question import Question
from canarykit.health.report.audit_record import audit_record
from canarykit.health.report.planned_look import planned_sections
from canarykit.health.report.reasons import comparison_reason, comparison_steps
from canarykit.health.report.segments import segment_sections, segment_values
from canarykit.health.report.sensitivity import busiest_section, novelty_sections, sensitivity_sections
from canarykit.health.report.stage_report import StageReport
from canarykit.health.report.survey import answer_sections

__all__ = ["comparison_report", "judge_percentage"]


def judge_percentage(question: Question) -> StageReport:
    """Judge a percentage stage on the people whom chance put into an arm."""
    share = question.plan.share(question.stage)
    return comparison_report(question, compare(question, share=share, cohort=question.cohort), share)


def comparison_report(question: Question, comparison: Comparison, share: float) -> StageReport:
    """Lines, verdict, words and audit record of a randomised comparison."""
    segments = segment_values(question, comparison.found.units)
    missing = find_missing(question, comparison, segments)
    comparison = _with_validity(question, comparison, missing)
    series = comparison.series
    row = Row(int(series.rows[-1]))
    checks: tuple[Check, ...] = comparison_checks(
        question, comparison, missing_check(question, comparison, missing)
    )
    settle = settle_lines(question, series)
    busy = {} if question.pulse is None else question.pulse.busy
    sections = (
        _people_section(comparison),
        *sensitivity_sections(question, comparison, busy),
        *planned_sections(question, comparison),
        *segment_sections(question, comparison.found, comparison.used, segments),
        *missing_sections(question, missing),
        *novelty_sections(question, comparison),
        *busiest_section(_arms(comparison), question),
        *answer_sections(question),
    )
    return StageReport(
        flag=question.plan.flag,
        stage=question.stage,
        kind=question.kind,
        share=share,
        starts_at=question.start,
        ends_at=question.end,
        as_of=question.as_of,
        verdict=row.verdict,
        row=row,
        reason=comparison_reason(question, row, checks),
        n_canary=int(series.units_canary[-1]),
        n_control=int(series.units_control[-1]),
        checks=checks,
        next_steps=comparison_steps(question, row, settle),
        sections=sections,
        series=series,
        audit=audit_record(question, row, comparison.evidence, series=series, found=comparison.found),
        unit=question.unit_words,
        found=comparison.found.only(comparison.used),
        gaps=question.gaps,
        notes=_notes(question, comparison),
    )


def _with_validity(question: Question, comparison: Comparison, missing: Missing) -> Comparison:
    """The decision with what the data themselves say: holes hold, and one in an arm ends comparisons."""
    looks = len(comparison.series.looks)
    comparable, whole = np.ones(looks, dtype=bool), np.ones(looks, dtype=bool)
    comparable[-1] = not (question.one_sided or missing.holds(question))
    whole[-1] = not question.open_gaps
    evidence = replace(comparison.evidence, comparable=comparable, success_met=whole)
    rows = decide(evidence, question.rules)
    return replace(comparison, evidence=evidence, series=replace(comparison.series, rows=rows))


def _notes(question: Question, comparison: Comparison) -> tuple[Note, ...]:
    notes = [*question.log.notes, *question.exposures.notes, *comparison.notes]
    notes += value_notes(question, comparison.found)
    for judged in comparison.series.guardrails:
        if judged.unit == "ratio" and judged.margin <= ANY_LOSS:
            text = (
                f"{judged.guardrail.label}: what is tolerated is all that there is to lose, so any loss is "
                "within the margin"
            )
            notes.append(Note("any_loss", text))
    first = _first_rollback(comparison)
    if first is not None and Row(int(comparison.series.rows[-1])) is not Row.HARM:
        notes.append(Note("earlier_rollback", f"an earlier look would have rolled back, at {first}"))
    over = "over the ramp" if question.pool == "ramp" else "in this stage"
    notes.append(
        Note(
            "error_rate",
            f"P(ever rolling back a harmless release {over}) is at most "
            f"{question.rules.alpha_rollback:g}, P(ever promoting one at a margin) at most "
            f"{question.rules.alpha_promote:g}, however often one looks",
        )
    )
    return tuple(notes)


def _first_rollback(comparison: Comparison) -> str | None:
    at = np.flatnonzero(comparison.series.rows == Row.HARM)
    if not at.size:
        return None
    import pandas as pd

    moment = pd.Timestamp(int(comparison.series.looks[at[0]]), unit="us", tz="UTC")
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _arms(comparison: Comparison) -> dict[str, str]:
    units = comparison.found.units
    return dict(zip(units["person_id"], np.where(units["canary"], "canary", "control"), strict=True))


def _people_section(comparison: Comparison) -> Section:
    columns = (Column("people", "people"), Column("count", "number", "count"))
    rows: list[tuple[Any, ...]] = list(comparison.cohort.counts)
    text = "Only people whom chance put into their arm are compared; the others are counted here."
    return Section("people", text, Table.of(columns, rows))
