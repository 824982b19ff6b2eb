"""Value guardrails as one planned look would have judged them: textbook intervals, not for stopping."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.display import Column, Table
from canarykit.health.checks.check import Section
from canarykit.health.evidence.compare import Comparison
from canarykit.health.evidence.quantile_guardrails import QuantileSeries
from canarykit.health.evidence.value_series import ValueSeries
from canarykit.health.question import Question
from canarykit.metrics.values import PerPerson

if TYPE_CHECKING:
    from canarykit.stats.estimate import Estimate
    from canarykit.stats.one_look.moments import PairMoments

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
    """Difference at the last look with its 95 % interval for one look; None below the minimum of an arm.

    A small arm of skewed values may by chance lack the large ones, and then seems to have no spread: the
    interval is never narrower than if both arms had the spread of all units together. `is_mean` is for a mean
    over people, not a ratio of two sums; `by_group` where groups are the rows.
    """
    difference = _textbook(values, is_mean=is_mean, by_group=by_group)
    if difference is None or difference.standard_error is None:
        return difference
    least = float(values.widest_variance()[-1]) ** 0.5
    wider = least / difference.standard_error if difference.standard_error > 0 and np.isfinite(least) else 1.0
    if not wider > 1 + 1e-9:
        return difference
    low, high = (
        difference.value + wider * (limit - difference.value) for limit in (difference.low, difference.high)
    )
    return replace(
        difference,
        low=low,
        high=high,
        standard_error=least,
        method=f"{difference.method}, spread of both arms",
    )


def _textbook(values: ValueSeries, *, is_mean: bool, by_group: bool) -> Estimate | None:
    from canarykit.stats.one_look import means

    arms = [_linear(values, arm) for arm in ("canary", "control")] if by_group or values.adjustment else []
    arms = arms or list(values.last)
    if min(arm.n for arm in arms) < max(values.at_least, 2):
        return None
    if values.adjustment is not None:
        return means.cuped_difference(*arms)
    if by_group:
        difference = means.mean_difference(*(arm.own for arm in arms))
        return difference and replace(difference, method="cluster jackknife, Welch t")
    return means.mean_difference(*(arm.own for arm in arms)) if is_mean else means.ratio_difference(*arms)


def _linear(values: ValueSeries, arm: str) -> PairMoments:
    """The arm's ratio, and that of its past, as means of as many units with the same (co)variances."""
    from canarykit.stats.one_look.moments import PairMoments

    n = values.last[0 if arm == "canary" else 1].n
    before = values.adjustment
    estimates = float(getattr(values, arm)[-1]), float(getattr(values, f"{arm}_variance")[-1])
    past = (0.0, 0.0, 0.0)
    if before is not None:
        names = (arm, f"{arm}_variance", f"{arm}_covariance")
        past = tuple(float(getattr(before, name)[-1]) for name in names)  # type: ignore[assignment]
    if not all(np.isfinite([*estimates, *past])):
        return PairMoments(0, 0.0, 0.0, 0.0, 0.0, 0.0)
    return PairMoments(n, estimates[0], past[0], n * estimates[1], n * past[1], n * past[2])


def planned_sections(question: Question, comparison: Comparison) -> tuple[Section, ...]:
    """Each value guardrail's difference with the interval that holds for one look, planned beforehand."""
    rows: list[tuple[Any, ...]] = []
    by_group = question.actor != "person_id"
    for i, values in comparison.values.items():
        guardrail = question.guardrails[i]
        if isinstance(values, QuantileSeries):
            difference = values.planned_look()
            counts = tuple(int(n[-1]) for n in (values.n_canary, values.n_control))
        else:
            difference = planned_look(
                values, is_mean=isinstance(guardrail.metric, PerPerson), by_group=by_group
            )
            counts = (values.last[0].n, values.last[1].n)
        if difference is not None:
            arms = (float(values.canary[-1]), float(values.control[-1]))
            rows.append(
                (
                    guardrail.label,
                    difference.method,
                    *counts,
                    *arms,
                    difference.value,
                    difference.low,
                    difference.high,
                )
            )
    if not rows:
        return ()
    text = (
        "95 % intervals that hold for one look, planned beforehand: not for stopping. The arms are as they "
        "were seen; a difference by CUPED is that of the arms less what their past explains."
    )
    return (Section("values at one planned look", text, Table.of(_COLUMNS, rows)),)
