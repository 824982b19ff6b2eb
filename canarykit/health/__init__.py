"""Release health: validity checks, evidence, the decision table, and the report of one stage."""

from importlib import import_module
from typing import Any

_HOMES = {
    "canarykit.health.decision": ("Evidence", "Row", "Rules", "Verdict", "decide", "first_decision"),
    "canarykit.health.evaluate": ("evaluate_stage",),
    "canarykit.health.checks.check": ("Check",),
    "canarykit.health.report.stage_report": ("StageReport", "recompute"),
    "canarykit.insights.dashboard": ("Dashboard", "dashboard"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Check",
    "Dashboard",
    "Evidence",
    "Row",
    "Rules",
    "StageReport",
    "Verdict",
    "dashboard",
    "decide",
    "evaluate_stage",
    "first_decision",
    "recompute",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'canarykit.health' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value
