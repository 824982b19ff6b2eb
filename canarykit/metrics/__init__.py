"""What is measured, and its reduction on the engine to counts and moments."""

from typing import Any

from canarykit.metrics.guardrail import Guardrail, guardrail_weights
from canarykit.metrics.share import (
    Conversion,
    ErrorShare,
    FunnelShare,
    MetricSpec,
    Retention,
    ShareMetric,
    SlowShare,
    SurveyResponse,
)
from canarykit.metrics.values import (
    Average,
    Metric,
    Ratio,
    SurveyScore,
    Total,
    ValueMetric,
    metric_from_dict,
)

__all__ = [
    "Average",
    "Before",
    "Conversion",
    "ErrorShare",
    "FunnelShare",
    "Guardrail",
    "Metric",
    "MetricSpec",
    "Outcomes",
    "Ratio",
    "Retention",
    "ShareMetric",
    "SlowShare",
    "SurveyResponse",
    "SurveyScore",
    "Total",
    "ValueMetric",
    "before_exposure",
    "guardrail_weights",
    "metric_from_dict",
    "outcomes",
    "reduce",
]

_LAZY = {
    "Before": "unit_outcomes",
    "Outcomes": "unit_outcomes",
    "before_exposure": "unit_outcomes",
    "outcomes": "unit_outcomes",
    "reduce": "sufficient_statistics",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _LAZY:
        raise AttributeError(f"module 'canarykit.metrics' has no attribute {name!r}")
    return getattr(import_module(f"canarykit.metrics.{_LAZY[name]}"), name)
