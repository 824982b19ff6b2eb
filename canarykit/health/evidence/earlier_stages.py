"""Evidence carried over from the ramp's earlier percentages, each a stratum of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from canarykit.events.text import among
from canarykit.health.evidence.value_guardrails import with_past
from canarykit.health.people.cohort import stage_cohort
from canarykit.health.question import Question
from canarykit.metrics.risk import RiskSets
from canarykit.metrics.unit_outcomes import outcomes

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Earlier:
    """Counts per earlier stage and share guardrail, and who has had the event already."""

    counts: tuple[dict[int, RiskSets], ...]  # per stage, counts by position of the guardrail
    had: dict[int, set[str]]  # per guardrail, people who had their one event in an earlier stage

    def without_event(self, i: int, units: pd.DataFrame) -> npt.NDArray[np.bool_]:
        """Units that have not had the event of guardrail `i` in an earlier stage."""
        had = self.had.get(i)
        if not had:
            return np.ones(len(units), dtype=bool)
        return ~among(units["person_id"], had)


def earlier_counts(question: Question) -> Earlier:
    """Reduce the percentages that led to this stage without a gap; after a rollback evidence starts anew."""
    plan = question.plan
    windows = plan.windows()
    chain: list[str] = []
    start = question.start
    for name in reversed(plan.stage_names[: plan.index(question.stage)]):
        window = windows.get(name)
        if plan.stage(name).kind != "percentage" or window is None or window[1] != start:
            break
        chain.insert(0, name)
        start = window[0]
    counts: list[dict[int, RiskSets]] = []
    had: dict[int, set[str]] = {i: set() for i in range(len(question.guardrails))}
    metrics = [guardrail.metric for guardrail in question.guardrails]
    for name in chain:
        begin, end = windows[name]
        cohort = stage_cohort(question, name, until=end)
        reduced = with_past(question, outcomes(question.log, metrics, cohort.units, actor=question.actor))
        used = cohort.used
        people = cohort.units["person_id"].to_numpy(object)
        n_intervals = -(-int((end - begin).value // 1000) // question.step)
        sets: dict[int, RiskSets] = {}
        so_far = Earlier(tuple(counts), had)
        for i, first in enumerate(reduced.first):
            if first is None:
                continue
            once = used & so_far.without_event(i, cohort.units)
            origin = int(begin.value // 1000)
            sets[i] = reduced.risk_sets(
                i, origin=origin, step=question.step, n_intervals=n_intervals, where=once
            )
            had[i] = had[i] | set(people[once & (first >= 0)])
        counts.append(sets)
    return Earlier(tuple(counts), had)
