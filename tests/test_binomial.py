"""Counts drawn from uniform numbers: exactly binomial, and the same with every release of numpy."""

import numpy as np
import pytest
from scipy.stats import binom, chisquare

from canarykit.simulate.decisions.binomial_counts import binomial

CASES = [
    (1, 0.5), (9, 0.02), (40, 0.24), (40, 0.25), (41, 0.75), (120, 0.1), (1_200, 0.01), (5_000, 0.999),
    (1_000_000, 0.0001), (10**9, 0.4),
]  # fmt: skip


@pytest.mark.parametrize("trials, share", CASES)
def test_counts_follow_the_binomial_law(trials, share):
    draws = 100_000
    counts = binomial(np.random.default_rng(20260907), np.full(draws, trials), share)
    edges = np.unique(binom.ppf(np.linspace(0, 1, 30)[1:-1], trials, share))
    observed = np.histogram(counts, np.r_[-0.5, edges + 0.5, trials + 0.5])[0]
    expected = np.diff(np.r_[0, binom.cdf(edges, trials, share), 1]) * draws
    enough = expected > 5
    scaled = expected[enough] * observed[enough].sum() / expected[enough].sum()
    assert chisquare(observed[enough], scaled).pvalue > 1e-4
    for tail in (1e-3, 1 - 1e-3):  # and as far out as a rollback looks
        edge = binom.ppf(tail, trials, share)
        below = binom.cdf(edge, trials, share)
        assert abs(np.mean(counts <= edge) - below) <= 5 * np.sqrt(below * (1 - below) / draws)


def test_nothing_succeeds_of_none_and_everything_where_it_is_certain():
    stream = np.random.default_rng(1)
    drawn = binomial(stream, np.array([0, 0, 0, 7, 7, 10**6]), np.array([0.0, 0.5, 1.0, 0.0, 1.0, 1.0]))
    assert drawn.tolist() == [0, 0, 0, 0, 7, 10**6]


def test_shares_by_look_meet_people_by_run_and_look():
    people = np.array([[100, 200], [300, 400]])
    drawn = binomial(np.random.default_rng(2), people, np.array([0.0, 1.0]))
    assert drawn.tolist() == [[0, 200], [0, 400]]


def test_only_uniform_numbers_are_asked_for():
    class Uniform:
        def random(self, size):
            return np.random.default_rng(size).random(size)

    assert binomial(Uniform(), np.array([5, 5_000]), 0.3).shape == (2,)


def test_the_streams_that_simulations_draw_from_are_those_of_every_release():
    """Numbers of one seed, by every law that a simulation asks for, as numpy 1.26 to 2.5 give them."""
    rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(7)))
    assert rng.poisson(3.0, 6).tolist() == [0, 4, 3, 1, 3, 0]
    assert rng.poisson(300.0, 4).tolist() == [311, 321, 306, 281]
    assert rng.standard_normal(3, dtype=np.float32).tolist() == pytest.approx(
        [-0.1196, -0.7853, -0.4437], abs=1e-4
    )
    assert rng.standard_normal(3).tolist() == pytest.approx([0.6218, -0.6441, -0.3959], abs=1e-4)
    assert rng.standard_exponential(3).tolist() == pytest.approx([1.4269, 0.0672, 0.219], abs=1e-4)
    narrow = rng.standard_exponential(3, dtype=np.float32)
    assert narrow.tolist() == pytest.approx([0.6587, 0.102, 0.3466], abs=1e-4)
    assert rng.standard_gamma(0.7, 3).tolist() == pytest.approx([0.6486, 0.571, 0.1688], abs=1e-4)
    assert binomial(rng, np.array([20, 2_000, 200_000]), 0.3).tolist() == [3, 618, 60_442]
