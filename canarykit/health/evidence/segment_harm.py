"""Harm in one segment: shown by evidence that holds at every look, with the error split over all segments.

A harm that only some people have is thinned out by the others. So the evidence of harm is gathered in each
segment too, and needs as many times more as there are segments (e-values add up: the chance that any segment
of a harmless release is ever named is at most the rollback error). What is named must also differ from the
rest (homogeneity of the odds ratios, Holm over all properties and guardrails, at this look), and be beyond
what is tolerated there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from canarykit.display import format_value
from canarykit.health.evidence.event_evidence import event_mixtures
from canarykit.health.people.segment_values import MOST_SEGMENTS, has_value, largest
from canarykit.metrics.guardrail import Guardrail
from canarykit.metrics.risk import RiskSets
from canarykit.metrics.unit_outcomes import Outcomes

DIFFERENT = 0.01
"""From which p-value on (Holm) segments are said to differ in a headline."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SegmentHarm:
    """A segment in which a guardrail got worse, and the rest did not as much."""

    # the guardrail's label, the property and its value
    label: str
    name: str
    segment: str
    # share of the canary's people with the event over that of the control, in the segment and in the rest;
    # None where the control has none
    here: float | None
    elsewhere: float | None
    # largest e-value of harm in the segment so far, and what it takes with the error split
    evidence: float
    needed: float
    segments: int  # number of segments the error was split over
    p_value: float  # of "all segments have one odds ratio", by Holm
    # people with the event and all people of the segment: of the canary, and of the control
    counts: tuple[tuple[int, int], tuple[int, int]] | None = None

    @property
    def where(self) -> str:
        """Where, how much there and elsewhere, and out of how many segments: short enough for a headline."""
        return f"{self.where_alone} (of {self.segments} segments)"

    @property
    def where_alone(self) -> str:
        """Where, and how much there and elsewhere."""
        here, elsewhere = (format_value(ratio, "ratio") for ratio in (self.here, self.elsewhere))
        return f"{self.place} {here}, elsewhere {elsewhere}"

    @property
    def place(self) -> str:
        """Which segment, as a sentence has it."""
        return f"where {self.name} is {self.segment}"

    @property
    def words(self) -> str:
        """Where and how much, and by what evidence."""
        p = "p < 0.001" if self.p_value < 0.001 else f"p = {self.p_value:.3f}"
        reached = format_value(self.evidence, "p")
        split = f"split over {self.segments} segments"
        return f"{self.where_alone} ({split}; E = {reached} of {self.needed:,.0f}; they differ, {p}, Holm)"


@dataclass(frozen=True)
class SegmentTable:
    """One property: its segments with people and ratios, and per guardrail whether they differ."""

    # the property, and its most frequent values
    name: str
    segments: tuple[str, ...]
    people: tuple[tuple[int, int], ...]  # canary and control people of each segment
    # by guardrail, per segment the two arms' people with the event and without
    tables: dict[int, tuple[list[list[int]], ...]]
    # by guardrail, of one odds ratio in all segments; Holm over all properties and guardrails. None where
    # there are too few events to tell
    p_values: dict[int, float | None]

    def ratio(self, i: int, place: int) -> float | None:
        """Share of the canary over that of the control in a segment."""
        return _share_ratio(self.tables[i][place])

    def counts(self, i: int, place: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """People with the event and all people of a segment: of the canary, and of the control."""
        (x, without_x), (y, without_y) = self.tables[i][place]
        return (x, x + without_x), (y, y + without_y)

    def rest(self, i: int, place: int) -> float | None:
        """The same over all other segments together."""
        others = [table for k, table in enumerate(self.tables[i]) if k != place]
        return _share_ratio(np.sum(others, axis=0).tolist()) if others else None

    def worst(self, i: int, *, lower: bool) -> int | None:
        """Position of the segment with the most harmful ratio, of those with enough events to tell one."""
        ratios = {
            k: ratio
            for k, table in enumerate(self.tables[i])
            if _informative(table) and (ratio := _share_ratio(table)) is not None
        }
        if len(ratios) < 2:
            return None
        return (min if lower else max)(ratios, key=lambda k: ratios[k])


def segment_tables(
    found: Outcomes, used: Mask, segments: dict[str, npt.NDArray[Any]]
) -> tuple[SegmentTable, ...]:
    """Counts by segment of every share guardrail, and whether the segments differ."""
    from canarykit.stats.multiplicity import adjust_p_values
    from canarykit.stats.one_look.association import homogeneity

    plain: list[tuple[str, tuple[str, ...], list[tuple[int, int]], dict[int, Any], dict[int, Any]]] = []
    for name, values in segments.items():
        chosen = tuple(largest(values[used]))
        people = []
        tables: dict[int, list[list[list[int]]]] = {i: [] for i, f in enumerate(found.first) if f is not None}
        for segment in chosen:
            mask = used & has_value(values, segment)
            arms = (mask & found.canary, mask & ~found.canary)
            people.append((int(arms[0].sum()), int(arms[1].sum())))
            for i, rows in tables.items():
                first = found.first[i]
                assert first is not None
                with_it = [int((first[arm] >= 0).sum()) for arm in arms]
                rows.append([[x, n - x] for x, n in zip(with_it, people[-1], strict=True)])
        p_values = {}
        for i, rows in tables.items():
            informative = [table for table in rows if _informative(table)]
            tested = homogeneity(informative) if len(informative) > 1 else None
            p_values[i] = None if tested is None else tested.p_value
        plain.append((name, chosen, people, tables, p_values))
    known = [p for *_, by_guardrail in plain for p in by_guardrail.values() if p is not None]
    adjusted = iter(adjust_p_values(known).tolist() if known else [])
    return tuple(
        SegmentTable(
            name,
            chosen,
            tuple(people),
            {i: tuple(rows) for i, rows in tables.items()},
            {i: None if p is None else float(next(adjusted)) for i, p in p_values.items()},
        )
        for name, chosen, people, tables, p_values in plain
    )


def find_segment_harm(
    tables: tuple[SegmentTable, ...],
    segments: dict[str, npt.NDArray[Any]],
    used: Mask,
    guardrails: tuple[Guardrail, ...],
    weights: tuple[float, ...],
    risk_sets_of: Callable[[int, Mask], RiskSets],
    *,
    alpha: float,
) -> tuple[SegmentHarm, ...]:
    """Segments that got worse beyond the line of rollback while the rest did not as much, the surest first.

    `segments` are each unit's by property, `used` the units compared, `weights` the guardrails' parts of the
    stage's rollback error `alpha`; `risk_sets_of` gives a guardrail's events within entry cohorts, over a
    mask of units.
    """
    split = max(len(tables), 1) * MOST_SEGMENTS
    found = []
    for table in tables:
        for i, p in table.p_values.items():
            guardrail = guardrails[i]
            if p is None or p >= DIFFERENT:
                continue
            lower = guardrail.worse == "lower"
            sign = -1 if lower else 1
            own, line = guardrail.tolerated_ratio, guardrail.roll_back_beyond()
            mixture = event_mixtures(own**sign, line**sign)[0]
            needed = split / (alpha * weights[i])
            for place, segment in enumerate(table.segments):
                here, rest = table.ratio(i, place), table.rest(i, place)
                tolerated = [guardrail.tolerated_ratio, *(() if rest is None else (rest,))]
                if here is not None and not (here < min(tolerated) if lower else here > max(tolerated)):
                    continue
                sets = risk_sets_of(i, used & has_value(segments[table.name], segment))
                sets = sets.swapped() if lower else sets
                log_e = float(mixture.log_e(*sets.counts(mixture.null_ratio)).max(initial=-math.inf))
                if log_e < math.log(needed):
                    continue
                harm = SegmentHarm(
                    guardrail.label,
                    table.name,
                    segment,
                    here,
                    rest,
                    math.exp(min(log_e, 700)),
                    needed,
                    split,
                    p,
                    table.counts(i, place),
                )
                found.append(harm)
    return tuple(sorted(found, key=lambda harm: -harm.evidence))


def _share_ratio(table: list[list[int]]) -> float | None:
    (x, not_x), (y, not_y) = table
    n, m = x + not_x, y + not_y
    return (x / n) / (y / m) if n and m and y else None


def _informative(table: list[list[int]]) -> bool:
    """Five people with it and five without, in a segment with both arms: fewer tell nothing of a ratio."""
    (x, not_x), (y, not_y) = table
    return x + y >= 5 and not_x + not_y >= 5 and x + not_x > 0 and y + not_y > 0
