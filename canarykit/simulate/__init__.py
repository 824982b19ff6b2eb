"""See a rollout before it happens: event logs with a known truth, decisions simulated many times, plans."""

from importlib import import_module
from typing import Any

_HOMES = {
    "canarykit.simulate.people.population": ("Population",),
    "canarykit.simulate.people.scenario": ("Effect", "Fault", "Scenario", "Step", "Survey"),
    "canarykit.simulate.log.rollout": ("simulate_rollout",),
    "canarykit.simulate.decisions.operating": ("Decisions",),
    "canarykit.simulate.decisions.simulate": ("simulate_decisions",),
    "canarykit.simulate.decisions.sample_size": (
        "blast_radius",
        "expected_duration",
        "power",
        "sample_size",
    ),
    "canarykit.simulate.decisions.ramps": ("RampPlan", "plan_ramp"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'canarykit.simulate' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
