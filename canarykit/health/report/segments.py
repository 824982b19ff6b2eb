"""Where it happens, and who is missing: exposure and events by a property such as the browser."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from canarykit.display import Column, Table
from canarykit.health.checks.check import Section
from canarykit.health.people.segment_values import largest
from canarykit.health.question import Question
from canarykit.metrics.unit_outcomes import Outcomes

__all__ = ["segment_sections", "where_sections"]


def where_sections(
    question: Question, found: Outcomes, segments: dict[str, npt.NDArray[Any]]
) -> tuple[Section, ...]:
    """Among people with the canary, to how many of each segment it happened; for stages without a control."""
    sections = []
    for name, values in segments.items():
        rows = []
        for i, guardrail in enumerate(question.guardrails):
            first = found.first[i]
            if first is None or guardrail.worse == "lower":
                continue
            for segment in largest(values[found.canary]):
                arms = [found.canary & (values == segment), ~found.canary & (values == segment)]
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


def segment_sections(
    question: Question,
    found: Outcomes,
    used: npt.NDArray[np.bool_],
    segments: dict[str, npt.NDArray[Any]],
) -> tuple[Section, ...]:
    """Per property: the canary's share of each segment, and each guardrail's ratio by segment.

    Whether segments differ at all is tested first (homogeneity of odds ratios, Holm over all tests); a
    segment's own ratio is for display.
    """
    from canarykit.stats.multiplicity import adjust_p_values

    tested: list[tuple[str, list[tuple[Any, ...]], list[tuple[str, float | None]]]] = []
    for name, values in segments.items():
        rows, tests = _segment_rows(question, found, used, values)
        tested.append((name, rows, tests))
    known = [p for _, _, tests in tested for _, p in tests if p is not None]
    adjusted = iter(adjust_p_values(known).tolist() if known else [])
    sections = []
    for name, rows, tests in tested:
        words = [f"{label}: {_interaction(next(adjusted))}" for label, p in tests if p is not None]
        text = "Do segments differ in their ratio? " + ("; ".join(words) or "too few events to tell") + "."
        columns = (
            Column("segment", name),
            Column("canary", "canary people", "count"),
            Column("control", "control people", "count"),
            Column("share", "canary's share", "share"),
            *(
                Column(f"ratio_{i}", f"{g.label}, ratio", "ratio")
                for i, g in enumerate(question.guardrails)
                if found.first[i] is not None
            ),
        )
        sections.append(Section(f"by {name}", text, Table.of(columns, rows)))
    return tuple(sections)


def _segment_rows(
    question: Question, found: Outcomes, used: npt.NDArray[np.bool_], values: npt.NDArray[Any]
) -> tuple[list[tuple[Any, ...]], list[tuple[str, float | None]]]:
    from canarykit.stats.one_look.association import homogeneity

    segments = largest(values[used])
    rows: list[tuple[Any, ...]] = []
    tables: dict[int, list[list[list[int]]]] = {i: [] for i, f in enumerate(found.first) if f is not None}
    for segment in segments:
        mask = used & (values == segment)
        canary, control = mask & found.canary, mask & ~found.canary
        n, m = int(canary.sum()), int(control.sum())
        ratios = []
        for i in tables:
            first = found.first[i]
            assert first is not None
            x, y = int((first[canary] >= 0).sum()), int((first[control] >= 0).sum())
            tables[i].append([[x, n - x], [y, m - y]])
            ratios.append((x / n) / (y / m) if n and m and y else None)
        rows.append((segment, n, m, n / (n + m) if n + m else None, *ratios))
    tests = []
    for i, strata in tables.items():
        informative = [table for table in strata if _informative(table)]
        found_test = homogeneity(informative) if len(informative) > 1 else None
        p = None if found_test is None else found_test.p_value
        tests.append((question.guardrails[i].label, p))
    return rows, tests


def _informative(table: list[list[int]]) -> bool:
    """Five people with it and five without, in a segment with both arms: fewer tell nothing of a ratio."""
    (x, not_x), (y, not_y) = table
    return x + y >= 5 and not_x + not_y >= 5 and x + not_x > 0 and y + not_y > 0


def _interaction(p: float) -> str:
    verdict = "they differ" if p < 0.05 else "no difference shown"
    return f"{verdict} (p = {p:.3f}, Holm)" if p >= 0.001 else f"{verdict} (p < 0.001, Holm)"
