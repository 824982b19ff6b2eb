"""Quantiles: formulas that can be followed by hand, and the reference implementation of Howard and Ramdas."""

import math

import numpy as np
import pytest

from canarykit import stats
from canarykit.errors import DataError
from canarykit.stats.any_look.boundaries import beta_binomial_log_e, tuned_rho

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
    p_value = stats.quantile_test(control + shift, control, probability, tuned_at=100).p_value
    assert p_value == pytest.approx(p, abs=5e-7 if p > 0.5 else 5e-8)


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


@pytest.mark.parametrize("sided, bound", [("one", 28.41238), ("two", 31.4308)])
def test_the_mixture_of_bounded_sums_says_one_in_twenty_at_the_reference_bound(sided, bound):
    rho = tuned_rho(100, sided=sided)
    log_e = beta_binomial_log_e(bound, 100, rho=rho, below=0.2, above=0.8, sided=sided)
    assert float(log_e) == pytest.approx(math.log(20), abs=1e-5)


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
