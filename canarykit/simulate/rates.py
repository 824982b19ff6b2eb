"""What a scenario means for a guardrail: the control's rate, and what the canary makes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from canarykit.errors import PlanError, did_you_mean
from canarykit.health.settle import ANY_LOSS
from canarykit.metrics import Conversion, FunnelShare, Guardrail, SlowShare, SurveyResponse
from canarykit.metrics.share import ErrorShare, ShareMetric
from canarykit.metrics.values import Average, SurveyScore
from canarykit.simulate.population import Population
from canarykit.simulate.scenario import Effect, Scenario
from canarykit.times import micros

__all__ = ["Truth", "truth_of"]


@dataclass(frozen=True)
class Truth:
    """A guardrail's truth per exposed person.

    Parameters
    ----------
    guardrail
        The guardrail.
    base
        The control's share of people with the event, or its mean.
    quantities
        What the scenario calls the quantities behind it; their effects multiply.
    spread
        Standard deviation of a person's value; 0 for share metrics, which need none.
    """

    guardrail: Guardrail
    base: float
    quantities: tuple[str, ...]
    spread: float = 0.0

    @property
    def is_share(self) -> bool:
        """Whether people either have the event or not."""
        return isinstance(self.guardrail.metric, ShareMetric)

    @property
    def margin_ratio(self) -> float:
        """The guardrail's own margin as canary over control; points beyond the rate tolerate any loss."""
        item = self.guardrail
        points = item.margin_pp / 100 if item.margin_pp is not None else item.margin
        if points is None:
            return item.tolerated_ratio
        if item.worse == "higher":
            return 1 + points / self.base
        return max(1 - points / self.base, ANY_LOSS)

    @property
    def margin_harm(self) -> float:
        """The margin as a ratio above 1."""
        return self.margin_ratio if self.guardrail.worse == "higher" else 1 / self.margin_ratio

    def harm(self, control: np.ndarray, canary: np.ndarray) -> float:
        """Largest ratio in the bad direction, 1 or less where there is none."""
        ratio = canary / control
        return float(np.max(ratio if self.guardrail.worse == "higher" else 1 / np.maximum(ratio, 1e-12)))

    def extra(self, control: np.ndarray, canary: np.ndarray) -> np.ndarray:
        """Bad events per canary person beyond the control's, by interval."""
        return canary - control if self.guardrail.worse == "higher" else control - canary

    def ratios(
        self, scenario: Scenario, population: Population, stage: str, times_us: np.ndarray, variant: str
    ) -> np.ndarray:
        """What the variant's base is multiplied by, at each look of a stage."""
        ratio = np.ones(len(times_us))
        for effect in scenario.effects:
            applies = effect.variant is None or effect.variant == variant
            if effect.quantity not in self.quantities or not applies:
                continue
            if effect.stage is not None and effect.stage != stage:
                continue
            inside = np.ones(len(times_us), bool)
            if effect.since is not None:
                inside &= times_us >= micros(effect.since)
            if effect.until is not None:
                inside &= times_us < micros(effect.until)
            ratio *= np.where(inside, 1.0 + self._strength(effect, scenario, population), 1.0)
        return ratio

    def _strength(self, effect: Effect, scenario: Scenario, population: Population) -> float:
        strength = (effect.ratio - 1.0) * share_of(effect.where, population)
        if isinstance(self.guardrail.metric, SlowShare):  # a slower median moves the share above the limit
            slow = _slow_share(self.guardrail.metric, scenario, effect.ratio) / max(self.base, 1e-12)
            return (slow - 1.0) * share_of(effect.where, population)
        return strength


def truth_of(guardrail: Guardrail, scenario: Scenario, rates: Mapping[str, float] | None = None) -> Truth:
    """The truth behind a guardrail; `rates` overrides the control's rate by the guardrail's label.

    Rates are per exposed person with one session each, the moment they are exposed.
    """
    metric = guardrail.metric
    steps = {step.event: step.rate for step in scenario.steps}
    names = list(steps)
    quantities: tuple[str, ...]
    spread = 0.0
    if isinstance(metric, SlowShare):
        base, quantities = _slow_share(metric, scenario, 1.0), ("load time",)
    elif isinstance(metric, SurveyResponse):
        base, quantities = scenario.base("survey answers"), ("survey answers",)
    elif isinstance(metric, SurveyScore):
        base, quantities, spread = scenario.base("survey score"), ("survey score",), 0.9
    elif isinstance(metric, Average):
        slow = metric.event == names[0]
        noise = scenario.load_spread if slow else scenario.amount_spread
        base = scenario.base("load time" if slow else "revenue") * math.exp(noise**2 / 2)
        quantities = ("load time",) if slow else ("revenue",)
        spread = base * math.sqrt(math.expm1(noise**2))
    elif isinstance(metric, Conversion | FunnelShare) or getattr(metric, "event", None) in steps:
        last = metric.events[-1]
        if last not in steps:
            raise PlanError(
                f"{guardrail.label}: the scenario has no step {last!r}; {did_you_mean(last, steps)}"
            )
        path = names[: names.index(last) + 1]
        base, quantities = float(np.prod([steps[name] for name in path])), tuple(path)
    elif isinstance(metric, ErrorShare):
        base = 1 - (1 - scenario.error_rate) * (1 - scenario.server_error_rate)
        quantities = ("errors", "server errors") if scenario.server_error_rate else ("errors",)
        if scenario.server_error_rate:
            return Truth(guardrail, (rates or {}).get(guardrail.label, scenario.error_rate), ("errors",))
    else:
        raise PlanError(
            f"{guardrail.label}: {type(metric).__name__} cannot be simulated from rates; simulate events "
            "with simulate_rollout and judge them with evaluate_stage"
        )
    base = (rates or {}).get(guardrail.label, base)
    if isinstance(metric, ShareMetric) and not 0 < base < 1:
        raise PlanError(f"{guardrail.label}: its rate is {base}; expected a fraction between 0 and 1")
    return Truth(guardrail, base, quantities, spread)


def share_of(where: Mapping[str, Any], population: Population) -> float:
    """Share of the people with these properties, taken as independent."""
    share = 1.0
    known: dict[str, Mapping[str, float]] = {
        "browser": population.browsers,
        "country": population.countries,
        "plan": population.plans,
    }
    for key, wanted in where.items():
        if key == "team":
            share *= population.team / population.n
            continue
        if key not in known:
            raise PlanError(f"the share of people by {key!r} is not known; {did_you_mean(key, known)}")
        names = (wanted,) if isinstance(wanted, str) else tuple(wanted)
        share *= sum(known[key].get(name, 0.0) for name in names)
    return share


def _slow_share(metric: SlowShare, scenario: Scenario, ratio: float) -> float:
    """Share of a lognormal load time above the limit."""
    z = math.log(metric.slower_than / (scenario.load_time * ratio)) / max(scenario.load_spread, 1e-12)
    return 0.5 * math.erfc(z / math.sqrt(2))
