"""Leaving clusters out: against doing it one by one, and at the edges."""

import math

import numpy as np
import pytest

from canarykit import stats
from canarykit.errors import DataError


@pytest.mark.parametrize("seed", range(5))
def test_each_change_is_that_of_the_ratio_without_the_cluster(seed):
    rng = np.random.default_rng(seed)
    sums, sizes = rng.normal(5, 2, 30), rng.integers(1, 100, 30)
    whole = sums.sum() / sizes.sum()
    slow = [np.delete(sums, k).sum() / np.delete(sizes, k).sum() - whole for k in range(30)]
    assert stats.leave_one_out(sums, sizes) == pytest.approx(np.array(slow))


def test_clusters_of_one_size_have_the_variance_of_their_means():
    rng = np.random.default_rng(1)
    sums, others = rng.normal(5, 2, 25), rng.normal(5, 2, 30)
    jackknife = stats.cluster_jackknife(sums * 4, np.full(25, 4), others * 4, np.full(30, 4))
    assert jackknife.value == pytest.approx(sums.mean() - others.mean())
    assert jackknife.standard_error == pytest.approx(
        math.sqrt(sums.var(ddof=1) / 25 + others.var(ddof=1) / 30)
    )
    assert jackknife.degrees_of_freedom == 53
    assert not jackknife.notes


def test_few_clusters_are_told_and_a_cluster_that_is_the_whole_arm_is_unbounded():
    jackknife = stats.cluster_jackknife([1, 2, 3], [1, 1, 1], [2, 2, 5], [1, 1, 1])
    assert "only 3 and 3 clusters" in jackknife.notes[0]
    whole = stats.cluster_jackknife([1, 0], [1, 0], [2, 2, 5], [1, 1, 1])
    assert (whole.low, whole.high, whole.p_value) == (-math.inf, math.inf, None)
    assert stats.cluster_jackknife([1], [1], [2, 2], [1, 1]) is None
    assert stats.cluster_jackknife([0, 0], [0, 0], [2, 2], [1, 1]) is None


@pytest.mark.parametrize(
    "arms, message",
    [
        (([1, 2], [1, 2, 3]), "sums has 2 clusters, sizes 3"),
        (([1, 2], [0, 0]), "the sizes of 2 clusters add up to 0"),
        (([1, 2], [1, -2]), "sizes"),
        (([1, float("nan")], [1, 2]), "sums"),
    ],
)
def test_rows_that_cannot_be_meant_are_refused(arms, message):
    with pytest.raises(DataError, match=message):
        stats.leave_one_out(*arms)
