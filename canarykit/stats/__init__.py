"""Statistics of a canary: counts, moments and arrays in, frozen results out.

Effects are canary against control and signed so that more is harm. None means no data; impossible input
raises `DataError`. Only numpy is needed to import this package.
"""

from canarykit.stats.estimate import Estimate, HypothesisTest, SequentialTest
from canarykit.stats.event_bounds import RatioSequence, event_ratio_bounds, event_ratio_estimate
from canarykit.stats.events import EventMixture, event_test
from canarykit.stats.proportions import clopper_pearson, risk_difference, wilson

__all__ = [
    "Estimate",
    "EventMixture",
    "HypothesisTest",
    "RatioSequence",
    "SequentialTest",
    "clopper_pearson",
    "event_ratio_bounds",
    "event_ratio_estimate",
    "event_test",
    "risk_difference",
    "wilson",
]
