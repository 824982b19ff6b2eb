"""Statistics of a canary: counts, moments and arrays in, frozen results out.

Effects are canary against control and signed so that more is harm. None means no data; impossible input
raises `DataError`. Only numpy is needed to import this package.
"""

from canarykit.stats.boundaries import share_bounds
from canarykit.stats.estimate import ConfidenceSequence, Estimate, HypothesisTest, SequentialTest
from canarykit.stats.event_bounds import event_ratio_bounds, event_ratio_estimate
from canarykit.stats.events import EventMixture, event_test
from canarykit.stats.means import (
    cluster_difference,
    cuped_difference,
    mean_difference,
    ratio_difference,
    relative_difference,
)
from canarykit.stats.moments import Moments, PairMoments
from canarykit.stats.proportions import clopper_pearson, risk_difference, wilson
from canarykit.stats.quantile_sequences import quantile_bounds, quantile_test
from canarykit.stats.quantiles import quantile, quantile_difference
from canarykit.stats.rates import rate_difference, rate_ratio
from canarykit.stats.sequential import (
    best_k,
    confidence_sequence,
    mixture_boundary,
    mixture_log_e,
    mixture_test,
    tune_k,
)
from canarykit.stats.srm import (
    SRM_MIXTURE,
    sequential_srm,
    sequential_srm_tilt,
    srm_chi_square,
    srm_exact,
)
from canarykit.stats.stratified import StratifiedScore, stratified_score

__all__ = [
    "SRM_MIXTURE",
    "ConfidenceSequence",
    "Estimate",
    "EventMixture",
    "HypothesisTest",
    "Moments",
    "PairMoments",
    "SequentialTest",
    "StratifiedScore",
    "best_k",
    "clopper_pearson",
    "cluster_difference",
    "confidence_sequence",
    "cuped_difference",
    "event_ratio_bounds",
    "event_ratio_estimate",
    "event_test",
    "mean_difference",
    "mixture_boundary",
    "mixture_log_e",
    "mixture_test",
    "quantile",
    "quantile_bounds",
    "quantile_difference",
    "quantile_test",
    "rate_difference",
    "rate_ratio",
    "ratio_difference",
    "relative_difference",
    "risk_difference",
    "sequential_srm",
    "sequential_srm_tilt",
    "share_bounds",
    "srm_chi_square",
    "srm_exact",
    "stratified_score",
    "tune_k",
    "wilson",
]
