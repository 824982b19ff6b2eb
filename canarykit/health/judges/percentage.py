"""The report of a percentage stage, and of a holdout at full release: a randomised comparison."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from canarykit.display import Column, Note, Table, format_value
from canarykit.events.text import among
from canarykit.health.checks.changed_share import changed_share
from canarykit.health.checks.check import Check, Section
from canarykit.health.checks.comparison_checks import comparison_checks
from canarykit.health.checks.data_checks import value_notes
from canarykit.health.checks.targeted_group import targeted_group_notes
from canarykit.health.checks.who_is_missing import missing_sections
from canarykit.health.data.data_state import DataState
from canarykit.health.decision import Row
from canarykit.health.evidence.compare import Comparison, compare
from canarykit.health.evidence.settle import settle_lines
from canarykit.health.judges.conclude import conclude
from canarykit.health.question import Question
from canarykit.health.report.planned_look import planned_sections
from canarykit.health.report.reasons import (
    comparison_reason,
    comparison_steps,
    ramp_steps,
    segment_steps,
)
from canarykit.health.report.segments import segment_notes, segment_sections
from canarykit.health.report.sensitivity import busiest_section, novelty_sections, sensitivity_sections
from canarykit.health.report.stage_report import StageReport
from canarykit.health.report.survey import answer_sections
from canarykit.metrics.guardrail import ANY_LOSS


def judge_percentage(data: DataState) -> StageReport:
    """Judge a percentage stage on the randomised people."""
    assert data.cohort is not None
    share = data.question.plan.share(data.question.stage)
    return comparison_report(data, compare(data, data.cohort, share))


def comparison_report(data: DataState, comparison: Comparison, more: tuple[Check, ...] = ()) -> StageReport:
    """Lines, words and audit record of a randomised comparison; `more` checks stand at the end."""
    question, series = data.question, comparison.series
    row = Row(int(series.rows[-1]))
    checks = comparison_checks(data, comparison)
    changed = row in (Row.INVALID, Row.NOT_VALID_YET) and bool(changed_share(data, comparison))
    sections = (
        _people_section(comparison),
        *sensitivity_sections(question, comparison, data.pulse.busy),
        *planned_sections(question, comparison),
        *segment_sections(question.guardrails, comparison.segment_tables),
        *missing_sections(question, comparison),
        *novelty_sections(question, comparison),
        *busiest_section(_arms(comparison, data.pulse.busy), data.pulse.busy),
        *answer_sections(question),
    )
    return conclude(
        data,
        row,
        share=series.share,
        arms=(int(series.units_canary[-1]), int(series.units_control[-1])),
        reason=comparison_reason(data, row, checks, comparison.segment_harm),
        checks=(*checks, *more),
        steps=(
            *comparison_steps(data, row, settle_lines(data, series), checks, share_changed=changed),
            *ramp_steps(checks),
            *segment_steps(comparison.segment_harm, among=question.some_people),
        ),
        sections=sections,
        evidence=comparison.evidence,
        outcomes=comparison.found,
        judged=comparison.found.only(comparison.used),
        series=series,
        notes=(
            *segment_notes(question.guardrails, comparison.segment_tables, checks, comparison.segment_harm),
            *targeted_group_notes(
                question, comparison.found.only(comparison.used).units, series.share, until=data.until
            ),
            *_notes(question, comparison),
        ),
        harmed_segments=comparison.segment_harm,
        segments={name: values[comparison.used] for name, values in comparison.segments.items()},
    )


def _notes(question: Question, comparison: Comparison) -> tuple[Note, ...]:
    notes = [*comparison.notes, *value_notes(question, comparison.found)]
    for judged in comparison.series.guardrails:
        if judged.unit == "ratio" and judged.margin <= ANY_LOSS:
            text = (
                f"{judged.guardrail.label}: what is tolerated is all that there is to lose, so any loss is "
                "within the margin"
            )
            notes.append(Note("any_loss", text))
    first = _first_rollback(question, comparison)
    if first is not None and Row(int(comparison.series.rows[-1])) is not Row.HARM:
        notes.append(Note("earlier_rollback", f"an earlier look would have rolled back, at {first}"))
    stages = max(question.rules.stages, question.sharing)
    over = "in this stage" if stages == 1 else f"over the {stages} randomised stages of the rollout"
    level = question.rules.alpha_rollback * question.rules.stages
    notes.append(
        Note(
            "error_rate",
            f"P(ever rolling back a harmless release {over}) is at most {level:g}, P(ever promoting one at a "
            f"margin) at most {question.rules.alpha_promote:g}, however often one looks; E is the evidence, "
            "an e-value: how many times likelier the data are with the harm than without, times the part "
            "of the error that its guardrail has",
        )
    )
    return tuple(notes)


def _first_rollback(question: Question, comparison: Comparison) -> str | None:
    at = np.flatnonzero(comparison.series.rows == Row.HARM)
    if not at.size:
        return None
    return format_value(question.local(int(comparison.series.looks[at[0]])), "time")


def _arms(comparison: Comparison, people: Collection[str]) -> dict[str, str]:
    """The arm of each of some people, as far as they are compared."""
    units = comparison.found.units
    units = units[among(units["person_id"], people)] if people else units[:0]
    return dict(zip(units["person_id"], np.where(units["canary"], "canary", "control"), strict=True))


def _people_section(comparison: Comparison) -> Section:
    columns = (Column("people", "people"), Column("count", "number", "count"))
    rows: list[tuple[Any, ...]] = list(comparison.cohort.counts)
    text = "Only those who were randomised into their arm are compared; the others are counted here."
    return Section("people", text, Table.of(columns, rows))
