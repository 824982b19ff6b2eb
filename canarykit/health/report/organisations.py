"""Organisations of the people in a targeted stage: did they differ before they ever saw the feature?"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from canarykit.display import Column, Table
from canarykit.exposure.first_values import first_values
from canarykit.health.checks.check import Section
from canarykit.health.people.segment_values import has_value
from canarykit.health.question import Question
from canarykit.metrics.unit_outcomes import Outcomes

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 12
SMALLEST = 5
"""People from which an organisation has a line of its own."""


def groups_of(question: Question, units: pd.DataFrame, *, until: pd.Timestamp) -> npt.NDArray[Any] | None:
    """Organisation of each unit by its events (group type 0), or None when no event names one."""
    if question.actor != "person_id" or units.empty or not question.log.group_types:
        return None
    column = f"$group_{min(question.log.group_types.values())}"
    if question.log.groups is None and column not in question.log.property_names():
        return None
    ids, since, actor = units["person_id"], question.start, question.actor
    keys = first_values(question.log, ids, (column,), actor=actor, since=since, until=until)[column]
    return keys if any(value is not None for value in keys) else None


def organisation_section(
    question: Question, before: Outcomes, after: Outcomes, groups: npt.NDArray[Any] | None
) -> tuple[Section, ...]:
    """People with each guardrail's event before and after, by organisation of those with the canary."""
    if groups is None:
        return ()
    inside = after.canary & np.array([value is not None for value in groups])
    if not inside.any():
        return ()
    rows = []
    for i, guardrail in enumerate(question.guardrails):
        was, now = before.first[i], after.first[i]
        if was is None or now is None:
            continue
        for name, mask in [*_largest(groups, inside), ("everybody without it", ~after.canary)]:
            n = int(mask.sum())
            if n:
                shares = float((was[mask] >= 0).mean()), float((now[mask] >= 0).mean())
                rows.append((guardrail.label, name, n, *shares))
    if not rows:
        return ()
    columns = (
        Column("metric", "metric"),
        Column("organisation", "organisation"),
        Column("people", "people", "count"),
        Column("before", "before the feature", "share"),
        Column("after", "with it", "share"),
    )
    text = (
        f"Organisations with at least {SMALLEST} people in the stage, largest first, the others together. "
        "Who was chosen differs from the rest, often before ever seeing the feature: compare each line with "
        "its own past first."
    )
    return (Section("organisations", text, Table.of(columns, rows)),)


def _largest(
    groups: npt.NDArray[Any], inside: npt.NDArray[np.bool_]
) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """Organisations worth a line of their own, and one line for all the others."""
    counts = Counter(map(str, groups[inside]))
    names = sorted(counts, key=lambda name: (-counts[name], name))
    alone = [name for name in names if counts[name] >= SMALLEST][:MOST_ROWS]
    shown = [(name, inside & has_value(groups, name)) for name in alone]
    if n := len(names) - len(alone):
        words = f"{n:,} smaller organisation{'s' if n > 1 else ''}"
        shown.append((words, inside & np.array([group not in alone for group in groups])))
    return shown
