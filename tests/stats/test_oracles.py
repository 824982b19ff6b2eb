"""The same questions to other libraries, on random input: scipy, statsmodels, tea-tasting."""

import math

import numpy as np
import pytest

from canarykit import stats
from canarykit.stats import Moments, PairMoments


@pytest.mark.parametrize("seed", range(15))
def test_intervals_of_one_share(seed):
    from statsmodels.stats.proportion import proportion_confint

    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 2000))
    x, level = int(rng.integers(0, n + 1)), float(rng.uniform(0.5, 0.999))
    for ours, theirs in ((stats.wilson, "wilson"), (stats.clopper_pearson, "beta")):
        interval = ours(x, n, confidence=level)
        low, high = proportion_confint(x, n, alpha=1 - level, method=theirs)
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-9)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # theirs, while it searches
@pytest.mark.parametrize("seed", range(15))
def test_intervals_of_two_shares(seed):
    """Newcombe, Agresti-Caffo, Wald, and the ratio scores.

    Not the score difference: its cubic in statsmodels takes a count for a size, and 56 of 70 against
    48 of 80 gets (0.0526, 0.3440) where Newcombe (1998) prints (0.0528, 0.3382).
    """
    from statsmodels.stats.proportion import confint_proportions_2indep as confint

    rng = np.random.default_rng(seed)
    n1, n0 = (int(n) for n in rng.integers(5, 800, 2))
    counts = (int(rng.integers(1, n1)), n1, int(rng.integers(1, n0)), n0)
    for ours, theirs in (("newcombe", "newcomb"), ("agresti-caffo", "agresti-caffo"), ("wald", "wald")):
        difference = stats.risk_difference(*counts, method=ours)
        low, high = confint(*counts, method=theirs, compare="diff")
        assert (difference.low, difference.high) == pytest.approx((max(low, -1), min(high, 1)), abs=1e-9)
    for function, compare in ((stats.risk_ratio, "ratio"), (stats.risk_odds_ratio, "odds-ratio")):
        difference = function(*counts)
        low, high = confint(*counts, method="score", compare=compare)
        assert (difference.low, difference.high) == pytest.approx((low, high), rel=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_welch(seed):
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(seed)
    x, y = rng.lognormal(0, 1, rng.integers(3, 300)), rng.lognormal(0.1, 2, rng.integers(3, 300))
    for sided, alternative in (("two", "two-sided"), ("lower", "greater"), ("upper", "less")):
        difference = stats.mean_difference(Moments.of(x), Moments.of(y), sided=sided)
        theirs = ttest_ind(x, y, equal_var=False, alternative=alternative)
        interval = theirs.confidence_interval(0.95)
        assert difference.p_value == pytest.approx(theirs.pvalue)
        assert (difference.low, difference.high) == pytest.approx((interval.low, interval.high))
        assert difference.degrees_of_freedom == pytest.approx(theirs.df)


@pytest.mark.parametrize("seed", range(5))
def test_the_analysis_of_covariance_is_cuped_to_first_order(seed):
    import statsmodels.api as sm

    rng = np.random.default_rng(seed)
    before, arm = rng.normal(10, 3, 400), rng.random(400) < 0.4
    after = 2 * before + arm + rng.normal(0, 2, 400)
    difference = stats.cuped_difference(
        PairMoments.of(after[arm], before[arm]), PairMoments.of(after[~arm], before[~arm])
    )
    design = np.column_stack([np.ones(400), arm, before])
    fit = sm.OLS(after, design).fit(cov_type="HC2")
    assert difference.value == pytest.approx(fit.params[1])
    assert difference.standard_error == pytest.approx(fit.bse[1], rel=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_clustered_regression(seed):
    import statsmodels.api as sm

    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 30, 50)
    group = np.repeat(np.arange(50), sizes)
    arm = rng.random(50) < 0.5
    y = rng.normal(0, 1, 50)[group] + rng.normal(0, 2, group.size) + arm[group]
    sums = np.bincount(group, weights=y)
    moments = [PairMoments.of(sums[who], sizes[who]) for who in (arm, ~arm)]
    fit = sm.OLS(y, sm.add_constant(arm[group].astype(float))).fit(
        cov_type="cluster", cov_kwds={"groups": group}
    )
    difference = stats.cluster_difference(*moments, correction="cr1")
    assert (difference.value, difference.standard_error) == pytest.approx((fit.params[1], fit.bse[1]))


@pytest.mark.parametrize("seed", range(5))
def test_stratified_scores(seed):
    from statsmodels.stats.contingency_tables import StratifiedTable

    rng = np.random.default_rng(seed)
    canary, control = rng.integers(20, 300, 6), rng.integers(20, 300, 6)
    x, y = rng.binomial(canary, 0.1), rng.binomial(control, 0.08)
    tables = [[[a, n - a], [b, m - b]] for a, b, n, m in zip(x, y, canary, control, strict=True)]
    theirs = StratifiedTable(tables).test_null_odds(correction=False)
    ours = stats.stratified_score(x, x + y, canary, control)
    assert float(ours.z[-1]) ** 2 == pytest.approx(theirs.statistic)


def test_chi_square_and_exact_splits():
    from scipy.stats import binomtest, chisquare

    rng = np.random.default_rng(3)
    for _ in range(10):
        shares = rng.dirichlet((5, 5, 5))
        counts = rng.multinomial(3000, shares)
        theirs = chisquare(counts, 3000 * shares)
        assert stats.srm_chi_square(counts, shares).p_value == pytest.approx(theirs.pvalue)
        x = int(rng.binomial(200, 0.3))
        check = stats.srm_exact(x, 200 - x, share=0.3)
        assert check.p_value == pytest.approx(binomtest(x, 200, 0.3).pvalue)


def test_hodges_lehmann_shift_is_the_median_of_all_differences():
    rng = np.random.default_rng(4)
    for _ in range(5):
        x, y = rng.normal(2, 1, 25), rng.normal(0, 1, 30)
        shift = stats.classify_series(x, y).shift
        assert shift == pytest.approx(np.median(x[:, None] - y[None, :]), abs=0.05)


@pytest.fixture(scope="module")
def tea_tasting_users():
    """Orders and sessions of 4,000 made-up users, from the library that answers beside us."""
    import tea_tasting as tt

    return tt, tt.make_users_data(rng=42, return_type="pandas")


def arms(users, columns):
    who = users["variant"].to_numpy() == 1
    return [PairMoments.of(*(users.loc[arm, c].to_numpy() for c in columns)) for arm in (who, ~who)]


def test_tea_tasting_agrees_on_orders_per_user(tea_tasting_users):
    tt, users = tea_tasting_users
    theirs = tt.Experiment(orders=tt.Mean("orders", alternative="two-sided")).analyze(users)["orders"]
    canary, control = arms(users, ("orders", "sessions"))
    ours = stats.mean_difference(canary.own, control.own)
    assert (round(control.mean, 7), round(canary.mean, 7)) == (0.5304004, 0.5730905)
    assert ours.p_value == pytest.approx(theirs.pvalue)
    assert round(ours.p_value, 7) == 0.1177318
    assert (ours.low, ours.high) == pytest.approx((theirs.effect_size_ci_lower, theirs.effect_size_ci_upper))


def test_tea_tasting_agrees_on_orders_per_session(tea_tasting_users):
    tt, users = tea_tasting_users
    metric = tt.RatioOfMeans("orders", "sessions")
    theirs = tt.Experiment(orders=metric).analyze(users)["orders"]
    canary, control = arms(users, ("orders", "sessions"))
    ours = stats.ratio_difference(canary, control)
    assert ours.p_value == pytest.approx(theirs.pvalue)
    assert round(ours.p_value, 7) == 0.0762376
    relative = stats.ratio_difference(canary, control, relative=True)
    assert relative.value == pytest.approx(theirs.rel_effect_size)


def test_tea_tasting_answers_a_large_split_by_the_normal_form(tea_tasting_users):
    """2023 against 1977: its automatic choice is normal with a continuity correction, ours is exact."""
    tt, users = tea_tasting_users
    counts = users["variant"].value_counts()
    automatic = tt.Experiment(split=tt.SampleRatio()).analyze(users)["split"].pvalue
    exact = tt.Experiment(split=tt.SampleRatio(method="binom")).analyze(users)["split"].pvalue
    ours = stats.srm_exact(int(counts[1]), int(counts[0]))
    assert round(automatic, 7) == 0.4767667
    assert round(math.erfc((23 - 0.5) / math.sqrt(1000) / math.sqrt(2)), 7) == 0.4767667
    assert ours.p_value == pytest.approx(exact)
    assert round(exact, 7) == 0.4767713
