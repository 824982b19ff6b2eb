"""Statistics of a canary: counts, moments and arrays in, frozen results out.

Effects are canary against control and signed so that more is harm. None means no data; impossible input
raises `DataError`. Only numpy is needed to import this package.
"""

from canarykit.stats.estimate import Estimate, HypothesisTest, SequentialTest
from canarykit.stats.proportions import clopper_pearson, risk_difference, wilson

__all__ = [
    "Estimate",
    "HypothesisTest",
    "SequentialTest",
    "clopper_pearson",
    "risk_difference",
    "wilson",
]
