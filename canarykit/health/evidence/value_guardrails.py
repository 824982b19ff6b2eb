"""Value guardrails of a comparison: their moments, their evidence, and what is said of the adjustment."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from canarykit.display import Note, format_value
from canarykit.health.data.data_state import DataState
from canarykit.health.evidence.event_evidence import GuardrailEvidence, value_evidence
from canarykit.health.evidence.quantile_guardrails import QuantileSeries, judge_quantile, quantile_series
from canarykit.health.evidence.value_series import MIN_PEOPLE, ValueSeries, value_series
from canarykit.health.question import Question
from canarykit.metrics.group_sizes import looked_back_on, totals_per_person
from canarykit.metrics.guardrail import Guardrail, roll_back_line
from canarykit.metrics.sufficient_statistics import unexposed_until
from canarykit.metrics.unit_outcomes import Outcomes, before_exposure
from canarykit.metrics.values import PerPerson, Quantile


def with_past(question: Question, reduced: Outcomes) -> Outcomes:
    """Add what the units did before any of them could have had the feature, where a metric asks for it."""
    if not any(getattr(spec, "cuped", None) for spec in reduced.metrics) or reduced.units.empty:
        return reduced
    units = reduced.units
    names = units["person_id"].astype(str)
    until = unexposed_until(question.exposures, question.plan, question.stage, names)
    units = units.assign(unexposed_until=until)
    before = before_exposure(question.log, reduced.metrics, units, actor=question.actor)
    return replace(reduced, units=units, before=before)


def value_moments(
    data: DataState, reduced: Outcomes, used: npt.NDArray[np.bool_]
) -> dict[int, ValueSeries | QuantileSeries]:
    """Moments, or the values themselves, of every value guardrail at each look, by position."""
    question, kept = data.question, reduced.only(used)
    places = [i for i, sums in enumerate(kept.sums) if sums is not None]
    by_group = question.actor != "person_id"
    at_least = question.rules.min_units if by_group else max(question.rules.min_units, MIN_PEOPLE)
    looks = data.looks
    seconds = float(looks[-1] - question.origin) / 1e6
    kept = totals_per_person(question.log, kept, actor=question.actor)
    return {
        i: quantile_series(question, kept, i, looks, seconds=seconds, at_least=at_least)
        if isinstance(kept.metrics[i], Quantile)
        else value_series(kept, i, looks, int(looks[-1]), at_least=at_least, by_group=by_group)
        for i in places
    }


def judge_value(
    question: Question,
    guardrail: Guardrail,
    weight: float,
    values: ValueSeries | QuantileSeries,
    *,
    seconds: float,
) -> GuardrailEvidence:
    """Evidence of one value guardrail at each look; the last one is so many seconds after the stage's start.

    Where groups were assigned, how sharp the evidence is at each look follows from the number of groups:
    of few groups the spread itself is uncertain.
    """
    if isinstance(values, QuantileSeries):
        return judge_quantile(question, guardrail, weight, values)
    sign = -1.0 if guardrail.worse == "lower" else 1.0
    plain = values.contrast(1.0)
    control = float(values.control[-1])
    factor = 1.0 if guardrail.margin is not None else guardrail.tolerated_ratio
    if guardrail.margin is not None:
        margin = sign * guardrail.margin
        shifted = plain[0] - margin, plain[1]
        line = roll_back_line(1 + margin / control) if control > 0 else 1.0
        roll_back = (max(line, 0.0) - 1) * control if control > 0 else 0.0
        harmful = plain[0] - roll_back, plain[1]
    else:
        shifted = values.contrast(factor)
        margin = (factor - 1) * control
        line = guardrail.roll_back_beyond()
        roll_back = (line - 1) * control
        harmful = values.contrast(line)
    by_group = question.actor != "person_id"
    return value_evidence(
        *plain,
        *shifted,
        guardrail,
        weight,
        margin=margin,
        roll_back=roll_back,
        harmful=harmful,
        gate=int(question.min_dwell * 1e6 // question.step),
        progress=seconds / question.min_dwell if question.min_dwell > 0 else 1.0,
        alpha_rollback=question.rules.alpha_rollback,
        alpha_promote=question.rules.alpha_promote,
        units=(values.units(), values.units(factor)) if by_group else None,
        counts={
            "canary": [values.n_canary[-1], values.canary[-1], values.canary_variance[-1]],
            "control": [values.n_control[-1], values.control[-1], values.control_variance[-1]],
            "cap": values.cap,
            **adjustment_counts(values),
        },
    )


def adjustment_counts(values: ValueSeries) -> dict[str, Any]:
    """What the adjusted difference can be recomputed from, at the last look."""
    before = values.adjustment
    if before is None:
        return {}
    return {
        "cuped": {
            "window": before.window,
            "slope": before.slope[-1],
            "correlation": before.correlation[-1],
            "variance_reduction": _reduction(values),
            "without": before.without,
            "canary": [before.canary[-1], before.canary_variance[-1], before.canary_covariance[-1]],
            "control": [before.control[-1], before.control_variance[-1], before.control_covariance[-1]],
        }
    }


def adjustment_words(values: ValueSeries | QuantileSeries) -> str:
    """A sentence about the adjustment, empty without one."""
    before = values.adjustment
    if isinstance(values, QuantileSeries) or before is None:
        return ""
    if not math.isfinite(values.contrast(1.0)[1][-1]):
        return ""
    if not before.slope[-1] or not math.isfinite(before.correlation[-1]):
        return (
            f" Nothing was taken out: in the {before.window} before exposure there is nothing that varies "
            "along with it."
        )
    smaller = format_value(_reduction(values), "share")
    return (
        f" Adjusted for the {before.window} before exposure (CUPED): correlation "
        f"{before.correlation[-1]:.2f}, variance of the difference {smaller} smaller."
    )


def past_notes(
    question: Question, values: dict[int, ValueSeries | QuantileSeries], reduced: Outcomes
) -> list[Note]:
    """Who was capped, who has no past to adjust by, and whose past the export does not reach back to."""
    notes = []
    for i, series in values.items():
        before, guardrail = series.adjustment, question.guardrails[i]
        if isinstance(series, ValueSeries) and series.capped:
            cap = f"{guardrail.metric.fixed_cap:g}"  # type: ignore[union-attr]
            text = f"{question.unit_words} with more than {cap}, counted as {cap}, in {guardrail.label}"
            notes.append(Note("capped", text, series.capped))
        if before is None:
            continue
        who, names = question.unit_words, " or ".join(guardrail.metric.events)
        if before.without:
            is_total, by_group = isinstance(guardrail.metric, PerPerson), question.actor != "person_id"
            counted = "0" if is_total and not by_group else "average"
            lacking = "anybody seen" if is_total and by_group else f"any {names}"
            text = (
                f"{who} without {lacking} in the {before.window} before exposure, which counts "
                f"as a past of {counted} in adjusting {guardrail.label}"
            )
            notes.append(Note("cuped_without", text, before.without))
        starts_at = question.log.time_range[0]
        short = int((looked_back_on(reduced, i)["entered_at"] < starts_at).sum())
        if short:
            text = (
                f"{who} whose {before.window} before exposure begin before the export does "
                f"({format_value(starts_at, 'time')}): {guardrail.label} is adjusted by what there is of them"
            )
            notes.append(Note("cuped_short", text, short))
    return notes


def _reduction(values: ValueSeries) -> float:
    """Part of the variance of the difference that the adjustment took away at the last look."""
    raw, left = (values.contrast(1.0, adjusted=adjusted)[1][-1] for adjusted in (False, True))
    return float(1 - left / raw) if raw > 0 else math.nan
