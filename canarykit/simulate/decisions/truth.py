"""What a scenario means for a guardrail: the control's rate, and what the canary makes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.display import Note
from canarykit.errors import PlanError, did_you_mean, require_kind
from canarykit.metrics import Conversion, FunnelShare, Guardrail, SlowShare, SurveyResponse
from canarykit.metrics.direction import event_direction
from canarykit.metrics.share import ErrorShare, ShareMetric
from canarykit.metrics.time_to_event import TimeToEvent
from canarykit.metrics.values import Average, Count, PerPerson, Quantile, SurveyScore, Total
from canarykit.plan.values import value_names
from canarykit.simulate.people.population import Population
from canarykit.simulate.people.scenario import Effect, Scenario
from canarykit.stats.any_look.sequential import K_AT_GATE, mixture_log_e
from canarykit.times import duration, micros

if TYPE_CHECKING:
    from canarykit.plan import RolloutPlan

Rates = Mapping[str, float | tuple[float, float]]
"""By a guardrail's label: the control's share of people, its mean, or mean and standard deviation."""
Delays = Mapping[str, str]
"""By a guardrail's label: the mean time from exposure to event."""
Ages = Sequence[tuple[np.ndarray, float]]
"""An effect by the time since the exposure: terms of a factor by interval, and a rate an hour of fading."""


@dataclass(frozen=True)
class Truth:
    """A guardrail's truth per exposed person."""

    guardrail: Guardrail  # the guardrail
    base: float  # the control's share of people with the event, or its mean
    quantities: tuple[str, ...]  # what the scenario calls the quantities behind it; their effects multiply
    # standard deviation of a person's value; 0 for share metrics, which need none. Of a quantile, that of
    # values whose mean is known as well: its evidence is simulated as that of a mean (approximate).
    spread: float = 0.0
    delay: float = 0.0  # mean hours from exposure to event; 0 for at once

    @property
    def is_share(self) -> bool:
        """Whether people either have the event or not."""
        return isinstance(self.guardrail.metric, ShareMetric)

    @property
    def margin_ratio(self) -> float:
        """The guardrail's own margin as canary over control; points beyond the rate tolerate any loss."""
        return self.guardrail.margin_at(self.base)

    @property
    def margin_harm(self) -> float:
        """The margin as a ratio above 1."""
        return self.margin_ratio if self.guardrail.worse == "higher" else 1 / self.margin_ratio

    def harm(self, control: np.ndarray, canary: np.ndarray) -> float:
        """Largest ratio in the bad direction, 1 or less where there is none."""
        metric = self.guardrail.metric
        ratio = np.array([metric.ratio_of(float(a), float(b)) for a, b in zip(control, canary, strict=True)])
        return float(np.max(ratio if self.guardrail.worse == "higher" else 1 / np.maximum(ratio, 1e-12)))

    def extra(self, control: np.ndarray, canary: np.ndarray) -> np.ndarray:
        """Bad events per canary person beyond the control's, by interval."""
        return canary - control if self.guardrail.worse == "higher" else control - canary

    def mean_evidence(
        self,
        means: tuple[np.ndarray, np.ndarray],
        people: tuple[np.ndarray, np.ndarray],
        margin: float,
        gate: slice,
        *,
        canary: tuple[np.ndarray, np.ndarray],
        left: float = 1.0,
        come: np.ndarray | float = 1.0,
        progress: float = 1.0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Evidence of harm and of safety of a mean at each look, (runs, looks).

        `means` and `people` are those of the canary and of the control so far, and `canary` the mean and
        standard deviation behind its values; of a margin in the metric's unit a part may be `left`. At the
        `gate` the evidence is sharpest, unless only some `progress` towards it has been made. Of a
        part of the people the value has `come`.
        """
        sign = -1.0 if self.guardrail.worse == "lower" else 1.0
        found = []
        points = self.guardrail.margin  # in the metric's unit, or else a ratio
        beyond = (1.0, sign * points * left) if points is not None else (margin, 0.0)
        line = self.guardrail.roll_back_beyond(self.margin_ratio)
        harmful = (1.0, (line - 1) * self.base) if points is not None else (line, 0.0)
        spreads = [
            np.maximum((sd**2 + mean**2) * come - (mean * come) ** 2, 1e-300)
            for mean, sd in (canary, (self.base, self.spread))
        ]
        for (factor, offset), side in ((harmful, 1.0), (beyond, -1.0)):
            variance = spreads[0] / people[0] + factor**2 * spreads[1] / people[1]
            k = K_AT_GATE * progress * variance[:, gate] / variance
            difference = means[0] - factor * means[1] - offset
            found.append(mixture_log_e(side * sign * difference / np.sqrt(variance), k, "one"))
        return found[0], found[1]

    def ratios(
        self, scenario: Scenario, population: Population, stage: str, times_us: np.ndarray, variant: str
    ) -> np.ndarray:
        """What the variant's base is multiplied by, at each look of a stage; effects are at full size."""
        terms = self.ages(scenario, population, stage, times_us, variant, changing=False)
        return np.asarray(sum(factor for factor, _ in terms))

    def spread_under(
        self, scenario: Scenario, population: Population, stage: str, times_us: np.ndarray, variant: str
    ) -> np.ndarray:
        """Standard deviation of a person's value under a variant, at each look of a stage.

        It grows with amounts, and with the root of how many people have any.
        """
        where = (scenario, population, stage, times_us, variant)
        whole, amounts = self.ratios(*where), np.ones(len(times_us))
        metric = self.guardrail.metric
        if not isinstance(metric, Count) and getattr(metric, "property_name", "") is not None:
            amounts = replace(self, quantities=self.quantities[-1:]).ratios(*where)
        return np.asarray(self.spread * amounts * np.sqrt(whole / np.maximum(amounts, 1e-12)))

    def ages(
        self,
        scenario: Scenario,
        population: Population,
        stage: str,
        times_us: np.ndarray,
        variant: str,
        *,
        changing: bool = True,
    ) -> Ages:
        """The same as a sum of terms that fade with the time since the exposure, each at its own rate."""
        terms: list[tuple[np.ndarray, float]] = [(np.ones(len(times_us)), 0.0)]
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
            added = np.where(inside, self.strength(effect, scenario, population), 0.0)
            own = [(added, 0.0)]
            if changing and effect.fades_after is not None:
                own = [(added, 1 / (24 * effect.fades_after))]
            elif changing and effect.grows_over is not None:
                own.append((-added, 1 / (24 * effect.grows_over)))
            terms += [(factor * more, rate + fading) for factor, rate in terms for more, fading in own]
        return terms

    def strength(self, effect: Effect, scenario: Scenario, population: Population) -> float:
        """What an effect adds to the base as a part of it, over all people."""
        strength = (effect.ratio - 1.0) * share_of(effect.where, population)
        if isinstance(self.guardrail.metric, SlowShare):  # a slower median moves the share above the limit
            slow = _slow_share(self.guardrail.metric, scenario, effect.ratio) / max(self.base, 1e-12)
            return (slow - 1.0) * share_of(effect.where, population)
        return strength


def truth_of(
    guardrail: Guardrail, scenario: Scenario, rates: Rates | None = None, delays: Delays | None = None
) -> Truth:
    """The truth behind a guardrail; `rates` overrides the control's rate by the guardrail's label.

    Rates are per exposed person with one session each, the moment they are exposed or after `delays`; errors
    are those of the client. What the scenario knows nothing of can be simulated with the rate given (of a
    value: with mean and standard deviation), and no effect touches it.
    """
    metric = guardrail.metric
    said = (rates or {}).get(guardrail.label)
    given, given_spread = said if isinstance(said, tuple) else (said, None)
    if isinstance(metric, ShareMetric):
        if given_spread is not None:
            raise PlanError(f"{guardrail.label}: its rate is {said}; a share of people is one number")
        known = _share_truth(metric, guardrail.label, scenario, is_given=given is not None)
        if known is None and given is None:
            raise _cannot(guardrail)
        base, quantities = known if known is not None else (0.0, ())
        base = base if given is None else given
        if not 0 < base < 1:
            raise PlanError(f"{guardrail.label}: its rate is {base}; expected a fraction between 0 and 1")
        return Truth(guardrail, base, quantities, delay=_hours_of(guardrail, delays))
    delay = _hours_of(guardrail, delays)
    found = _value_truth(metric, guardrail.label, scenario)
    if given is not None and given_spread is not None:
        if not (given > 0 and given_spread > 0):
            raise PlanError(
                f"{guardrail.label}: its rate is {said}; expected (mean, standard deviation) above 0"
            )
        return Truth(guardrail, given, found[2] if found else (), given_spread, delay)
    if found is None:
        raise _cannot(guardrail)
    mean, spread, quantities = found
    return Truth(guardrail, mean if given is None else given, quantities, spread, delay)


def _hours_of(guardrail: Guardrail, delays: Delays | None) -> float:
    """Mean hours from exposure to event; 0 where nothing is said."""
    said = (delays or {}).get(guardrail.label)
    if said is None:
        return 0.0
    metric = guardrail.metric
    if not isinstance(metric, ShareMetric | PerPerson):
        raise PlanError(
            f"delays has {guardrail.label!r}, in whose mean only those are who have a value: how many they "
            "are at a look does not follow from its rate; leave it out"
        )
    if isinstance(metric, PerPerson) and not math.isinf(metric.window[1]):
        raise PlanError(
            f"delays has {guardrail.label!r}, of which people count once their whole time is over, with all "
            "that came by then; leave it out"
        )
    if metric.window[0] > 0:
        raise PlanError(
            f"delays has {guardrail.label!r}, which says itself when its events come; leave it out"
        )
    return duration(said, name=f"the delay of {guardrail.label!r}") / 3600


def _share_truth(
    metric: ShareMetric, label: str, scenario: Scenario, *, is_given: bool
) -> tuple[float, tuple[str, ...]] | None:
    """The control's share of people with it, and the quantities behind it."""
    if isinstance(metric, SlowShare):
        return _slow_share(metric, scenario, 1.0), ("load time",)
    if isinstance(metric, SurveyResponse):
        return scenario.base("survey answers"), ("survey answers",)
    steps = {step.event for step in scenario.steps}
    if isinstance(metric, Conversion | FunnelShare) or (
        isinstance(metric, ErrorShare | TimeToEvent) and metric.event in steps
    ):
        return (
            None if is_given and metric.events[-1] not in steps else _path(metric.events[-1], label, scenario)
        )
    timed_error = isinstance(metric, TimeToEvent) and event_direction(metric.event) == "higher"
    if isinstance(metric, ErrorShare) or timed_error:
        return scenario.error_rate, ("errors",)
    return None


def _value_truth(metric: Any, label: str, scenario: Scenario) -> tuple[float, float, tuple[str, ...]] | None:
    """Mean and standard deviation over the people, and the quantities behind them."""
    if isinstance(metric, SurveyScore):
        return scenario.base("survey score"), 0.9, ("survey score",)
    if isinstance(metric, Average):
        return _amount(metric.event, scenario)
    if isinstance(metric, Quantile):
        quantity, noise = _noise(metric.event, scenario)
        at, spread = lognormal_quantile(scenario.base(quantity), noise, metric.q)
        return at, spread, (quantity,)
    if not isinstance(metric, Total | Count):
        return None
    if metric.event in {step.event for step in scenario.steps}:
        share, quantities = _path(metric.event, label, scenario)
    elif metric.event == ErrorShare().event:
        share, quantities = scenario.error_rate, ("errors",)
    else:
        return None
    if isinstance(metric, Count) or metric.property_name is None:  # a person does it once or not at all
        return share, math.sqrt(share * (1 - share)), quantities
    mean, spread, (quantity,) = _amount(metric.event, scenario)
    variance = share * (spread**2 + mean**2) - (share * mean) ** 2
    return share * mean, math.sqrt(variance), (*quantities, quantity)


def _path(last: str, label: str, scenario: Scenario) -> tuple[float, tuple[str, ...]]:
    """Share of the people who get as far as a step, and the steps up to it."""
    steps = {step.event: step.rate for step in scenario.steps}
    if last not in steps:
        raise PlanError(f"{label}: the scenario has no step {last!r}; {did_you_mean(last, steps)}")
    names = list(steps)
    path = names[: names.index(last) + 1]
    return float(np.prod([steps[name] for name in path])), tuple(path)


def _amount(event: str, scenario: Scenario) -> tuple[float, float, tuple[str]]:
    """The lognormal number that an event carries: the load time at the first step, else the revenue."""
    quantity, noise = _noise(event, scenario)
    mean = scenario.base(quantity) * math.exp(noise**2 / 2)
    return mean, mean * math.sqrt(math.expm1(noise**2)), (quantity,)


def _noise(event: str, scenario: Scenario) -> tuple[str, float]:
    """What number an event carries, and the spread of its logarithm."""
    if event == scenario.steps[0].event:
        return "load time", scenario.load_spread
    return "revenue", scenario.amount_spread


def lognormal_quantile(median: float, noise: float, probability: float) -> tuple[float, float]:
    """A quantile of lognormal values, and the standard deviation of the mean that is known as well as it.

    The quantile of n values has a standard error of `sqrt(p (1 - p) / n)` over the density there.

    Examples
    --------
    >>> [round(number, 1) for number in lognormal_quantile(800, 0.5, 0.95)]
    [1820.8, 1923.9]
    """
    normal = NormalDist()
    z = normal.inv_cdf(probability)
    at = median * math.exp(noise * z)
    density = normal.pdf(z) / (noise * at)
    return at, math.sqrt(probability * (1 - probability)) / density


def _cannot(guardrail: Guardrail) -> PlanError:
    return PlanError(
        f"{guardrail.label}: {type(guardrail.metric).__name__} cannot be simulated from rates; simulate "
        "events with simulate_rollout and judge them with evaluate_stage"
    )


def require_labels(
    rates: Rates | None, guardrails: Sequence[Guardrail], delays: Delays | None = None
) -> None:
    """Rates and delays are given by a guardrail's label; those of none of them would be passed over."""
    labels = [item.label for item in guardrails]
    for what, given in (("rates", rates), ("delays", delays)):
        require_kind(
            what, {} if given is None else given, Mapping, "a mapping with guardrails' labels as keys"
        )
        for name in given or {}:
            if name not in labels:
                hint = did_you_mean(name, labels)
                raise PlanError(f"{what} has {name!r}, the label of no guardrail; {hint}")


def require_units(
    plan: RolloutPlan, guardrails: Sequence[Guardrail], rates: Rates | None, traffic: Any
) -> None:
    """A plan that assigns groups is simulated by groups: a scenario has the traffic and rates of people."""
    if plan.aggregation_group_type_index is None:
        return
    unit = plan.aggregation_group_type
    what = f"the plan of {plan.flag!r} assigns by {unit}"
    if isinstance(traffic, Population):
        raise PlanError(f"{what}, and a Population counts people; give traffic= as new groups an hour")
    require_shares(plan, guardrails)
    for item in guardrails:
        if item.label not in (rates or {}):
            raise PlanError(
                f"{what}, and a scenario's rates are those of people; give rates={{{item.label!r}: ...}}, "
                "the share of groups with the event"
            )


def require_shares(plan: RolloutPlan, guardrails: Sequence[Guardrail]) -> None:
    """Of groups only shares can be simulated: their values depend on how large they are."""
    for item in guardrails:
        if not isinstance(item.metric, ShareMetric):
            raise PlanError(
                f"the plan of {plan.flag!r} assigns by {plan.aggregation_group_type}: {item.label} cannot be "
                "simulated from rates, since groups differ in size; simulate events with simulate_rollout "
                "and judge them with evaluate_stage"
            )


def require_variants(scenario: Scenario, plan: RolloutPlan) -> None:
    """Effects must be for variants that the plan has: "true" is none of a plan with other names."""
    known = sorted({plan.control, *value_names(plan)})
    for effect in scenario.effects:
        if effect.variant is not None and effect.variant not in known:
            raise PlanError(
                f"the effect on {effect.quantity!r} is for variant {effect.variant!r}; "
                f"{did_you_mean(effect.variant, known)}"
            )


def not_simulated(
    scenario: Scenario, truths: Sequence[Truth], kinds: Sequence[str], knows_logins: bool
) -> tuple[Note, ...]:
    """What a scenario says and simulated counts do not have; `kinds` are those of its faults."""
    at_once = {quantity for truth in truths if not truth.delay for quantity in truth.quantities}
    changing = sum(
        (item.fades_after is not None or item.grows_over is not None) and item.quantity in at_once
        for item in scenario.effects
    )
    if knows_logins:
        kinds = [kind for kind in kinds if kind != "flip at login"]
    faults = ", ".join(dict.fromkeys(kinds))
    left_out = (
        Note(
            "at_full_size",
            "effects that fade or grow with a person's days are at full size where events come at once; say "
            "in delays how long after the exposure they come",
            changing,
        ),
        Note(
            "no_faults",
            f"faults ({faults}) are not in simulated counts; simulate events with simulate_rollout and judge "
            "them with evaluate_stage",
            len(kinds),
        ),
    )
    return tuple(note for note in left_out if note.count)


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
