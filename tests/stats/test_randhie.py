"""A real randomised trial, from end to end: the RAND Health Insurance Experiment in statsmodels' data.

Does sharing the costs (the "canary") change how often people see a doctor, against free care (the control)?
"""

import numpy as np
import pytest

from canarykit import stats
from canarykit.stats import Moments


@pytest.fixture(scope="module")
def visits():
    from statsmodels.datasets import randhie

    data = randhie.load_pandas().data
    free = (data["lncoins"] == 0).to_numpy()
    count = data["mdvis"].to_numpy(dtype=float)
    return count[~free], count[free]


def test_people_who_share_the_costs_see_a_doctor_less_often(visits):
    import statsmodels.api as sm

    shared, free = visits
    difference = stats.mean_difference(Moments.of(shared), Moments.of(free), unit="visits")
    assert difference.high < -0.4  # visits a year, of three on average
    design = sm.add_constant(np.repeat([1.0, 0.0], [shared.size, free.size]))
    fit = sm.OLS(np.concatenate(visits), design).fit(cov_type="HC2")
    assert (difference.value, difference.standard_error) == pytest.approx((fit.params[1], fit.bse[1]))


def test_visits_of_one_person_are_not_independent_events(visits):
    """As a Poisson count the interval is far too narrow: people differ by much more than chance."""
    shared, free = visits
    naive = stats.rate_ratio(int(shared.sum()), shared.size, int(free.sum()), free.size, method="score")
    honest = stats.relative_difference(Moments.of(shared), Moments.of(free))
    assert naive.value == pytest.approx(1 + honest.value)
    assert honest.high - honest.low > 2 * (naive.high - naive.low)


def test_every_method_that_takes_one_look_runs_through(visits):
    shared, free = visits
    any_shared, any_free = int((shared > 0).sum()), int((free > 0).sum())
    counts = (any_shared, shared.size, any_free, free.size)
    for method in ("miettinen-nurminen", "farrington-manning", "newcombe", "agresti-caffo", "wald"):
        assert stats.risk_difference(*counts, method=method).high < 0
    assert stats.risk_ratio(*counts).high < 1
    assert stats.risk_odds_ratio(*counts).high < 1
    p90 = stats.quantile_difference(shared, free, 0.9)
    assert p90.low <= p90.value <= p90.high
    assert stats.quantile_test(shared, free, 0.5, tuned_at=2000).p_value < 1e-6


def test_watched_as_people_enrol_it_is_decided_long_before_the_end(visits):
    """People in random order, a look at every fiftieth part: the difference is shown early."""
    rng = np.random.default_rng(0)
    shared, free = (rng.permutation(arm) for arm in visits)
    effects, variances = [], []
    for part in np.arange(0.02, 1.001, 0.02):
        arms = [Moments.of(arm[: int(part * arm.size)]) for arm in (shared, free)]
        effects.append(arms[0].mean - arms[1].mean)
        variances.append(sum(arm.variance / arm.n for arm in arms))
    k = stats.tune_k(variances, gate_variance=variances[4])
    fewer = stats.mixture_test(effects, variances, k=k, side="safe")
    more = stats.mixture_test(effects, variances, k=k, side="harm")
    assert fewer.first_look(20) is not None
    assert fewer.first_look(20) < 25
    assert more.first_look(20) is None
    sequence = stats.confidence_sequence(effects, variances, k=k, unit="visits")
    final = stats.mean_difference(Moments.of(shared), Moments.of(free))
    assert sequence.last.low < final.low < final.high < sequence.last.high < 0
