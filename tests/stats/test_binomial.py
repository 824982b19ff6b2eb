"""Tails and tests of the binomial, against scipy; corrections for several questions, against statsmodels."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest
from statsmodels.stats.multitest import multipletests

from canarykit import stats
from canarykit.stats.one_look.binomial import at_least, at_most, probabilities, two_sided_p_value


@pytest.mark.parametrize("share", [0.001, 0.05, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("n", [1, 7, 40, 1_000, 250_000])
def test_tails_and_the_exact_test_are_those_of_scipy(n, share):
    middle = round(n * share)
    near = {0, 1, middle - 40, middle - 3, middle, middle + 1, middle + 30, n - 1, n}
    for x in sorted(value for value in near if 0 <= value <= n):
        assert at_most(x, n, share) == pytest.approx(binom.cdf(x, n, share), rel=1e-9, abs=1e-300)
        assert at_least(x, n, share) == pytest.approx(binom.sf(x - 1, n, share), rel=1e-9, abs=1e-300)
        expected = binomtest(x, n, share).pvalue
        assert two_sided_p_value(x, n, share) == pytest.approx(expected, rel=1e-7, abs=1e-300)


def test_the_probabilities_add_up_to_one():
    assert probabilities(np.arange(501), 500, 0.02).sum() == pytest.approx(1)


@pytest.mark.slow  # seconds to import
@pytest.mark.parametrize("ours, theirs", [
    ("holm", "holm"), ("bonferroni", "bonferroni"), ("benjamini-hochberg", "fdr_bh"),
    ("benjamini-yekutieli", "fdr_by"), ("hommel", "hommel"),
])  # fmt: skip
def test_corrected_p_values_are_those_of_statsmodels(ours, theirs):
    rng = np.random.default_rng(8)
    for _ in range(10):
        p = rng.random(rng.integers(1, 30)) ** 3
        p[rng.random(p.size) < 0.2] = p[0]  # ties
        np.testing.assert_allclose(stats.adjust_p_values(p, method=ours), multipletests(p, method=theirs)[1])
