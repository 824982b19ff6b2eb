"""See a rollout before it happens: event logs with a known truth, decisions simulated many times, plans."""

from typing import TYPE_CHECKING

from canarykit.lazy import lazy_names

if TYPE_CHECKING:
    from canarykit.simulate.decisions.blast_radius import blast_radius
    from canarykit.simulate.decisions.operating import Decisions
    from canarykit.simulate.decisions.ramps import RampPlan, plan_ramp
    from canarykit.simulate.decisions.sample_size import expected_duration, power, sample_size
    from canarykit.simulate.decisions.simulate import simulate_decisions
    from canarykit.simulate.log.rollout import simulate_rollout
    from canarykit.simulate.people.own_traffic import PresentRates, rates_like
    from canarykit.simulate.people.population import Population
    from canarykit.simulate.people.scenario import Effect, Fault, Scenario, Step, Survey
    from canarykit.simulate.sample import Sample, load_sample

__all__ = [
    "Decisions",
    "Effect",
    "Fault",
    "Population",
    "PresentRates",
    "RampPlan",
    "Sample",
    "Scenario",
    "Step",
    "Survey",
    "blast_radius",
    "expected_duration",
    "load_sample",
    "plan_ramp",
    "power",
    "rates_like",
    "sample_size",
    "simulate_decisions",
    "simulate_rollout",
]

_HOMES = {
    "canarykit.simulate.people.own_traffic": ("PresentRates", "rates_like"),
    "canarykit.simulate.people.population": ("Population",),
    "canarykit.simulate.people.scenario": ("Effect", "Fault", "Scenario", "Step", "Survey"),
    "canarykit.simulate.log.rollout": ("simulate_rollout",),
    "canarykit.simulate.decisions.blast_radius": ("blast_radius",),
    "canarykit.simulate.decisions.operating": ("Decisions",),
    "canarykit.simulate.decisions.simulate": ("simulate_decisions",),
    "canarykit.simulate.decisions.sample_size": ("expected_duration", "power", "sample_size"),
    "canarykit.simulate.decisions.ramps": ("RampPlan", "plan_ramp"),
    "canarykit.simulate.sample": ("Sample", "load_sample"),
}

if not TYPE_CHECKING:  # with a __getattr__ in sight, a type checker takes any name
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)
