"""Release health: validity checks, evidence, the decision table, and the report of one stage."""

from typing import TYPE_CHECKING

from canarykit.lazy import lazy_names

if TYPE_CHECKING:
    from canarykit.health.checks.check import Check
    from canarykit.health.decision import Evidence, Row, Rules, Verdict, decide, first_decision
    from canarykit.health.evaluate import evaluate_stage, evaluate_stages
    from canarykit.health.report.audit_record import recompute
    from canarykit.health.report.release_report import ReleaseReport
    from canarykit.health.report.replay import replay
    from canarykit.health.report.stage_report import StageReport
    from canarykit.insights.dashboard import Dashboard, dashboard

__all__ = [
    "Check",
    "Dashboard",
    "Evidence",
    "ReleaseReport",
    "Row",
    "Rules",
    "StageReport",
    "Verdict",
    "dashboard",
    "decide",
    "evaluate_stage",
    "evaluate_stages",
    "first_decision",
    "recompute",
    "replay",
]

_HOMES = {
    "canarykit.health.decision": ("Evidence", "Row", "Rules", "Verdict", "decide", "first_decision"),
    "canarykit.health.evaluate": ("evaluate_stage", "evaluate_stages"),
    "canarykit.health.checks.check": ("Check",),
    "canarykit.health.report.release_report": ("ReleaseReport",),
    "canarykit.health.report.replay": ("replay",),
    "canarykit.health.report.audit_record": ("recompute",),
    "canarykit.health.report.stage_report": ("StageReport",),
    "canarykit.insights.dashboard": ("Dashboard", "dashboard"),
}

if not TYPE_CHECKING:  # with a __getattr__ in sight, a type checker takes any name
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)
