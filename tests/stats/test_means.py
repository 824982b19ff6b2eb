"""Means, ratios, clusters and CUPED: other engines' numbers and regressions by statsmodels."""

import math

import numpy as np
import pytest

from canarykit import stats
from canarykit.errors import DataError
from canarykit.stats import Moments, PairMoments

CONTROL = Moments.of_sums(3407, 1396.87, 52377.9767)
CANARY = Moments.of_sums(3461, 2422.7, 134698.29)
# A public ratio test of PostHog: numerator, its squares, denominator, its squares, products
RATIO_CANARY = PairMoments.of_sums(2034, 99673.9364269569, 947, 11298745.182728939, 947, 99673.9364269569)
RATIO_CONTROL = PairMoments.of_sums(1966, 94605.79858780127, 936, 10463129.505392816, 936, 94605.79858780127)


def test_welch_gives_the_numbers_of_growthbook():
    difference = stats.mean_difference(CANARY, CONTROL)
    assert round(difference.value, 7) == 0.29
    assert round(difference.standard_error, 7) == 0.1247836
    assert (round(difference.low, 7), round(difference.high, 7)) == (0.0453779, 0.5346221)
    assert round(difference.p_value, 7) == 0.0201584


def test_relative_lift_gives_the_numbers_of_growthbook():
    change = stats.relative_difference(CANARY, CONTROL)
    assert round(change.value, 7) == 0.7073171
    assert round(change.standard_error, 7) == 0.3787944
    assert (round(change.low, 7), round(change.high, 7)) == (-0.0352601, 1.4498942)
    assert round(change.p_value, 7) == 0.0619118


def test_one_sided_harm_gives_the_numbers_of_growthbook():
    control = Moments.of_sums(3000, 1396.87, 52377.9767)
    harm = stats.mean_difference(CANARY, control, sided="lower")
    assert round(harm.value, 7) == 0.2343767
    assert round(harm.standard_error, 7) == 0.1298308
    assert round(harm.low, 7) == 0.0207915
    assert harm.high == math.inf
    assert round(harm.p_value, 7) == 0.0355427


def test_ratio_metrics_give_the_numbers_of_posthog():
    relative = stats.ratio_difference(RATIO_CANARY, RATIO_CONTROL, relative=True)
    assert round(relative.value, 7) == 0.0413332
    assert round(relative.standard_error, 7) == 0.0140506
    assert (round(relative.low, 7), round(relative.high, 7)) == (0.0137861, 0.0688804)
    assert round(relative.p_value, 7) == 0.0032827
    absolute = stats.ratio_difference(RATIO_CANARY, RATIO_CONTROL)
    assert round(absolute.value, 7) == 4.1777377
    assert round(absolute.standard_error, 7) == 1.3892631


def test_a_share_as_a_mean_gives_the_numbers_of_posthog():
    def share(x, n):  # variance p (1 - p), as they take it
        return Moments(n, x / n, x / n * (1 - x / n))

    change = stats.relative_difference(share(62, 1471), share(87, 1529))
    assert change.value == pytest.approx(-0.25925, abs=1e-5)  # printed truncated
    assert (round(change.low, 5), round(change.high, 5)) == (-0.49475, -0.02376)
    assert change.p_value == pytest.approx(0.030960, abs=1e-6)


def cuped_arms():
    i = np.arange(1, 41)
    before = (37 * i) % 41
    canary = i % 2 == 0
    after = 2 + 0.8 * before + 0.5 * ((17 * i) % 23 - 11) + 1.5 * canary
    return before, after, canary


@pytest.mark.parametrize(
    "theta, value, error, p",
    [
        (0.0, -1.25, 3.175793, None),
        ("pooled", 1.938743, 1.055494, None),
        ("within", 1.998743, 1.054043, 0.065613),
    ],
)
def test_cuped_takes_out_what_people_were_like_before(theta, value, error, p):
    before, after, canary = cuped_arms()
    arms = [PairMoments.of(after[who], before[who]) for who in (canary, ~canary)]
    difference = stats.cuped_difference(*arms, theta=theta)
    assert round(difference.value, 6) == value
    assert difference.standard_error == pytest.approx(error, abs=6e-7)
    if p is not None:
        assert round(difference.p_value, 6) == p


def test_cuped_within_arms_is_the_slope_of_the_analysis_of_covariance():
    import statsmodels.api as sm

    before, after, canary = cuped_arms()
    fit = sm.OLS(after, np.column_stack([np.ones(40), canary, before])).fit()
    difference = stats.cuped_difference(
        PairMoments.of(after[canary], before[canary]), PairMoments.of(after[~canary], before[~canary])
    )
    assert difference.value == pytest.approx(fit.params[1])
    assert difference.method.startswith("CUPED (theta 0.812186)")
    assert round(fit.params[2], 6) == 0.812186
    assert round(fit.HC2_se[1], 6) == 1.080358  # the regression's error is a little wider
    centred = before - before.mean()
    lin = sm.OLS(after, np.column_stack([np.ones(40), canary, centred, canary * centred])).fit()
    assert round(lin.HC2_se[1], 6) == 1.094517


def test_what_is_left_to_explain_is_one_minus_the_squared_correlation():
    before, after, _ = cuped_arms()
    assert round(1 - np.corrcoef(before, after)[0, 1] ** 2, 6) == 0.119780


def cluster_rows():
    sizes = np.array([3, 5, 2, 4, 6, 3, 5, 4, 2, 6, 3, 5])
    group = np.repeat(np.arange(12), sizes)
    k = np.arange(48)
    y = 10 + (7 * group) % 5 + 0.5 * ((13 * k) % 7) + group % 2
    return group, y


def cluster_arms():
    group, y = cluster_rows()
    sums, sizes = np.bincount(group, weights=y), np.bincount(group)
    return [PairMoments.of(sums[arm::2], sizes[arm::2]) for arm in (1, 0)]


@pytest.mark.parametrize("correction, error", [("cr0", 0.871931), ("cr1", 0.920548), ("delta", 0.955152)])
def test_organisations_scatter_as_clusters(correction, error):
    difference = stats.cluster_difference(*cluster_arms(), correction=correction)
    assert round(difference.value, 7) == 1.2910053
    assert round(difference.standard_error, 6) == error
    assert difference.degrees_of_freedom == 10
    assert "below 20 an arm" in difference.notes[0]


def test_clustered_errors_are_those_of_statsmodels():
    import statsmodels.api as sm
    from scipy.stats import t as student

    group, y = cluster_rows()
    model = sm.OLS(y, sm.add_constant((group % 2).astype(float)))
    clustered = model.fit(cov_type="cluster", cov_kwds={"groups": group})
    difference = stats.cluster_difference(*cluster_arms(), correction="cr1")
    assert difference.standard_error == pytest.approx(clustered.bse[1])
    assert round(clustered.pvalues[1], 6) == 0.160786
    assert round(2 * student.sf(difference.statistic, 11), 6) == 0.188373
    assert round(model.fit(cov_type="HC1").bse[1], 6) == 0.551191  # people as if independent: too small


@pytest.mark.parametrize("seed", range(5))
def test_moments_of_parts_add_up_to_the_moments_of_the_whole(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.lognormal(size=200) * 1e3, rng.normal(5, 1, size=200)
    cut = int(rng.integers(0, 200))
    whole, parts = PairMoments.of(x, y), PairMoments.of(x[:cut], y[:cut]) + PairMoments.of(x[cut:], y[cut:])
    sums = PairMoments.of_sums(200, x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum())
    for other in (parts, sums):
        for name in ("n", "mean", "mean_other", "variance", "variance_other", "covariance"):
            assert getattr(other, name) == pytest.approx(getattr(whole, name), rel=1e-6), name
    assert (Moments.of(x[:cut]) + Moments.of(x[cut:])).variance == pytest.approx(x.var(ddof=1))


def test_an_empty_arm_is_no_data():
    empty, full = Moments.of([]), Moments.of([1.0, 2.0, 3.0])
    assert stats.mean_difference(empty, full) is None
    assert stats.relative_difference(full, empty) is None
    assert stats.relative_difference(full, Moments.of([-1, 0, 1])) is None  # nothing is a fraction of 0
    pair = PairMoments.of([1, 2, 3], [0, 0, 0])
    assert stats.ratio_difference(pair, pair) is None
    assert stats.cluster_difference(pair, pair) is None


@pytest.mark.parametrize(
    "canary, control, note",
    [
        ([1, 1, 1], [1, 1, 1], "no spread in either arm"),
        ([1, 1, 1], [1, 2, 3], "no spread in one arm"),
        ([1], [1, 2, 3], "an arm has 1 unit"),
    ],
)
def test_no_spread_is_said_and_never_a_certainty(canary, control, note):
    difference = stats.mean_difference(Moments.of(canary), Moments.of(control))
    assert note in difference.notes[0]
    if "one arm:" not in note and note != "no spread in one arm":
        assert (difference.low, difference.high, difference.p_value) == (-math.inf, math.inf, None)


def test_cuped_without_spread_before_exposure_is_the_plain_difference():
    canary, control = PairMoments.of([1, 2, 4], [1, 1, 1]), PairMoments.of([1, 2, 3], [1, 1, 1])
    difference = stats.cuped_difference(canary, control)
    assert difference.value == pytest.approx(1 / 3)
    assert difference.notes == ("no spread before exposure: nothing was taken out",)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(bad):
    with pytest.raises(DataError, match="values holds"):
        Moments.of([1.0, bad])
    with pytest.raises(DataError, match="mean is"):
        Moments(3, bad, 1.0)
    with pytest.raises(DataError, match="variance is"):
        Moments(3, 1.0, -1.0)


def test_sums_that_no_values_can_have_are_refused():
    with pytest.raises(
        DataError, match=r"total_of_squares is 1, less than the square of the sum over n allows \(50\)"
    ):
        Moments.of_sums(2, 10, 1)


def test_a_margin_makes_the_p_value_that_of_too_much_harm():
    difference = stats.mean_difference(CANARY, CONTROL, margin=0.6, sided="upper")
    assert (difference.p_value < 0.05) == (difference.high < 0.6)
    assert difference.null == 0.6
