"""The end of every judgement: one report from what was asked, what the data are and what was decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from canarykit.display import Note
from canarykit.health.checks.check import Check, Section
from canarykit.health.data.data_state import DataState
from canarykit.health.decision import Evidence, Row, Rules, Verdict, decide
from canarykit.health.report.audit_record import audit_record
from canarykit.health.report.stage_report import StageReport
from canarykit.metrics.unit_outcomes import Outcomes

if TYPE_CHECKING:
    from canarykit.health.evidence.event_evidence import EvidenceSeries
    from canarykit.health.evidence.segment_harm import SegmentHarm

_REPAIR = "Repair what writes the export, and load it again."


def decide_now(evidence: Evidence, rules: Rules) -> Row:
    """The row of the decision table at the last look."""
    return Row(int(np.ravel(decide(evidence, rules))[-1]))


def conclude(
    data: DataState,
    row: Row,
    *,
    share: float | None,
    arms: tuple[int, int],
    reason: str,
    checks: Sequence[Check],
    steps: Sequence[str],
    sections: Sequence[Section],
    evidence: Evidence,
    outcomes: Outcomes,
    judged: Outcomes | None = None,
    series: EvidenceSeries | None = None,
    notes: Sequence[Note] = (),
    harmed_segments: Sequence[SegmentHarm] = (),
    segments: Mapping[str, npt.NDArray[Any]] | None = None,
) -> StageReport:
    """Gather a report.

    `share` is the canary's by rule, `arms` the people (or groups) with it and without. Reason, checks, steps
    and sections are what the judge says; with too many unusable events the export is to be repaired first.
    `evidence` is what the decision table read, `series` that of each look. `outcomes` happened to everybody,
    `judged` to those whom the report lists (the same by default), `segments` are theirs by property. `notes`
    come behind those of the log and the exposures; harmed segments are worst first.
    """
    question = data.question
    if data.too_many_unusable and row.verdict is not Verdict.ROLL_BACK:
        steps = (_REPAIR, *steps)
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
        reason=reason,
        n_canary=arms[0],
        n_control=arms[1],
        checks=tuple(checks),
        next_steps=tuple(steps),
        sections=tuple(sections),
        series=series,
        audit=audit_record(data, row, evidence, series=series, found=outcomes),
        unit=question.unit_words,
        found=outcomes if judged is None else judged,
        gaps=data.gaps,
        notes=(*question.log.notes, *question.exposures.notes, *question.recorded, *notes),
        harmed_segments=tuple(harmed_segments),
        segments=segments or {},
    )
