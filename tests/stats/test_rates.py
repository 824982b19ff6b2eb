"""Event rates: the published example of Gu et al. (2008) and an exact one, by statsmodels and scipy."""

import math

import pytest
from scipy.stats import binomtest

from canarykit import stats
from canarykit.errors import DataError

BREAST_CANCER = (60, 51477.5, 30, 54308.7)
CANARY = (12, 10_000, 60, 90_000)


@pytest.mark.parametrize(
    "method, p",
    [
        ("wald", 0.000712009),
        ("score", 0.000632219),
        ("sqrt", 0.000570036),
        ("exact-cond", 0.000675183),
        ("cond-midp", 0.000557262),
        ("etest", 0.000567262),
    ],
)
def test_two_sided_p_values_of_a_published_example(method, p):
    assert stats.rate_ratio(*BREAST_CANCER, method=method).p_value == pytest.approx(p, abs=5e-10)


@pytest.mark.parametrize("method, limits", [("score", (1.365962, 3.259306)), ("wald", (1.361280, 3.270517))])
def test_limits_of_a_published_example(method, limits):
    ratio = stats.rate_ratio(*BREAST_CANCER, method=method)
    assert (round(ratio.low, 6), round(ratio.high, 6)) == limits


def test_the_difference_of_a_published_example():
    difference = stats.rate_difference(*BREAST_CANCER)
    assert (round(difference.low, 9), round(difference.high, 9)) == (0.000265797, 0.000989191)


@pytest.mark.parametrize(
    "method, p", [("exact-cond", 0.0529859), ("cond-midp", 0.0391819), ("score", 0.0296732)]
)
def test_one_sided_harm_of_a_tenth_of_the_traffic(method, p):
    assert round(stats.rate_ratio(*CANARY, method=method, sided="lower").p_value, 7) == p


def test_the_exact_test_is_a_binomial_one_given_all_events():
    p = binomtest(12, 72, 0.1, alternative="greater").pvalue
    assert stats.rate_ratio(*CANARY, sided="lower").p_value == pytest.approx(p)
    interval = binomtest(12, 72, 0.1).proportion_ci(0.95, "exact")
    ratio = stats.rate_ratio(*CANARY)
    assert ratio.low == pytest.approx(9 * interval.low / (1 - interval.low))
    assert ratio.high == pytest.approx(9 * interval.high / (1 - interval.high))


def test_a_score_interval_and_a_margin_of_twice_the_rate():
    ratio = stats.rate_ratio(*CANARY, method="score")
    assert (round(ratio.low, 6), round(ratio.high, 6)) == (0.977757, 3.313705)
    assert round(stats.rate_ratio(*CANARY, margin=2.0).p_value, 6) == 0.440992


@pytest.mark.parametrize("method", ["exact-cond", "cond-midp", "score", "wald", "sqrt", "etest"])
@pytest.mark.parametrize("counts", [(0, 100, 5, 100), (5, 100, 0, 100)])
def test_an_arm_without_events_keeps_an_honest_interval(method, counts):
    ratio = stats.rate_ratio(*counts, method=method)
    assert ratio.low <= ratio.value <= ratio.high
    assert (ratio.low == 0) == (counts[0] == 0)
    assert (ratio.high == math.inf) == (counts[2] == 0)
    assert "exact-cond interval" in ratio.method


def test_no_events_and_no_exposure_are_no_data():
    assert stats.rate_ratio(0, 100, 0, 100) is None
    assert stats.rate_ratio(0, 0, 5, 100) is None
    assert stats.rate_difference(0, 0, 5, 100) is None
    nothing = stats.rate_difference(0, 100, 0, 300)
    assert nothing.low < 0 < nothing.high
    assert nothing.notes


def test_events_without_exposure_are_refused():
    with pytest.raises(DataError, match="x_canary is 3 but exposure_canary is 0"):
        stats.rate_ratio(3, 0, 5, 100)
