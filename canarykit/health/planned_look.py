"""Value guardrails as one planned look would have judged them: textbook intervals, not for stopping."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.display import Column, Table
from canarykit.health.check import Section
from canarykit.health.moments import ValueSeries
from canarykit.health.percentage import Comparison
from canarykit.health.question import Question
from canarykit.metrics.values import Total

if TYPE_CHECKING:
    from canarykit.stats.estimate import Estimate

__all__ = ["planned_look", "planned_sections"]

_COLUMNS = (
    Column("metric", "metric"),
    Column("method", "method"),
    Column("canary_units", "canary n", "count"),
    Column("control_units", "control n", "count"),
    Column("canary", "canary", "number"),
    Column("control", "control", "number"),
    Column("difference", "difference", "number"),
    Column("low", "from", "number"),
    Column("high", "to", "number"),
)


def planned_look(values: ValueSeries, *, is_mean: bool, by_group: bool) -> Estimate | None:
    """Difference at the last look with its 95 % interval for one look; None where there is none.

    Parameters
    ----------
    values
        Moments of one value guardrail.
    is_mean
        Whether it is a mean over people, and not a ratio of two sums.
    by_group
        Whether groups were assigned, so that they are the rows.
    """
    from canarykit.stats import means
    from canarykit.stats.moments import PairMoments

    before = values.adjustment
    arms: list[PairMoments] = []
    for name, moments in (("canary", values.last[0]), ("control", values.last[1])):
        if before is not None and moments.n > 1:
            past, variance, covariance = (
                float(getattr(before, f"{name}{part}")[-1]) for part in ("", "_variance", "_covariance")
            )
            own = float(getattr(values, f"{name}_variance")[-1])
            if np.isfinite(own):  # what is left of a ratio when its denominator is taken as given
                n, value = moments.n, float(getattr(values, name)[-1])
                moments = PairMoments(n, value, past, n * own, n * variance, n * covariance)
        arms.append(moments)
    if min(arm.n for arm in arms) < 2:
        return None
    if before is not None:
        return means.cuped_difference(*arms)
    if by_group:
        return means.cluster_difference(*arms)
    return means.mean_difference(*(arm.own for arm in arms)) if is_mean else means.ratio_difference(*arms)


def planned_sections(question: Question, comparison: Comparison) -> tuple[Section, ...]:
    """Each value guardrail's difference with the interval that holds for one look, planned beforehand."""
    rows: list[tuple[Any, ...]] = []
    by_group = question.actor != "person_id"
    for i, values in comparison.values.items():
        guardrail = question.guardrails[i]
        found = planned_look(values, is_mean=isinstance(guardrail.metric, Total), by_group=by_group)
        if found is not None:
            arms = (float(values.canary[-1]), float(values.control[-1]))
            counts = (values.last[0].n, values.last[1].n)
            rows.append((guardrail.label, found.method, *counts, *arms, found.value, found.low, found.high))
    if not rows:
        return ()
    text = (
        "95 % intervals that hold for one look, planned beforehand: not for stopping. The arms are as they "
        "were seen; a difference by CUPED is that of the arms less what their past explains."
    )
    return (Section("values at one planned look", text, Table.of(_COLUMNS, rows)),)
