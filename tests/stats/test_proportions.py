"""Shares of people: published intervals, and the restricted maximum likelihood by brute force."""

import math

import numpy as np
import pytest

from canarykit import stats
from canarykit.errors import DataError
from canarykit.stats.one_look.scores import restricted_proportions, score_statistic

METHODS = ("wald", "agresti-caffo", "newcombe", "miettinen-nurminen", "farrington-manning")

# x canary, n canary, x control, n control -> limits by method; Newcombe (1998) table II, Farrington &
# Manning (1990), Agresti & Caffo (2000), and enumeration for the empty cells
TABLES = {
    (56, 70, 48, 80): {
        "wald": (0.057505, 0.342495),
        "agresti-caffo": (0.052453, 0.335758),
        "newcombe": (0.052431, 0.333873),
        "miettinen-nurminen": (0.052830, 0.338173),
        "farrington-manning": (0.053334, 0.337729),
    },
    (9, 10, 3, 10): {
        "agresti-caffo": (0.160001, 0.839999),
        "newcombe": (0.170523, 0.809018),
        "miettinen-nurminen": (0.170025, 0.840650),
        "farrington-manning": (0.182126, 0.836950),
    },
    (10, 10, 0, 20): {"miettinen-nurminen": (0.715619, 1.0), "farrington-manning": (0.722467, 1.0)},
    (0, 10, 0, 20): {
        "agresti-caffo": (-0.141090, 0.216848),
        "newcombe": (-0.161125, 0.277533),
        "miettinen-nurminen": (-0.165760, 0.284381),
        "farrington-manning": (-0.161125, 0.277533),
    },
    (3, 500, 0, 500): {
        "agresti-caffo": (-0.002725, 0.014677),
        "newcombe": (-0.002590, 0.017490),
        "miettinen-nurminen": (-0.001655, 0.017499),
    },
    (7, 34, 1, 34): {
        "miettinen-nurminen": (0.027042, 0.345291),
        "farrington-manning": (0.028371, 0.343940),
    },
    (120, 5000, 100, 5000): {
        "wald": (-0.001749, 0.009749),
        "agresti-caffo": (-0.001774, 0.009771),
        "newcombe": (-0.001773, 0.009814),
        "miettinen-nurminen": (-0.001764, 0.009825),
        "farrington-manning": (-0.001764, 0.009825),
    },
}
CASES = [(counts, method, limits) for counts, row in TABLES.items() for method, limits in row.items()]


@pytest.mark.parametrize("counts, method, limits", CASES)
def test_a_difference_of_shares_has_the_published_interval(counts, method, limits):
    difference = stats.risk_difference(*counts, method=method)
    assert (round(difference.low, 6), round(difference.high, 6)) == limits


@pytest.mark.parametrize(
    "counts, margin, z, p",
    [
        ((120, 5000, 100, 5000), 0.01, -2.017471, 0.021823),
        ((120, 5000, 100, 5000), 0.005, -0.340484, 0.366746),
        ((45, 1000, 480, 9000), 0.01, -2.302450, 0.010655),
    ],
)
def test_a_margin_of_harm_is_tested_at_the_shares_that_fit_it(counts, margin, z, p):
    difference = stats.risk_difference(*counts, margin=margin)
    assert round(difference.statistic, 6) == z
    assert round(difference.p_value, 6) == p


def test_without_a_margin_the_test_is_the_pooled_one():
    difference = stats.risk_difference(120, 5000, 100, 5000, method="farrington-manning", sided="lower")
    assert round(difference.statistic, 6) == 1.363481
    assert round(difference.p_value, 7) == 0.0863654


@pytest.mark.parametrize("seed", range(30))
def test_not_inferior_by_the_test_means_an_upper_limit_below_the_margin(seed):
    rng = np.random.default_rng(seed)
    n1, n0 = rng.integers(5, 400, size=2)
    x1, x0 = rng.binomial(n1, rng.random()), rng.binomial(n0, rng.random())
    margin = float(rng.uniform(-0.3, 0.5))
    for method in ("miettinen-nurminen", "farrington-manning"):
        tested = stats.risk_difference(x1, n1, x0, n0, margin=margin, sided="upper", method=method)
        assert (tested.p_value < 0.05) == (tested.high < margin)


@pytest.mark.parametrize("seed", range(40))
def test_the_restricted_shares_maximise_the_likelihood(seed):
    """The cubic's root against a grid over every share that has the wanted difference."""
    rng = np.random.default_rng(seed)
    n1, n0 = (int(n) for n in rng.integers(1, 40, size=2))
    x1, x0 = int(rng.integers(0, n1 + 1)), int(rng.integers(0, n0 + 1))
    d = float(rng.uniform(-0.95, 0.95))
    control = np.linspace(max(0.0, -d), min(1.0, 1.0 - d), 200_001)
    canary = control + d

    def likelihood(p1, p0):
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = [
                np.where(k == 0, 0.0, k * np.log(np.maximum(p, 0)))
                for k, p in ((x1, p1), (n1 - x1, 1 - p1), (x0, p0), (n0 - x0, 1 - p0))
            ]
        return sum(terms)

    best = float(np.nanmax(likelihood(canary, control)))
    p1, p0 = restricted_proportions(x1, n1, x0, n0, d)
    assert p1 - p0 == pytest.approx(d, abs=1e-12)
    assert float(likelihood(np.array(p1), np.array(p0))) >= best - 1e-6


@pytest.mark.parametrize("seed", range(30))
def test_the_restricted_shares_stay_exact_for_rare_events_in_large_arms(seed):
    """Where the closed form loses half its digits: the slope of the likelihood is zero there."""
    rng = np.random.default_rng(seed)
    n1, n0 = (int(10**e) for e in rng.uniform(4, 8, 2))
    rate, d = 10 ** rng.uniform(-7, -3), float(rng.choice([-1, 1]) * 10 ** rng.uniform(-8, -3))
    x1, x0 = int(rng.binomial(n1, rate)) + 1, int(rng.binomial(n0, rate)) + 1
    p1, p0 = restricted_proportions(x1, n1, x0, n0, d)
    slope = x1 / p1 - (n1 - x1) / (1 - p1) + x0 / p0 - (n0 - x0) / (1 - p0)
    assert abs(slope) < 1e-6 * (x1 / p1 + x0 / p0)


@pytest.mark.parametrize("n", [(4, 5), (6, 3)])
def test_score_intervals_of_every_small_table_are_those_of_a_scan(n):
    """All tables of a size: the limits against a scan of the statistic over differences."""
    n1, n0 = n
    grid = np.linspace(-1, 1, 4001)
    for x1 in range(n1 + 1):
        for x0 in range(n0 + 1):
            inside = [d for d in grid if abs(score_statistic(x1, n1, x0, n0, float(d))) <= 1.959963984540054]
            difference = stats.risk_difference(x1, n1, x0, n0)
            assert difference.low == pytest.approx(min(inside), abs=6e-4)
            assert difference.high == pytest.approx(max(inside), abs=6e-4)
            assert difference.low <= difference.value <= difference.high


def test_swapping_the_arms_mirrors_the_interval():
    one, other = stats.risk_difference(7, 34, 1, 34), stats.risk_difference(1, 34, 7, 34)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


@pytest.mark.parametrize(
    "x, n, limits",
    [(82, 100, (0.733326, 0.882998)), (8, 10, (0.490162, 0.943318)), (10, 10, (0.722467, 1.0))],
)
def test_wilson_never_leaves_the_unit_interval(x, n, limits):
    share = stats.wilson(x, n)
    assert (round(share.low, 6), round(share.high, 6)) == limits


def test_no_error_in_three_hundred_sessions_still_allows_one_per_cent():
    assert round(stats.clopper_pearson(0, 300, sided="upper").high, 6) == 0.009936


@pytest.mark.parametrize("seed", range(10))
def test_clopper_pearson_limits_are_where_the_binomial_tails_are_a_half_alpha(seed):
    from scipy.stats import binom

    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 300))
    x = int(rng.integers(1, n))
    share = stats.clopper_pearson(x, n)
    assert binom.sf(x - 1, n, share.low) == pytest.approx(0.025)
    assert binom.cdf(x, n, share.high) == pytest.approx(0.025)


def test_nobody_is_no_data_and_not_a_share_of_zero():
    assert stats.wilson(0, 0) is None
    assert stats.clopper_pearson(0, 0) is None
    assert stats.risk_difference(0, 0, 3, 10) is None
    assert stats.risk_ratio(0, 10, 0, 10) is None
    assert stats.risk_odds_ratio(0, 10, 0, 10) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1, 2.5, "many", None])
def test_impossible_counts_are_refused_by_name(bad):
    with pytest.raises(DataError, match="x_canary is"):
        stats.risk_difference(bad, 10, 3, 10)
    with pytest.raises(DataError, match="successes is"):
        stats.wilson(bad, 10)


def test_more_successes_than_people_are_refused_with_both_numbers():
    with pytest.raises(DataError, match="successes is 11, n 10"):
        stats.wilson(11, 10)


def test_a_confidence_in_per_cent_is_recognised():
    with pytest.raises(DataError, match=r"confidence is 95; .* Did you mean 0.95\?"):
        stats.wilson(1, 10, confidence=95)


def test_all_units_alike_is_said():
    assert stats.risk_difference(0, 10, 0, 20).notes == ("every unit of both arms had the same outcome",)


def test_ratio_and_odds_ratio_have_the_published_score_intervals():
    ratio, odds = stats.risk_ratio(56, 70, 48, 80), stats.risk_odds_ratio(56, 70, 48, 80)
    assert (round(ratio.low, 6), round(ratio.high, 6)) == (1.079047, 1.672145)
    assert (round(odds.low, 6), round(odds.high, 6)) == (1.281573, 5.540202)


@pytest.mark.parametrize("counts", [(10, 10, 0, 20), (0, 10, 3, 20), (10, 10, 18, 20), (3, 10, 20, 20)])
def test_ratios_with_an_empty_cell_keep_an_honest_limit_on_the_other_side(counts):
    for function in (stats.risk_ratio, stats.risk_odds_ratio):
        estimate = function(*counts)
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.low > 0 or estimate.high < math.inf


def test_an_estimate_reads_as_a_sentence():
    text = str(stats.wilson(80, 4000))
    assert text == "2.00 % (95 % interval 1.61 % to 2.48 %; Wilson score, n = 4,000)"
