"""What is measured, and its reduction on the engine to counts and moments."""

from typing import TYPE_CHECKING

from canarykit.lazy import lazy_names
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
from canarykit.metrics.time_to_event import TimeToEvent
from canarykit.metrics.values import (
    Average,
    Count,
    Metric,
    Quantile,
    Ratio,
    SurveyScore,
    Total,
    ValueMetric,
    metric_from_dict,
)

if TYPE_CHECKING:
    from canarykit.metrics.sufficient_statistics import reduce
    from canarykit.metrics.unit_outcomes import Before, Outcomes, before_exposure, outcomes

__all__ = [
    "Average",
    "Before",
    "Conversion",
    "Count",
    "ErrorShare",
    "FunnelShare",
    "Guardrail",
    "Metric",
    "MetricSpec",
    "Outcomes",
    "Quantile",
    "Ratio",
    "Retention",
    "ShareMetric",
    "SlowShare",
    "SurveyResponse",
    "SurveyScore",
    "TimeToEvent",
    "Total",
    "ValueMetric",
    "before_exposure",
    "guardrail_weights",
    "metric_from_dict",
    "outcomes",
    "reduce",
]

_HOMES = {
    "canarykit.metrics.sufficient_statistics": ("reduce",),
    "canarykit.metrics.unit_outcomes": ("Before", "Outcomes", "before_exposure", "outcomes"),
}

if not TYPE_CHECKING:  # with a __getattr__ in sight, a type checker takes any name
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)
