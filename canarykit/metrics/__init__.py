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
    "guardrail_weights",
    "metric_from_dict",
    "outcomes",
    "reduce",
]


def __getattr__(name: str) -> Any:
    if name in ("Outcomes", "outcomes", "reduce"):
        from canarykit.metrics import reduction

        return getattr(reduction, name)
    raise AttributeError(f"module 'canarykit.metrics' has no attribute {name!r}")
