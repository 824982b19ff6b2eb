"""Sample ratio mismatch: published counts, other implementations' numbers, and what ramps do."""

import numpy as np
import pytest
from scipy.stats import multinomial

from canarykit import stats
from canarykit.errors import DataError

DAYS = [[500, 500], [480, 540], [470, 560], [450, 580]]
THREE = [[20, 17, 9], [18, 21, 8], [4, 6, 4], [18, 19, 11]]


@pytest.mark.parametrize(
    "counts, shares, statistic, p",
    [
        ((821588, 815482), (0.5, 0.5), 22.774369, 1.8218e-6),
        ((166080, 171180, 166300), (1 / 3, 1 / 3, 1 / 3), 99.040432, 3.1163e-22),
        ((910, 1090), (0.5, 0.5), 16.2, 5.69941e-5),
        ((480, 4520), (0.1, 0.9), 0.888889, 0.345779),
    ],
)
def test_chi_square_of_published_splits(counts, shares, statistic, p):
    test = stats.srm_chi_square(counts, shares)
    assert round(test.statistic, 6) == statistic
    assert test.p_value == pytest.approx(p, rel=1e-4)


def test_the_sequential_p_value_of_a_published_split():
    test = stats.sequential_srm([[821588, 815482]], [0.5, 0.5], concentration=10_000)
    assert round(float(test.log_e[-1]), 6) == 8.765972
    assert test.p_value == pytest.approx(1.5595e-4, rel=1e-4)


def test_with_a_flat_prior_the_evidence_is_the_predictive_over_the_null():
    """Cumulative log predictive (M1) and null (M0) probabilities of Optimizely's own test."""
    shares = (0.4, 0.4, 0.2)
    test = stats.sequential_srm(THREE, shares, prior=(1, 1, 1))
    null = np.cumsum([multinomial.logpmf(day, sum(day), shares) for day in THREE])
    assert null.round(6).tolist() == [-4.077641, -8.265947, -11.610744, -15.781031]
    assert (null + test.log_e).round(6).tolist() == [-7.028201, -11.947848, -15.471402, -19.964845]


def test_a_strong_prior_moves_slowly():
    test = stats.sequential_srm(THREE, (0.4, 0.4, 0.2), concentration=10_000)
    assert test.log_e.round(6).tolist() == [-0.003992, -0.008267, -0.010298, -0.014644]


@pytest.mark.parametrize(
    "concentration, log_e, p",
    [
        (10_000, [-0.047657, 0.057766, 0.729047, 2.613380], [1, 0.943871, 0.482369, 0.073286]),
        (100, [-1.201220, -0.679812, 1.846500, 7.518377], [1, 1, 0.157788, 0.000543]),
    ],
)
def test_four_days_of_a_leaking_arm(concentration, log_e, p):
    test = stats.sequential_srm(DAYS, (0.5, 0.5), concentration=concentration)
    assert test.log_e.round(6).tolist() == log_e
    assert test.p_values.round(6).tolist() == p


def test_the_tilt_form_sees_the_same_leak():
    """The mixture written out: 90 % for tilts that lost exposures usually have, 10 % for large ones."""
    usual, large = np.linspace(0.005, 0.4, 40), np.exp(np.linspace(np.log(0.15), np.log(1.9), 24))
    weights = np.exp(-(usual**2) / (2 * 0.1**2))
    tilts, parts = np.append(usual, large), np.append(0.9 * weights / weights.sum(), np.full(24, 0.1 / 24))
    x, n = np.cumsum(np.array(DAYS)[:, 0]), np.cumsum(np.array(DAYS).sum(axis=1))
    expected = 0.0
    for sign in (-1, 1):
        odds = np.exp(sign * tilts)
        share = odds / (1 + odds)
        log_likelihoods = x[:, None] * np.log(2 * share) + (n - x)[:, None] * np.log(2 * (1 - share))
        expected += (parts * np.exp(log_likelihoods)).sum(axis=1) / 2
    test = stats.sequential_srm_tilt(DAYS, (0.5, 0.5))
    assert test.log_e == pytest.approx(np.log(expected), abs=1e-9)
    assert test.first_look(100) == 3


def test_the_tilt_form_follows_a_ramp_that_a_fixed_share_would_flag():
    rng = np.random.default_rng(3)
    shares = np.repeat([0.01, 0.05, 0.10, 0.25, 0.50], 24)
    canary = rng.binomial(2000, shares)
    counts = np.stack([canary, 2000 - canary], axis=-1)
    ramp = stats.sequential_srm_tilt(counts, np.stack([shares, 1 - shares], axis=-1))
    pooled = stats.sequential_srm_tilt(counts, (0.25, 0.75))
    assert ramp.e_value < 100 < pooled.e_value


def test_more_than_two_arms_average_each_arm_against_the_rest():
    counts = np.array([[300, 340, 330]] * 3)
    test = stats.sequential_srm_tilt(counts, (1, 1, 1))
    parts = [
        stats.sequential_srm_tilt(np.stack([counts[:, arm], 970 - counts[:, arm]], -1), (1, 2)).log_e
        for arm in range(3)
    ]
    assert test.log_e == pytest.approx(np.log(np.mean(np.exp(parts), axis=0)))


def test_many_runs_are_tested_at_once():
    runs = np.stack([DAYS, DAYS[::-1]])
    both = stats.sequential_srm_tilt(runs, (0.5, 0.5))
    assert both.log_e.shape == (2, 4)
    assert both.log_e[1] == pytest.approx(stats.sequential_srm_tilt(DAYS[::-1], (0.5, 0.5)).log_e)


def test_the_exact_test_is_the_binomial_one():
    """2023 against 1977: exact 0.4767713; the normal form with a continuity correction gives 0.4767667."""
    from scipy.stats import binom

    p = 2 * binom.sf(2022, 4000, 0.5)
    assert stats.srm_exact(2023, 1977).p_value == pytest.approx(p)
    assert round(p, 7) == 0.4767713


def test_arms_that_should_get_nobody_are_left_out_and_said():
    test = stats.srm_chi_square((910, 1090, 3), (0.5, 0.5, 0.0))
    assert test.statistic == pytest.approx(16.2)
    assert test.notes == ("3 units in arms with an expected share of 0 left out",)


def test_nobody_assigned_is_no_answer():
    assert stats.srm_chi_square((0, 0), (0.5, 0.5)) is None
    assert stats.srm_exact(0, 0) is None
    assert stats.sequential_srm(np.zeros((0, 2)), (0.5, 0.5)) is None
    assert stats.sequential_srm_tilt(np.zeros((0, 2)), (0.5, 0.5)) is None


def test_units_where_none_are_expected_in_that_interval_are_refused():
    with pytest.raises(DataError, match="expected share is 0 in that interval"):
        stats.sequential_srm_tilt([[1, 99], [5, 95]], [[0.0, 1.0], [0.05, 0.95]])


@pytest.mark.parametrize("bad", [[[1, np.nan]], [[1, -1]], [[1.5, 2]], [[np.inf, 1]]])
def test_impossible_counts_are_refused(bad):
    for function in (stats.sequential_srm, stats.sequential_srm_tilt):
        with pytest.raises(DataError, match="counts holds"):
            function(bad, (0.5, 0.5))


def test_a_single_row_is_asked_for_its_intervals():
    with pytest.raises(DataError, match="one row an interval"):
        stats.sequential_srm([500, 500], (0.5, 0.5))
