"""canarykit: analyse canary releases behind feature flags.

Four jobs, in the order of a rollout:

1. Assign      `RolloutPlan`, `evaluate_flag`, `assign_cohorts`, `bucket`, `audit_assignment`
2. Simulate    `simulate_rollout`, `simulate_decisions`, `plan_ramp`, `sample_size`
3. Funnel      `read_posthog`, `exposures`, `funnel_by_flag`, `trend_by_flag`
4. Health      `evaluate_stage`, `Guardrail`, `survey_by_flag`, `sessions_by_flag`

Names are loaded when first used, so `import canarykit` stays light.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "canarykit.errors": (
        "CanarykitError",
        "DataError",
        "ExportFormatError",
        "NaiveTimestampError",
        "PlanError",
        "UnsupportedFlagError",
    ),
    "canarykit.bucketing": ("bucket", "split"),
    "canarykit.flags": ("Condition", "Flag", "FlagSet", "PropertyFilter", "Variant", "read_flags"),
    "canarykit.linting": ("lint",),
    "canarykit.assign": ("assign_cohorts", "evaluate_flag"),
    "canarykit.plan": ("RolloutPlan", "Stage"),
    "canarykit.linting.edits": ("compare_flags",),
    "canarykit.events": ("EventLog",),
    "canarykit.events.exports": ("read_posthog", "scan_posthog"),
    "canarykit.exposure": ("exposures",),
    "canarykit.audit": ("audit_assignment",),
    "canarykit.overview": ("bootstrap", "flag_overview"),
    "canarykit.funnels": ("funnel_by_flag",),
    "canarykit.insights": ("trend_by_flag",),
    "canarykit.feedback": ("exceptions_by_flag", "sessions_by_flag", "survey_by_flag"),
    "canarykit.metrics": ("Guardrail",),
    "canarykit.health": ("StageReport", "Verdict", "dashboard", "evaluate_stage"),
    "canarykit.simulate": (
        "Population",
        "Scenario",
        "blast_radius",
        "expected_duration",
        "plan_ramp",
        "power",
        "sample_size",
        "simulate_decisions",
        "simulate_rollout",
    ),
}
_MODULES = ("metrics", "stats")
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted([*_HOME_OF, *_MODULES])]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        value = getattr(import_module(_HOME_OF[name]), name)
    elif name in _MODULES:
        value = import_module(f"canarykit.{name}")
    else:
        raise AttributeError(f"module 'canarykit' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
