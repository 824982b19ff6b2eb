"""Many metrics, surveys, associations and Kayenta's labels: printed values of the sources."""

import math

import numpy as np
import pytest

from canarykit import stats
from canarykit.errors import DataError

P = [0.001, 0.008, 0.012, 0.039, 0.041, 0.2]


@pytest.mark.parametrize(
    "method, adjusted",
    [
        ("holm", [0.006, 0.040, 0.048, 0.117, 0.117, 0.2]),
        ("benjamini-hochberg", [0.006, 0.024, 0.024, 0.0492, 0.0492, 0.2]),
        ("benjamini-yekutieli", [0.0147, 0.0588, 0.0588, 0.12054, 0.12054, 0.49]),
        ("hommel", [0.006, 0.032, 0.048, 0.078, 0.082, 0.2]),
    ],
)
def test_adjusted_p_values(method, adjusted):
    assert stats.adjust_p_values(P, method=method).round(5).tolist() == pytest.approx(adjusted, abs=1e-5)


def test_weights_decide_how_much_evidence_a_guardrail_needs():
    log_e = np.log([39.0, 41.0, 1000.0])
    assert stats.weighted_harm(log_e, [0.5, 0.5, 0.0]).tolist() == [False, True, False]
    assert stats.weighted_harm(log_e[:2], [0.2, 0.8]).tolist() == [False, True]
    assert stats.weighted_harm(np.tile(log_e, (4, 1))).shape == (4, 3)
    assert stats.mean_log_e(log_e) == pytest.approx(math.log(1080 / 3))


@pytest.mark.parametrize("weights", [[0.9, 0.2], [0.5], [-0.1, 0.5]])
def test_weights_beyond_the_budget_are_refused(weights):
    with pytest.raises(DataError, match="weights"):
        stats.weighted_harm([1.0, 2.0], weights)


def test_p_values_outside_zero_to_one_are_refused():
    for bad in ([0.1, 1.2], [math.nan], [-0.1]):
        with pytest.raises(DataError, match="p_values holds"):
            stats.adjust_p_values(bad)
    with pytest.raises(DataError, match="log_e holds NaN"):
        stats.weighted_harm([math.nan, 1.0])


@pytest.mark.parametrize(
    "answers, error, limits",
    [((60, 25, 15), 7.3993, (30.498, 59.502)), ((12, 5, 3), 16.5454, (12.572, 77.428))],
)
def test_net_promoter_scores(answers, error, limits):
    score = stats.net_promoter_score(*answers, method="normal")
    assert score.value == pytest.approx(45)
    assert round(score.standard_error, 4) == error
    assert (round(score.low, 3), round(score.high, 3)) == limits


def test_a_difference_of_net_promoter_scores():
    difference = stats.net_promoter_score_difference((450, 300, 250), (480, 300, 220))
    assert difference.value == pytest.approx(-6)
    assert round(difference.standard_error, 6) == 3.594997
    assert round(difference.statistic, 6) == -1.668986


def test_answers_all_alike_leave_the_score_unbounded():
    score = stats.net_promoter_score(4, 0, 0, method="normal")
    assert (score.value, score.low, score.high) == (100.0, -100.0, 100.0)
    assert score.notes
    both = stats.net_promoter_score_difference((4, 0, 0), (0, 0, 4))
    assert (both.value, both.low, both.high, both.p_value) == (200.0, -200.0, 200.0, None)
    assert stats.net_promoter_score(0, 0, 0) is None
    assert stats.net_promoter_score_difference((0, 0, 0), (1, 1, 1)) is None


def test_satisfaction_is_a_share_with_its_interval():
    """82 of 100: Wilson's lower limit is 0.7333264."""
    share = stats.satisfaction(82, 100)
    assert share.low == pytest.approx(0.733327, abs=1e-6)
    assert round(share.high, 6) == 0.882998


def test_an_odds_ratio_with_its_three_tests():
    table = [[30, 70], [18, 82]]
    ratio, fisher = stats.odds_ratio(table), stats.fisher_exact(table)
    assert round(ratio.value, 6) == 1.952381
    assert round(ratio.standard_error, 6) == 0.339661
    assert (round(ratio.low, 6), round(ratio.high, 6)) == (1.003331, 3.799135)
    assert round(ratio.p_value, 7) == 0.0488664
    assert round(fisher.p_value, 7) == 0.0679100
    assert round(fisher.statistic, 6) == 1.945841


def test_small_and_empty_cells_of_a_table():
    small = stats.odds_ratio([[12, 3], [5, 9]])
    assert small.value == pytest.approx(7.2)
    assert (round(small.low, 6), round(small.high, 6)) == (1.352612, 38.325834)
    empty = stats.odds_ratio([[10, 0], [6, 4]])
    assert round(empty.value, 6) == 13.333333
    assert (round(empty.low, 6), round(empty.high, 6)) == (0.595103, 298.734460)
    assert empty.notes == ("a cell is empty: it counts as one half",)
    assert stats.odds_ratio([[0, 0], [0, 0]]) is None
    assert stats.fisher_exact([[0, 0], [0, 0]]) is None


def test_strata_share_one_odds_ratio():
    tables = [[[30, 70], [18, 82]], [[12, 88], [9, 191]]]
    ratio = stats.mantel_haenszel(tables)
    assert round(ratio.value, 6) == 2.230425
    assert (round(ratio.low, 6), round(ratio.high, 6)) == (1.304654, 3.813114)
    assert round(stats.homogeneity(tables).p_value, 6) == 0.489988
    with_empty = stats.mantel_haenszel([*tables, [[0, 0], [3, 9]]])
    assert with_empty.value == pytest.approx(ratio.value)  # one row only: nothing to compare
    assert stats.mantel_haenszel([]) is None
    assert stats.homogeneity(tables[:1]) is None
    one_sided = stats.mantel_haenszel([[[3, 0], [2, 5]]])
    assert (one_sided.value, one_sided.low, one_sided.high) == (math.inf, 0.0, math.inf)
    assert one_sided.notes


def test_whether_strata_differ_is_tested_as_statsmodels_does_and_also_at_a_ratio_of_exactly_one():
    from statsmodels.stats.contingency_tables import StratifiedTable

    rng = np.random.default_rng(4)
    for _ in range(50):
        tables = rng.integers(1, 60, (rng.integers(2, 5), 2, 2))
        other = StratifiedTable(np.moveaxis(tables, 0, -1).astype(float)).test_equal_odds()
        homogeneity = stats.homogeneity(list(tables))
        assert (homogeneity.statistic, homogeneity.p_value) == pytest.approx(
            (other.statistic, other.pvalue), rel=1e-6
        )
    assert stats.homogeneity([[[5, 5], [5, 5]], [[6, 6], [6, 6]]]).p_value == 1.0


@pytest.mark.parametrize(
    "tables",
    [
        [[[0, 5], [3, 5]], [[0, 4], [2, 8]]],
        [[[3, 0], [0, 5]], [[2, 0], [0, 8]]],
        [[[3, 0], [1, 5]], [[2, 0], [1, 8]]],
    ],
)
def test_strata_without_a_common_odds_ratio_are_not_tested(tables):
    assert stats.homogeneity(tables) is None


@pytest.mark.parametrize(
    "table", [[[1, 2]], [[1, 2, 3], [4, 5, 6]], [[1, -2], [3, 4]], [[1, math.nan], [3, 4]]]
)
def test_a_table_must_be_two_by_two_counts(table):
    with pytest.raises(DataError, match="table"):
        stats.odds_ratio(table)


ONE_TO_THIRTY = list(range(1, 31))


@pytest.mark.parametrize(
    "canary, control, low, high, label",
    [
        ([20, 22, 21, 25, 30], [1, 2.2, 1.1, 2.5, 3], 17.0001, 28.9999, "High"),
        ([2, 2, 2, 2, 3], [10, 20.2, 10.1, 20.5, 30], -28, -7.1, "Low"),
        ([v + 5 for v in ONE_TO_THIRTY], ONE_TO_THIRTY, -0.9999, 10.9999, "Pass"),
        ([v + 15 for v in ONE_TO_THIRTY], ONE_TO_THIRTY, 9.0001, 20.9999, "High"),
    ],
)
def test_kayenta_labels_and_their_intervals(canary, control, low, high, label):
    series = stats.classify_series(canary, control)
    assert series.label == label
    assert (series.low, series.high) == pytest.approx((low, high), abs=1e-3)


def test_kayenta_effect_and_shift():
    label = stats.classify_series([20, 22, 21, 25, 30], [1, 2.2, 1.1, 2.5, 3])
    assert label.shift == pytest.approx(20.0, abs=1e-3)
    assert round(label.effect, 4) == 12.0408
    assert stats.classify_series([v + 5 for v in ONE_TO_THIRTY], ONE_TO_THIRTY).shift == pytest.approx(
        5, abs=1e-3
    )
    same = stats.classify_series([1, 2, 3], [3, 2, 1], effect_size="cles")
    apart = stats.classify_series([1, 2, 3], [4, 5, 6], effect_size="cles")
    assert same.effect == 0.5
    assert apart.effect == 0.0


def test_kayenta_passes_what_its_users_complain_about():
    """Seven of ten points at a hundred times the control pass; eight do not."""
    ones = [1] * 10
    assert stats.classify_series([100] * 7 + [1] * 3, ones).label == "Pass"
    assert stats.classify_series([100] * 8 + [1] * 2, ones).label == "High"
    assert stats.classify_series([0, 1, 2, 1, 0, 0], [0] * 6).label == "Pass"


def test_kayenta_gates():
    canary, control = [v + 15 for v in ONE_TO_THIRTY], ONE_TO_THIRTY
    assert stats.classify_series(canary, control, direction="decrease").label == "Pass"
    assert stats.classify_series(canary, control, allowed_increase=3.0).label == "Pass"
    assert stats.classify_series([], control).label == "Nodata"
    assert stats.classify_series([3, 1, 2], [2, 3, 1]).label == "Pass"


def test_kayenta_scores():
    assert stats.kayenta_score({"a": ["Pass", "High", "Low"]}) == 33.33
    assert stats.kayenta_score({"a": ["Pass"], "b": ["High"]}, weights={"a": 75, "b": 25}) == 75
    assert stats.kayenta_score({"a": ["Pass"]}, critical=["Nodata"]) == 0
    assert stats.kayenta_score({"a": ["Nodata"], "b": ["Pass"], "c": ["Pass"]}) == 100
    assert stats.kayenta_score({"a": ["Nodata", "Pass"]}) == 0  # half without data
    with pytest.raises(DataError, match="weights names"):
        stats.kayenta_score({"a": ["Pass"]}, weights={"b": 50})


@pytest.mark.parametrize("n", [5, 20, 50])
def test_the_interval_of_a_promoter_score_covers_it_however_skewed_the_answers(n):
    from scipy.stats import multinomial

    answers = [(i, n - i - j, j) for i in range(n + 1) for j in range(n + 1 - i)]
    scores = [stats.net_promoter_score(*counts) for counts in answers]
    low, high = np.array([e.low for e in scores]), np.array([e.high for e in scores])
    for shares in (
        (0.6, 0.25, 0.15),
        (0.95, 0.03, 0.02),
        (0.02, 0.96, 0.02),
        (0.1, 0.1, 0.8),
        (0.99, 0.005, 0.005),
    ):
        score = 100 * (shares[0] - shares[2])
        inside = (low <= score + 1e-9) & (score - 1e-9 <= high)
        assert multinomial.pmf(answers, n, shares) @ inside >= 0.95


def test_a_sign_change_is_looked_for_step_by_step_as_scipy_does():
    from scipy.optimize import brentq

    from canarykit.stats.others.mann_whitney import _brent

    steps = np.sort(np.random.default_rng(4).normal(size=60))
    for fn in (math.sin, lambda at: at**3 - 2, lambda at: float((steps > at).sum()) - 20.5):
        for tolerance in (1e-2, 1e-4, 1e-9):
            assert _brent(fn, -2.9, 2.8, tolerance=tolerance) == brentq(fn, -2.9, 2.8, xtol=tolerance)
