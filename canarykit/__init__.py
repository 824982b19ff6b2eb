"""canarykit: analyse canary releases behind feature flags.

Four jobs, in the order of a rollout:

1. Assign      `RolloutPlan`, `evaluate_flag`, `assign_cohorts`, `bucket`, `audit_assignment`
2. Simulate    `simulate_rollout`, `simulate_decisions`, `plan_ramp`, `sample_size`
3. Funnel      `read_posthog`, `exposures`, `funnel_by_flag`, `trend_by_flag`
4. Health      `evaluate_stage`, `replay`, `Guardrail`, `survey_by_flag`, `sessions_by_flag`

and both ends of them in one place, where the release lives in PostHog: `PostHog`.

Names are loaded when first used, so `import canarykit` stays light.
"""

from typing import TYPE_CHECKING

from canarykit.lazy import lazy_names

if TYPE_CHECKING:
    from canarykit import metrics, stats, typing
    from canarykit.assign import assign_cohorts, evaluate_flag
    from canarykit.audit import audit_assignment
    from canarykit.bucketing import bucket, split
    from canarykit.errors import (
        CanarykitError,
        DataError,
        ExportFormatError,
        NaiveTimestampError,
        PlanError,
        UnsupportedFlagError,
    )
    from canarykit.events import EventLog
    from canarykit.events.exports import read_posthog, scan_posthog
    from canarykit.exposure import exposures
    from canarykit.feedback import exceptions_by_flag, sessions_by_flag, survey_by_flag
    from canarykit.flags import Condition, Flag, FlagSet, PropertyFilter, Variant, read_flags
    from canarykit.funnels import funnel_by_flag
    from canarykit.health import StageReport, Verdict, dashboard, evaluate_stage, replay
    from canarykit.health.suggestions import suggest_guardrails
    from canarykit.insights import trend_by_flag
    from canarykit.linting import lint
    from canarykit.linting.edits import compare_flags
    from canarykit.metrics import Guardrail
    from canarykit.overview import bootstrap, flag_overview
    from canarykit.plan import RolloutPlan, Stage
    from canarykit.posthog import PostHog
    from canarykit.release.watch import watch
    from canarykit.simulate import (
        Population,
        Scenario,
        blast_radius,
        expected_duration,
        load_sample,
        plan_ramp,
        power,
        rates_like,
        sample_size,
        simulate_decisions,
        simulate_rollout,
    )

__version__ = "0.2.0"

__all__ = [
    "CanarykitError",
    "Condition",
    "DataError",
    "EventLog",
    "ExportFormatError",
    "Flag",
    "FlagSet",
    "Guardrail",
    "NaiveTimestampError",
    "PlanError",
    "Population",
    "PostHog",
    "PropertyFilter",
    "RolloutPlan",
    "Scenario",
    "Stage",
    "StageReport",
    "UnsupportedFlagError",
    "Variant",
    "Verdict",
    "__version__",
    "assign_cohorts",
    "audit_assignment",
    "blast_radius",
    "bootstrap",
    "bucket",
    "compare_flags",
    "dashboard",
    "evaluate_flag",
    "evaluate_stage",
    "exceptions_by_flag",
    "expected_duration",
    "exposures",
    "flag_overview",
    "funnel_by_flag",
    "lint",
    "load_sample",
    "metrics",
    "plan_ramp",
    "power",
    "rates_like",
    "read_flags",
    "read_posthog",
    "replay",
    "sample_size",
    "scan_posthog",
    "sessions_by_flag",
    "simulate_decisions",
    "simulate_rollout",
    "split",
    "stats",
    "suggest_guardrails",
    "survey_by_flag",
    "trend_by_flag",
    "typing",
    "watch",
]

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
    "canarykit.posthog": ("PostHog",),
    "canarykit.release.watch": ("watch",),
    "canarykit.events": ("EventLog",),
    "canarykit.events.exports": ("read_posthog", "scan_posthog"),
    "canarykit.exposure": ("exposures",),
    "canarykit.audit": ("audit_assignment",),
    "canarykit.overview": ("bootstrap", "flag_overview"),
    "canarykit.funnels": ("funnel_by_flag",),
    "canarykit.insights": ("trend_by_flag",),
    "canarykit.feedback": ("exceptions_by_flag", "sessions_by_flag", "survey_by_flag"),
    "canarykit.metrics": ("Guardrail",),
    "canarykit.health": ("StageReport", "Verdict", "dashboard", "evaluate_stage", "replay"),
    "canarykit.health.suggestions": ("suggest_guardrails",),
    "canarykit.simulate": (
        "Population",
        "Scenario",
        "blast_radius",
        "expected_duration",
        "load_sample",
        "plan_ramp",
        "power",
        "rates_like",
        "sample_size",
        "simulate_decisions",
        "simulate_rollout",
    ),
}

if not TYPE_CHECKING:  # with a __getattr__ in sight, a type checker takes any name
    __getattr__, __dir__ = lazy_names(__name__, _HOMES, ("metrics", "stats", "typing"))
