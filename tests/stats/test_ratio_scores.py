"""The score interval of a ratio of shares, against statsmodels, brute force, and where others fail."""

import math

import numpy as np
import pytest
from statsmodels.stats.proportion import confint_proportions_2indep

from canarykit.errors import DataError
from canarykit.stats import risk_difference, risk_ratio
from canarykit.stats.one_look.ratio_scores import ratio_score_statistic


@pytest.mark.parametrize("counts", [(56, 70, 48, 80), (120, 5000, 100, 5000), (7, 7, 1, 9), (12, 34, 1, 34)])
def test_agrees_with_statsmodels_away_from_the_edges(counts):
    ratio = risk_ratio(*counts)
    low, high = confint_proportions_2indep(*counts, compare="ratio", method="score")
    assert (ratio.low, ratio.high) == pytest.approx((low, high), rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_the_shares_behind_the_variance_are_the_likeliest(seed):
    rng = np.random.default_rng(seed)
    n1, n0 = (int(n) for n in rng.integers(2, 60, 2))
    x1, x0 = int(rng.integers(0, n1 + 1)), int(rng.integers(0, n0 + 1))
    ratio = float(np.exp(rng.normal(0, 0.5)))
    p = np.linspace(1e-9, min(1, 1 / ratio) - 1e-9, 100_001)
    q = np.minimum(ratio * p, 1 - 1e-15)
    likelihood = x0 * np.log(p) + (n0 - x0) * np.log1p(-p) + x1 * np.log(q) + (n1 - x1) * np.log1p(-q)
    control = p[np.argmax(likelihood)]
    canary = ratio * control
    variance = canary * (1 - canary) / n1 + ratio**2 * control * (1 - control) / n0
    z = (x1 / n1 - ratio * x0 / n0) / math.sqrt(variance * (n1 + n0) / (n1 + n0 - 1))
    assert ratio_score_statistic(x1, n1, x0, n0, ratio) == pytest.approx(z, rel=2e-3, abs=2e-3)


def test_everybody_in_an_arm_still_has_an_interval():
    ratio = risk_ratio(10, 70, 80, 80)
    assert ratio.low < 10 / 70 < ratio.high
    same = risk_ratio(70, 70, 80, 80)
    assert same.low < 1 < same.high


def test_none_in_one_arm_bounds_the_ratio_on_one_side():
    assert risk_ratio(0, 70, 48, 80).low == 0
    assert 0 < risk_ratio(0, 70, 48, 80).high < 0.1
    only = risk_ratio(5, 70, 0, 80)
    assert math.isinf(only.value)
    assert math.isinf(only.high)
    assert only.low > 1


def test_zero_over_zero_is_no_ratio():
    assert risk_ratio(0, 70, 0, 80) is None
    assert risk_ratio(0, 0, 3, 80) is None
    with pytest.raises(DataError, match="x_canary"):
        risk_ratio(8, 7, 1, 9)


def test_the_ratio_and_the_difference_agree_on_whether_there_is_one():
    for counts in [(56, 70, 48, 80), (30, 100, 28, 100), (3, 500, 0, 500), (40, 60, 60, 62)]:
        assert risk_ratio(*counts).p_value == pytest.approx(risk_difference(*counts).p_value, rel=1e-6)
        assert risk_ratio(*counts).excludes(1.0) == risk_difference(*counts).excludes(0.0)


def test_one_sided_limits_are_those_of_the_wider_two_sided_level():
    assert risk_ratio(56, 70, 48, 80, sided="lower").low == risk_ratio(56, 70, 48, 80, confidence=0.9).low
    assert math.isinf(risk_ratio(56, 70, 48, 80, sided="lower").high)
    assert risk_ratio(56, 70, 48, 80, sided="upper").low == 0
