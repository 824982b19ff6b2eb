"""Quantiles: formulas that can be followed by hand, and the reference implementation of Howard and Ramdas."""

import math

import numpy as np
import pytest

from canarykit import stats
from canarykit.errors import DataError
from canarykit.stats.any_look.boundaries import (
    beta_binomial_log_e,
    gamma_exponential_log_e,
    gamma_poisson_log_e,
    mixture_bound,
    stitching_bound,
    tuned_rho,
)
from canarykit.stats.any_look.quantile_sequences import distribution_band, lil_band, quantile_stitching_bound

CONTROL = np.exp(np.arange(1, 401) / 100)
CANARY = 1.05 * np.exp(4 * np.arange(1, 301) / 300)


def test_the_p90_of_each_arm_has_its_rank_error():
    canary, control = stats.quantile(CANARY, 0.9), stats.quantile(CONTROL, 0.9)
    assert (round(canary.value, 6), round(canary.standard_error, 6)) == (38.479727, 2.665316)
    assert (round(control.value, 6), round(control.standard_error, 6)) == (36.635016, 2.197605)


@pytest.mark.parametrize(
    "probability, value, error",
    [(0.9, 1.844711, 3.454472), (0.5, 0.384392, 1.173681), (0.95, 2.244097, 3.059432)],
)
def test_a_difference_of_quantiles_adds_the_errors(probability, value, error):
    difference = stats.quantile_difference(CANARY, CONTROL, probability)
    assert (round(difference.value, 6), round(difference.standard_error, 6)) == (value, error)


def test_requests_of_one_person_are_not_independent():
    """Everyone's requests repeated four times: clustered, the error is that of the people."""
    once = stats.quantile(CONTROL, 0.9)
    repeated, people = np.repeat(CONTROL, 4), np.repeat(np.arange(400), 4)
    naive = stats.quantile(repeated, 0.9)
    clustered = stats.quantile(repeated, 0.9, clusters=people)
    assert naive.standard_error == pytest.approx(once.standard_error / 2, rel=0.1)
    assert clustered.standard_error == pytest.approx(once.standard_error, rel=0.1)


def test_too_few_rows_around_a_quantile_give_no_interval():
    few = stats.quantile(range(1, 31), 0.99)
    assert (few.low, few.high) == (-math.inf, math.inf)
    assert "too few" in few.notes[0]
    assert stats.quantile([], 0.9) is None
    with pytest.raises(DataError, match="values holds nan"):
        stats.quantile([1, math.nan], 0.5)


@pytest.mark.parametrize(
    "probability, shift, p",
    [(0.5, 70, 0.814704), (0.5, 85, 0.0838055), (0.5, 100, 0.0054947), (0.9, 55, 0.0340463)],
)
def test_the_two_arm_quantile_test_gives_the_reference_p_values(probability, shift, p):
    control = np.arange(1, 1001)
    found = stats.quantile_test(control + shift, control, probability, tuned_at=100).p_value
    assert found == pytest.approx(p, abs=5e-7 if p > 0.5 else 5e-8)


def test_the_quantile_test_takes_the_kindest_common_quantile():
    """Against a scan over every candidate and gap."""
    rng = np.random.default_rng(5)
    canary, control = rng.integers(0, 12, 60).astype(float), rng.integers(2, 14, 50).astype(float)
    n, rho = {0: 60, 1: 50}, tuned_rho(0.25 * 40, sided="two")

    def evidence(values, x):
        under, up_to = (values < x).sum(), (values <= x).sum()
        shares = np.arange(under, up_to + 1e-9, 0.01) / values.size
        return min(
            float(
                beta_binomial_log_e(
                    (s - 0.5) * values.size, 0.25 * values.size, rho=rho, below=0.5, above=0.5
                )
            )
            for s in shares
        )

    assert n[0] == canary.size
    scan = min(evidence(canary, x) + evidence(control, x) for x in np.arange(-0.5, 14.6, 0.5))
    assert stats.quantile_test(canary, control, 0.5, tuned_at=40).statistic == pytest.approx(scan, abs=1e-3)


@pytest.mark.parametrize("probability, bound", [(0.5, 68.62803), (0.9, 43.72119), (0.1, 59.96521)])
def test_double_stitching_gives_the_reference_bounds(probability, bound):
    assert round(quantile_stitching_bound(1000, probability, alpha=0.05, tuned_at=100), 5) == bound


def test_bands_of_whole_distributions():
    assert round(distribution_band(1000), 7) == 0.0865691
    # the reference stops its optimiser a little early: 0.08204769, where the optimum is 0.08204779
    assert lil_band(1000, from_n=100) == pytest.approx(0.08204769, abs=2e-7)
    assert lil_band(50, from_n=100) == math.inf


def test_boundaries_of_skewed_and_bounded_sums_match_the_reference():
    one, two = tuned_rho(100), tuned_rho(100, sided="two")
    assert round(two, 5) == 12.60056

    def bound(log_e):
        return round(mixture_bound(log_e, 100, 0.05, limit=500), 5)

    assert bound(lambda s: gamma_exponential_log_e(s, 100, rho=one, scale=2)) == 33.02017
    assert bound(lambda s: gamma_poisson_log_e(s, 100, rho=one, scale=2)) == pytest.approx(30.1949, abs=5e-5)
    arms = {"below": 0.2, "above": 0.8}
    assert bound(lambda s: beta_binomial_log_e(s, 100, rho=one, **arms, sided="one")) == 28.41238
    assert bound(lambda s: beta_binomial_log_e(s, 100, rho=two, **arms)) == pytest.approx(31.4308, abs=5e-6)
    assert round(stitching_bound(100, alpha=0.05, from_v=10, scale=3), 5) == 64.48755
    assert round(stitching_bound(100, alpha=0.05, from_v=10, scale=-1), 5) == 28.99389


def test_a_mixture_cannot_ask_for_more_than_the_sum_can_be():
    rho = tuned_rho(100)
    tiny = 2 * 0.2 * 0.8

    def log_e(s):
        return beta_binomial_log_e(s, tiny, rho=rho, below=0.2, above=0.8, sided="one")

    assert mixture_bound(log_e, tiny, 0.05, limit=tiny / 0.2) == pytest.approx(2 * 0.8)


@pytest.mark.parametrize(
    "x, n, tuned_at, limits",
    [
        (700, 1000, 100, (0.651629, 0.745949)),
        (15, 50, 50, (0.129556, 0.511896)),
        (5, 50, 50, (0.013021, 0.269264)),
        (1, 50, 50, (0.0, 0.1348915)),
        (1, 2, 50, (0.0, 1.0)),
    ],
)
def test_a_share_that_is_watched_has_the_reference_limits(x, n, tuned_at, limits):
    share = stats.share_bounds(x, n, tuned_at=tuned_at)
    assert (share.low, share.high) == pytest.approx(limits, abs=1e-6)
    assert share.always_valid


def test_watched_limits_are_wider_than_those_of_one_look():
    watched, once = stats.share_bounds(3, 40, tuned_at=40), stats.clopper_pearson(3, 40)
    assert watched.low < once.low
    assert watched.high > once.high
    assert stats.share_bounds(0, 0, tuned_at=40) is None


def test_quantile_limits_over_time_hold_the_true_median():
    rng = np.random.default_rng(11)
    missed = 0
    for _ in range(60):
        values = rng.exponential(size=400)
        looks = [stats.quantile_bounds(values[:n], 0.5, tuned_at=100) for n in (20, 50, 100, 200, 400)]
        missed += any(look.excludes(math.log(2)) for look in looks)
    assert missed <= 9  # at most 5 % in the long run: 3 expected of 60, 9 is three standard errors above
