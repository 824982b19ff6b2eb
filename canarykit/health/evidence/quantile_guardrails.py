"""Quantile guardrails of a comparison: both arms' values, people in the order in which they came in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from canarykit.health.evidence.event_evidence import GuardrailEvidence, lost_safety, standing_limit
from canarykit.health.question import Question
from canarykit.metrics.guardrail import Guardrail, roll_back_line
from canarykit.metrics.unit_outcomes import Outcomes
from canarykit.metrics.values import Quantile
from canarykit.periods import column_micros
from canarykit.stats.any_look.two_arm_quantiles import (
    ArmValues,
    QuantileCurve,
    log_e_above,
    quantile_curves,
    shift_limit,
)

if TYPE_CHECKING:
    from canarykit.stats.estimate import Estimate

Floats = npt.NDArray[np.float64]
WIDEST = math.log(1000)
"""Ratios of quantiles beyond a thousandfold are not told apart."""


@dataclass(frozen=True, eq=False)
class QuantileSeries:
    """A quantile of both arms over the looks."""

    probability: float  # which quantile
    curves: tuple[QuantileCurve, QuantileCurve]  # evidence of the canary and the control against every point
    arms: tuple[ArmValues, ArmValues]  # the values of both by the last look
    at_least: int  # people an arm needs
    cap: None = None
    adjustment: None = None

    @property
    def canary(self) -> Floats:
        """The canary's quantile at each look."""
        return self.curves[0].quantile

    @property
    def control(self) -> Floats:
        """The control's quantile at each look."""
        return self.curves[1].quantile

    @property
    def n_canary(self) -> Floats:
        """The canary's people with such values, by each look."""
        return self.curves[0].people

    @property
    def n_control(self) -> Floats:
        """The control's people with such values, by each look."""
        return self.curves[1].people

    @property
    def canary_variance(self) -> Floats:
        """Variance of the canary's quantile at the last look."""
        return self._variance(0)

    @property
    def control_variance(self) -> Floats:
        """Variance of the control's quantile at the last look."""
        return self._variance(1)

    def _variance(self, arm: int) -> Floats:
        estimate = self.estimates[arm]
        error = None if estimate is None else estimate.standard_error
        return np.array([math.nan if error is None else error**2])

    @cached_property
    def estimates(self) -> tuple[Estimate | None, Estimate | None]:
        """Each arm's quantile at the last look, with an interval for one look, clustered by person."""
        from canarykit.stats.one_look.quantiles import quantile

        first, second = (
            quantile(arm.value, self.probability, clusters=arm.person) if len(arm.value) else None
            for arm in self.arms
        )
        return first, second

    def planned_look(self) -> Estimate | None:
        """Difference at the last look with its 95 % interval for one look, clustered by person."""
        from canarykit.stats.one_look.quantiles import quantile_difference

        if min(self.n_canary[-1], self.n_control[-1]) < max(self.at_least, 2):
            return None
        one, other = self.arms
        clusters: dict[str, Any] = {"clusters_canary": one.person, "clusters_control": other.person}
        difference = quantile_difference(one.value, other.value, self.probability, **clusters)
        return difference if difference is not None and math.isfinite(difference.low) else None


def quantile_series(
    question: Question,
    reduced: Outcomes,
    i: int,
    looks: npt.NDArray[np.int64],
    *,
    seconds: float,
    at_least: int,
) -> QuantileSeries:
    """The values of quantile metric `i` by each look; the last is so many seconds after the stage's start."""
    spec, numbers = reduced.metrics[i], reduced.numbers[i]
    assert isinstance(spec, Quantile)
    assert numbers is not None
    look = np.searchsorted(looks, column_micros(reduced.units["entered_at"]), side="right")
    arms = []
    for arm in (reduced.canary, ~reduced.canary):
        mine = numbers.only(arm & (look < len(looks)))
        arms.append(ArmValues(mine.unit, mine.value, look[arm & (look < len(looks))]))
    curves = quantile_curves(
        arms[0],
        arms[1],
        spec.q,
        n_looks=len(looks),
        gate=int(question.min_dwell * 1e6 // question.step),
        progress=seconds / question.min_dwell if question.min_dwell > 0 else 1.0,
        at_least=at_least,
    )
    return QuantileSeries(spec.q, curves, (arms[0], arms[1]), at_least)


def judge_quantile(
    question: Question, guardrail: Guardrail, weight: float, series: QuantileSeries
) -> GuardrailEvidence:
    """Evidence of a quantile guardrail at each look, and limits of the difference of the quantiles.

    A margin given as a ratio is asked of the ratio of the quantiles and told in the property's unit.
    """
    lower = guardrail.worse == "lower"
    control = float(series.control[-1])
    by_ratio = guardrail.margin is None
    if by_ratio and not control > 0:
        return _nothing(guardrail, weight, len(series.control))
    margin_to, line = guardrail.tolerated_ratio, guardrail.roll_back_beyond()
    if not by_ratio:
        assert guardrail.margin is not None
        points = -guardrail.margin if lower else guardrail.margin
        as_ratio = roll_back_line(max(1 + points / control, 1e-9)) if control > 0 else 1.0
        margin_to, line = points, (as_ratio - 1) * control if control > 0 else 0.0
    ask = _Shift(by_ratio, WIDEST if by_ratio else _range(series))
    one, other = series.curves
    rises, falls = (one, other), (other, one)  # the canary lies above; the canary lies below
    harmful, harmless = (falls, rises) if lower else (rises, falls)
    # "the canary is below M times the control" is "the control is above the canary over M"
    harm = log_e_above(*harmful, ask.at(ask.inverse(line) if lower else line))
    within = margin_to if lower else ask.inverse(margin_to)
    safe = log_e_above(*harmless, ask.at(within))
    rules = question.rules
    at_harm, at_safe = -math.log(weight * rules.alpha_rollback), -math.log(rules.alpha_promote)
    proven = shift_limit(*harmful, at_harm, ask.amount)
    ruled_out = shift_limit(*harmless, at_safe, ask.amount)
    proven = np.maximum.accumulate(proven)
    harmed = np.maximum.accumulate(np.nan_to_num(harm) + math.log(weight)) >= -math.log(rules.alpha_rollback)
    lost = lost_safety(safe)
    ruled_out = -standing_limit(-ruled_out, -ask.amount_of(within), lost, harmed)
    bounds = []
    for amount, canary_above in ((proven, not lower), (ruled_out, lower)):
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            shift = ask.size(amount)
            shift = shift if canary_above else ask.inverse(shift)
            bound = (shift - 1) * series.control if by_ratio else shift
        bounds.append(np.where(np.isfinite(amount), bound, -np.inf if canary_above else np.inf))
    toward_harm, toward_safety = bounds
    low, high = (toward_safety, toward_harm) if lower else (toward_harm, toward_safety)
    difference = series.canary - series.control
    arms = [
        [series.n_canary[-1], series.curves[0].values[-1], series.canary[-1]],
        [series.n_control[-1], series.curves[1].values[-1], control],
    ]
    return GuardrailEvidence(
        guardrail=guardrail,
        weight=weight,
        harm_log_e=np.nan_to_num(harm, nan=0.0),
        safe_log_e=safe,
        margin=(margin_to - 1) * control if by_ratio else margin_to,
        value=difference,
        low=low,
        high=high,
        unit="value",
        counts={"quantile": series.probability, "canary": arms[0], "control": arms[1]},
        roll_back=(line - 1) * control if by_ratio else line,
    )


@dataclass(frozen=True)
class _Shift:
    """How one quantile is moved against the other: times a ratio, or by a difference."""

    by_ratio: bool
    scale: float

    def inverse(self, size: Any) -> Any:
        return 1 / size if self.by_ratio else -size

    def at(self, size: Any) -> Any:
        return (lambda point: point / size) if self.by_ratio else (lambda point: point - size)

    def size(self, amount: Floats) -> Floats:
        return np.exp(amount * self.scale) if self.by_ratio else amount * self.scale

    def amount_of(self, size: float) -> float:
        return (math.log(size) if self.by_ratio else size) / self.scale

    def amount(self, amount: Floats) -> Any:
        return self.at(self.size(amount)[None, :])


def _range(series: QuantileSeries) -> float:
    """How far apart any two values lie: no difference of quantiles is larger."""
    values = np.concatenate([arm.value for arm in series.arms])
    return float(np.ptp(values)) if len(values) else 1.0


def _nothing(guardrail: Guardrail, weight: float, n_looks: int) -> GuardrailEvidence:
    """Without a positive quantile of the control there is no ratio to it: nothing is shown either way."""
    nothing = np.full(n_looks, np.nan)
    return GuardrailEvidence(
        guardrail,
        weight,
        np.zeros(n_looks),
        nothing,
        math.nan,
        nothing,
        nothing - np.inf,
        nothing + np.inf,
        "value",
        {},
        math.nan,
    )
