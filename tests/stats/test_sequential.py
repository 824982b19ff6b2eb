"""One boundary, many products: reference constants, published multipliers, and coverage at every look."""

import math

import numpy as np
import pytest

from canarykit import stats
from canarykit.errors import DataError
from canarykit.stats import Moments

CONTROL = Moments.of_sums(3000, 1396.87, 52377.9767)
CANARY = Moments.of_sums(3461, 2422.7, 134698.29)


def test_the_boundary_matches_the_reference_implementation():
    assert float(stats.mixture_boundary(7.936155, 0.05, "two").round(6)) == 3.035209
    assert float(stats.mixture_boundary(6.328860, 0.05, "one").round(6)) == 2.766071
    assert float(stats.mixture_boundary(6.328860, 0.05, "one", closed_form=True).round(6)) == 2.779094


def test_evidence_reaches_one_over_alpha_exactly_on_the_boundary():
    k = np.geomspace(1e-3, 1e4, 40)
    for sided in ("one", "two"):
        for alpha in (0.2, 0.05, 0.001):
            z = stats.mixture_boundary(k, alpha, sided)
            assert stats.mixture_log_e(z, k, sided) == pytest.approx(-math.log(alpha), abs=1e-9)


def test_the_closed_form_is_a_little_cautious_and_never_less_than_the_root():
    k = np.geomspace(1e-2, 1e4, 50)
    exact, closed = (stats.mixture_boundary(k, 0.05, closed_form=form) for form in (False, True))
    assert np.all(closed >= exact)
    assert np.all(closed < exact * 1.1)


def test_without_information_nothing_is_ever_shown():
    assert stats.mixture_boundary(0.0) == math.inf
    assert stats.mixture_log_e(50.0, 0.0) == pytest.approx(0.0)


@pytest.mark.parametrize(
    "alpha, sided, k", [(0.05, "two", 8.21), (0.05, "one", 6.69), (0.01, "two", 11.76), (0.01, "one", 10.25)]
)
def test_the_boundary_is_lowest_at_the_best_k(alpha, sided, k):
    assert round(stats.best_k(alpha, sided), 2) == k


@pytest.mark.parametrize(
    "effect, variance, tau, likelihood_ratio, p, limits, one_sided, lower",
    [
        (0.02, 1e-4, 0.02, 2.215063, 0.451454, (-0.010824, 0.050824), 4.267013, -0.007900),
        (0.02, 1e-4, 0.01, 1.922116, 0.520260, (-0.016564, 0.056564), 3.541884, -0.012618),
        (0.03, 1e-4, 0.02, 16.367228, 0.061098, (-0.000824, 0.060824), 32.615133, 0.002100),
        (-0.05, 4e-4, 0.03, 4.826560, 0.207187, (-0.114364, 0.014364), 0.181064, -0.107888),
    ],
)
def test_mixture_sprt(effect, variance, tau, likelihood_ratio, p, limits, one_sided, lower):
    two = stats.mixture_test([effect], [variance], tau2=tau**2, side="two")
    assert math.exp(two.log_e[-1]) == pytest.approx(likelihood_ratio, abs=6e-7)
    assert two.p_value == pytest.approx(p, abs=6e-7)
    sequence = stats.confidence_sequence([effect], [variance], tau2=tau**2).last
    assert (round(sequence.low, 6), round(sequence.high, 6)) == limits
    harm = stats.mixture_test([effect], [variance], tau2=tau**2)
    assert math.exp(harm.log_e[-1]) == pytest.approx(one_sided, abs=6e-7)
    bound = stats.confidence_sequence([effect], [variance], tau2=tau**2, sided="lower").last
    assert round(bound.low, 6) == lower


@pytest.mark.parametrize("seed", range(10))
def test_a_limit_below_the_margin_and_evidence_for_safety_say_the_same(seed):
    rng = np.random.default_rng(seed)
    effect, variance, margin = rng.normal(0, 2), rng.uniform(0.1, 2), rng.normal(1, 2)
    high = stats.confidence_sequence([effect], [variance], tau2=2.0, sided="upper").last.high
    safe = stats.mixture_test([effect], [variance], tau2=2.0, null=margin, side="safe")
    assert (high < margin) == (safe.log_e[-1] > math.log(20))


@pytest.mark.parametrize(
    "n, two, one",
    [
        (100, 6.69439, 6.60689),
        (500, 3.85505, 3.67907),
        (1000, 3.36389, 3.15242),
        (5000, 3.03521, 2.77909),
        (20_000, 3.12711, 2.86820),
        (100_000, 3.33686, 3.08972),
        (1_000_000, 3.65654, 3.42991),
    ],
)
def test_growthbook_multipliers(n, two, one):
    assert round(stats.growthbook_interval(0.0, 1.0, n).high, 5) == two
    assert round(stats.growthbook_interval(0.0, 1.0, n, sided="upper").high, 5) == one


@pytest.mark.parametrize("n, two", [(1000, 3.8551), (10_000, 3.0352), (100_000, 3.2417), (1_000_000, 3.5616)])
def test_eppo_multipliers(n, two):
    assert round(stats.eppo_interval(0.0, 1.0, n).high, 4) == two


@pytest.mark.parametrize(
    "share, two, one",
    [(0.5, 3.5845, 3.4509), (0.1, 4.397, 4.417), (0.05, 5.363, 5.516), (0.01, 10.267, 10.902)],
)
def test_statsig_multipliers_stay_the_same_however_long_one_waits(share, two, one):
    digits = 4 if share == 0.5 else 3
    for n in (100, 10_000_000):
        assert round(stats.statsig_interval(0.0, 1.0, n, canary_share=share).high, digits) == two
        high = stats.statsig_interval(0.0, 1.0, n, canary_share=share, sided="upper").high
        assert round(high, digits) == one


def test_growthbook_results_on_its_own_example():
    change, difference = stats.relative_difference(CANARY, CONTROL), stats.mean_difference(CANARY, CONTROL)
    relative = stats.growthbook_interval(change.value, change.standard_error, 6461, tuned_at=1000)
    assert (round(relative.low, 6), round(relative.high, 6)) == (-0.558441, 1.565163)
    moments = (difference.value, difference.standard_error, 6461)
    absolute = stats.growthbook_interval(*moments)
    assert (round(absolute.low, 6), round(absolute.high, 6)) == (-0.160117, 0.628870)
    assert round(absolute.p_value, 6) == 0.760125
    assert round(stats.growthbook_interval(*moments, sided="lower").low, 6) == -0.126568
    assert round(stats.growthbook_interval(*moments, sided="upper").high, 6) == 0.595322


def test_growthbook_searches_its_one_sided_p_value_and_stops_early():
    """Its 0.463165 is the twelfth midpoint of a bisection; the level it searches for is 0.463047."""
    difference = stats.mean_difference(CANARY, CONTROL)
    interval = stats.growthbook_interval(difference.value, difference.standard_error, 6461, sided="lower")
    assert round(interval.p_value, 6) == 0.463047
    assert round(1e-5 + 3795 / 2**12 * (0.4999 - 1e-5), 6) == 0.463165
    assert interval.p_value == pytest.approx(0.463165, abs=(0.4999 - 1e-5) / 2**12)


def test_growthbook_proportions_on_its_own_example():
    def share(x, n):
        return Moments(n, x / n, x / n * (1 - x / n))

    change = stats.relative_difference(share(2422, 3461), share(1396, 3000))
    interval = stats.growthbook_interval(change.value, change.standard_error, 6461)
    assert interval.low == pytest.approx(0.40098, abs=6e-6)
    assert interval.high == pytest.approx(0.60675, abs=6e-6)


def test_the_stratified_score_compares_within_strata_only():
    score = stats.stratified_score([4, 8], [10, 20], [1000, 9000], [3000, 9000])
    assert float(score.score[-1]) == -0.5
    assert round(float(score.variance[-1]), 6) == 6.865502
    assert round(float(score.z[-1]), 6) == -0.190824


def test_a_drifting_baseline_does_not_harm_the_stratified_score():
    """Baseline 1 % then 10 % while the share grows from 1 % to 50 %: pooled looks like harm."""
    canary, control = np.array([1000, 50_000]), np.array([99_000, 50_000])
    x, m = np.array([10, 5000]), np.array([10 + 990, 10_000])
    assert stats.stratified_score(x, m, canary, control).z[-1] == pytest.approx(0.0, abs=1e-9)
    pooled = stats.stratified_score([x.sum()], [m.sum()], [canary.sum()], [control.sum()])
    assert pooled.z[-1] > 20


def test_zero_variance_is_no_evidence_and_no_certainty():
    test = stats.mixture_test([0.0, 5.0], [0.0, 0.0], tau2=1.0)
    assert test.log_e.tolist() == [0.0, 0.0]
    last = stats.confidence_sequence([5.0], [0.0], tau2=1.0).last
    assert (last.low, last.high) == (-math.inf, math.inf)
    with pytest.raises(DataError, match="variance is 0 at some look"):
        stats.tune_k([1.0, 0.0], gate_variance=1.0)
    empty = stats.stratified_score([0, 0], [0, 0], [5, 0], [5, 7])
    assert empty.z.tolist() == [0.0, 0.0]
    assert math.isnan(empty.log_odds_ratio[-1])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_estimates_that_are_not_finite_are_refused(bad):
    with pytest.raises(DataError, match="estimate holds"):
        stats.confidence_sequence([0.1, bad], [1.0, 1.0], tau2=1.0)
    with pytest.raises(DataError, match="z holds"):
        stats.mixture_log_e(bad, 1.0)


def test_exactly_one_of_k_and_tau2_must_be_given():
    for options in ({}, {"k": 1.0, "tau2": 1.0}):
        with pytest.raises(DataError, match="exactly one of k and tau2"):
            stats.confidence_sequence([0.1], [1.0], **options)


def test_no_look_is_no_answer():
    assert stats.mixture_test([], [], tau2=1.0) is None
    assert stats.confidence_sequence([], [], tau2=1.0).last is None


def test_a_running_sequence_only_tightens():
    rng = np.random.default_rng(2)
    n = np.arange(10, 200)
    mean = rng.normal(size=190) / np.sqrt(n)
    sequence = stats.confidence_sequence(mean, 1 / n, tau2=0.1, running=True)
    assert np.all(np.diff(sequence.low) >= 0)
    assert np.all(np.diff(sequence.high) <= 0)
