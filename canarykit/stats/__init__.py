"""Statistics of a canary: counts, moments and arrays in, frozen results out.

Effects are canary against control and signed so that more is harm. None means no data; impossible input
raises `DataError`. Only numpy is needed to import this package.
"""

from canarykit.stats.any_look.boundaries import share_bounds
from canarykit.stats.any_look.event_bounds import event_ratio_bounds, event_ratio_estimate
from canarykit.stats.any_look.event_process import EventMixture, event_test
from canarykit.stats.any_look.quantile_sequences import quantile_bounds, quantile_test
from canarykit.stats.any_look.sequential import (
    best_k,
    confidence_sequence,
    mixture_boundary,
    mixture_log_e,
    mixture_test,
    tune_k,
)
from canarykit.stats.estimate import ConfidenceSequence, Estimate, HypothesisTest, SequentialTest
from canarykit.stats.multiplicity import adjust_p_values, mean_log_e, weighted_harm
from canarykit.stats.one_look.association import fisher_exact, homogeneity, mantel_haenszel, odds_ratio
from canarykit.stats.one_look.clusters import cluster_jackknife, leave_one_out
from canarykit.stats.one_look.means import (
    cluster_difference,
    cuped_difference,
    mean_difference,
    ratio_difference,
    relative_difference,
)
from canarykit.stats.one_look.moments import Moments, PairMoments
from canarykit.stats.one_look.proportions import clopper_pearson, risk_difference, wilson
from canarykit.stats.one_look.quantiles import quantile, quantile_difference
from canarykit.stats.one_look.rates import rate_difference, rate_ratio
from canarykit.stats.one_look.ratio_scores import risk_odds_ratio, risk_ratio
from canarykit.stats.one_look.srm import (
    SRM_MIXTURE,
    sequential_srm,
    sequential_srm_tilt,
    srm_chi_square,
    srm_exact,
)
from canarykit.stats.one_look.stratified import StratifiedScore, stratified_score
from canarykit.stats.one_look.surveys import net_promoter_score, net_promoter_score_difference, satisfaction
from canarykit.stats.others.mann_whitney import MannWhitneyLabel, classify_series, kayenta_score
from canarykit.stats.others.published_sequences import eppo_interval, growthbook_interval, statsig_interval
from canarykit.stats.planned_looks import (
    GroupSequentialPlan,
    classical_boundary,
    conditional_power,
    crossing_probabilities,
    futility_plan,
    spending,
    spending_boundary,
)
from canarykit.stats.planning.events_needed import EventPower, event_power, events_needed
from canarykit.stats.planning.users_needed import (
    MeanEffect,
    PowerAnswer,
    ProportionEffect,
    RateEffect,
    guardrail_power,
    power,
    sample_size,
    srm_detectable_share,
)

__all__ = [
    "SRM_MIXTURE",
    "ConfidenceSequence",
    "Estimate",
    "EventMixture",
    "EventPower",
    "GroupSequentialPlan",
    "HypothesisTest",
    "MannWhitneyLabel",
    "MeanEffect",
    "Moments",
    "PairMoments",
    "PowerAnswer",
    "ProportionEffect",
    "RateEffect",
    "SequentialTest",
    "StratifiedScore",
    "adjust_p_values",
    "best_k",
    "classical_boundary",
    "classify_series",
    "clopper_pearson",
    "cluster_difference",
    "cluster_jackknife",
    "conditional_power",
    "confidence_sequence",
    "crossing_probabilities",
    "cuped_difference",
    "eppo_interval",
    "event_power",
    "event_ratio_bounds",
    "event_ratio_estimate",
    "event_test",
    "events_needed",
    "fisher_exact",
    "futility_plan",
    "growthbook_interval",
    "guardrail_power",
    "homogeneity",
    "kayenta_score",
    "leave_one_out",
    "mantel_haenszel",
    "mean_difference",
    "mean_log_e",
    "mixture_boundary",
    "mixture_log_e",
    "mixture_test",
    "net_promoter_score",
    "net_promoter_score_difference",
    "odds_ratio",
    "power",
    "quantile",
    "quantile_bounds",
    "quantile_difference",
    "quantile_test",
    "rate_difference",
    "rate_ratio",
    "ratio_difference",
    "relative_difference",
    "risk_difference",
    "risk_odds_ratio",
    "risk_ratio",
    "sample_size",
    "satisfaction",
    "sequential_srm",
    "sequential_srm_tilt",
    "share_bounds",
    "spending",
    "spending_boundary",
    "srm_chi_square",
    "srm_detectable_share",
    "srm_exact",
    "statsig_interval",
    "stratified_score",
    "tune_k",
    "weighted_harm",
    "wilson",
]
