"""Where it happens, and who is missing: exposure and events by a property such as the browser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from canarykit.display import Column, Note, Table, format_value
from canarykit.health.checks.check import Check, Section, Status
from canarykit.health.evidence.segment_harm import SegmentHarm, SegmentTable
from canarykit.health.people.segment_values import has_value, largest
from canarykit.health.question import Question
from canarykit.metrics.guardrail import Guardrail
from canarykit.metrics.unit_outcomes import Outcomes

DIFFER = 0.05
"""From which p-value on (Holm) segments are said to differ in a table or a note."""
ALIKE = 0.5
"""From which p-value on no segment is singled out: the worst of them would be no news."""
_HARMED = (Status.HARM, Status.BREACH, Status.TOLERATED)


def where_sections(
    question: Question, reduced: Outcomes, segments: dict[str, npt.NDArray[Any]]
) -> tuple[Section, ...]:
    """Among people with the canary, to how many of each segment it happened; for stages without a control."""
    sections = []
    for name, values in segments.items():
        rows = []
        for i, guardrail in enumerate(question.guardrails):
            first = reduced.first[i]
            if first is None or guardrail.worse == "lower":
                continue
            for segment in largest(values[reduced.canary]):
                mine = has_value(values, segment)
                arms = [reduced.canary & mine, ~reduced.canary & mine]
                counts = [(int((first[arm] >= 0).sum()), int(arm.sum())) for arm in arms]
                shares = [x / n if n else None for x, n in counts]
                rows.append((guardrail.label, segment, counts[0][0], counts[0][1], shares[0], shares[1]))
        columns = (
            Column("metric", "metric"),
            Column("segment", name),
            Column("with_it", "canary people with it", "count"),
            Column("people", "of", "count"),
            Column("share", "share", "share"),
            Column("others", "share without the canary", "share"),
        )
        if rows:
            text = f"To how many people with the canary it happened, by {name}; the others are no control."
            sections.append(Section(f"by {name}", text, Table.of(columns, rows)))
    return tuple(sections)


def segment_sections(guardrails: Sequence[Guardrail], tables: Sequence[SegmentTable]) -> tuple[Section, ...]:
    """Per property: the canary's share of each segment, and each guardrail's ratio by segment.

    Whether segments differ at all is tested first (homogeneity of odds ratios, Holm over all tests); a
    segment's own ratio is for display.
    """
    sections = []
    for table in tables:
        words = [
            f"{guardrails[i].label}: {_interaction(p)}" for i, p in table.p_values.items() if p is not None
        ]
        text = "Do segments differ in their ratio? " + ("; ".join(words) or "too few events to tell") + "."
        columns = (
            Column("segment", table.name),
            Column("canary", "canary people", "count"),
            Column("control", "control people", "count"),
            Column("share", "canary's share", "share"),
            *(
                Column(f"{guardrails[i].label}, ratio", f"{guardrails[i].label}, ratio", "ratio")
                for i in table.tables
            ),
        )
        rows = [
            (segment, n, m, n / (n + m) if n + m else None, *(table.ratio(i, index) for i in table.tables))
            for index, (segment, (n, m)) in enumerate(zip(table.segments, table.people, strict=True))
        ]
        sections.append(Section(f"by {table.name}", text, Table.of(columns, rows)))
    return tuple(sections)


def segment_notes(
    guardrails: Sequence[Guardrail],
    tables: Sequence[SegmentTable],
    checks: Sequence[Check],
    harmed: Sequence[SegmentHarm],
) -> tuple[Note, ...]:
    """Where a guardrail is worst, one sentence each: by what evidence it is named, or that none is proven.

    Said of guardrails that got worse, look worse, or differ between segments.
    """
    by_name = {check.name: check for check in checks}
    notes = []
    for i, guardrail in enumerate(guardrails):
        label, check = guardrail.label, by_name.get(guardrail.label)
        proven = [harm for harm in harmed if harm.label == label]
        if proven:
            notes.append(Note("segment", f"{label}: {proven[0].words}"))
            continue
        tested = [(p, table) for table in tables if (p := table.p_values.get(i)) is not None]
        if check is None or not tested:
            continue
        p, table = min(tested, key=lambda item: item[0])
        worst = table.worst(i, lower=guardrail.worse == "lower")
        if worst is None or not (check.status in _HARMED or check.looks_worse or p < DIFFER):
            continue
        here, rest = (format_value(ratio, "ratio") for ratio in (table.ratio(i, worst), table.rest(i, worst)))
        text = f"{label}: worst where {table.name} is {table.segments[worst]}, {here}, elsewhere {rest}"
        if p >= ALIKE:
            names = " or ".join(table.name for _, table in tested)
            text = f"{label}: no segment by {names} stands out (p = {p:.3f}, Holm)"
            notes.append(Note("segments_alike", text))
            continue
        than = "but harm there is not proven by itself" if p < DIFFER else "so this may be chance"
        notes.append(Note("segment_unproven", f"{text}; {_interaction(p)}, {than}"))
    return tuple(notes)


def _interaction(p: float) -> str:
    verdict = "they differ" if p < DIFFER else "no difference shown"
    return f"{verdict} (p = {p:.3f}, Holm)" if p >= 0.001 else f"{verdict} (p < 0.001, Holm)"
