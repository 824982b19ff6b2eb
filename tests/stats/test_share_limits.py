"""Limits of a share that is looked at as often as one likes."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from canarykit.stats.any_look.share_limits import share_limit_at_any_look, share_limit_log_e
from canarykit.stats.one_look.proportions import clopper_pearson


@pytest.mark.parametrize("limit", [0.001, 0.05, 0.5, 0.97])
@pytest.mark.parametrize("side", ["above", "below"])
def test_at_the_limit_the_evidence_is_one_on_average_and_less_within_it(limit, side):
    for n in (1, 7, 60):
        x = np.arange(n + 1)
        e = np.exp(share_limit_log_e(x, n, limit, side))
        assert binom.pmf(x, n, limit) @ e == pytest.approx(1.0)
        assert binom.pmf(x, n, limit * 0.8 if side == "above" else 1 - (1 - limit) * 0.8) @ e < 1


@pytest.mark.parametrize("limit, per_hour, hours", [(0.05, 50, 168), (0.02, 250, 72), (0.5, 20, 168)])
def test_a_limit_that_is_kept_is_rarely_called_broken_where_exact_intervals_often_call_it_so(
    limit, per_hour, hours
):
    runs = 1000
    x = np.cumsum(np.random.default_rng(3).binomial(per_hour, limit, (runs, hours)), axis=1)
    n = np.arange(1, hours + 1) * per_hour
    broken = (share_limit_log_e(x, n, limit) >= math.log(20)).any(axis=1).mean()
    assert broken <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    exact = (binom.sf(x - 1, n, limit) < 0.05).any(axis=1).mean()
    assert exact > 0.12


def test_the_limits_lie_where_the_evidence_reaches_its_threshold():
    low, high = (share_limit_at_any_look(18, 200, side=side) for side in ("lower", "upper"))
    assert share_limit_log_e(18, 200, low) == pytest.approx(math.log(20))
    assert share_limit_log_e(18, 200, high, "below") == pytest.approx(math.log(20))
    assert low < clopper_pearson(18, 200, sided="lower").low
    assert share_limit_at_any_look(0, 0) is None
    assert share_limit_at_any_look(0, 40) == 0.0
    assert share_limit_at_any_look(40, 40, side="upper") == 1.0
