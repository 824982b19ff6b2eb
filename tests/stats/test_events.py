"""The event e-process: vectors, exact expectation by enumeration, its limits, its compiled form."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, hypergeom, poisson

from canarykit import stats
from canarykit.errors import DataError
from canarykit.stats import EventMixture

TWO_DAYS = ([4, 8], [10, 20], [1000, 9000], [3000, 9000])


@pytest.mark.parametrize(
    "counts, harm, margin, safe",
    [
        ((12, 72, 1e4, 9e4), 1.016505, 1.25, -0.944312),
        ((30, 100, 20, 80), 2.071387, 1.25, -1.414796),
        ((60, 110, 2e4, 2e4), 0.011048, 2.0, 2.647575),
    ],
)
def test_evidence_of_harm_and_of_safety(counts, harm, margin, safe):
    interval = [[value] for value in counts]
    assert round(float(EventMixture().log_e(*interval)[-1]), 6) == harm
    other = EventMixture(side="safe", null_ratio=margin).log_e(*interval)
    assert round(float(other[-1]), 6) == safe


@pytest.mark.parametrize("counts, log_e", [((12, 72, 1e4, 9e4), 0.812881), ((30, 100, 20, 80), 1.821063)])
def test_a_wider_spread_of_alternatives(counts, log_e):
    mixture = EventMixture(sd=1.0, low=0.02, high=3.0)
    assert round(float(mixture.log_e(*[[value] for value in counts])[-1]), 6) == log_e


def test_evidence_adds_up_over_intervals_with_their_own_split():
    assert stats.event_test(*TWO_DAYS).log_e.round(6).tolist() == [0.325357, -0.471852]


def test_a_beta_mixture_agrees_on_which_counts_speak():
    """Cross-check by another prior: Beta(1, 1) over the canary's share, two-sided and cut at the null."""
    from scipy.special import betainc, betaln

    def beta_log_e(x, n, p, a=1.0, b=1.0):
        two = betaln(a + x, b + n - x) - betaln(a, b) - x * math.log(p) - (n - x) * math.log(1 - p)
        one = two + math.log(1 - betainc(a + x, b + n - x, p)) - math.log(1 - betainc(a, b, p))
        return round(float(two), 6), round(float(one), 6)

    assert beta_log_e(12, 72, 0.1) == (-0.700809, -0.623991)
    assert beta_log_e(60, 100, 0.5) == (-0.090965, 0.578891)
    assert beta_log_e(5, 5, 0.5) == (1.673976, 2.351375)
    assert beta_log_e(12, 72, 0.1, 10, 90)[0] == 0.307084


MIXTURES = [
    EventMixture(),
    EventMixture(sd=1.0, high=3.0),
    EventMixture(side="safe", null_ratio=1.5),
    EventMixture(side="two", sd=0.1, low=0.005, high=0.4, points=40),
]


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("split", [(1, 1), (1, 9), (99, 1)])
def test_under_the_null_its_expectation_is_one(mixture, split):
    """Every outcome of three intervals with 3, 0 and 4 events, weighted by its probability."""
    canary, control = split
    p = canary * mixture.null_ratio / (canary * mixture.null_ratio + control)
    n = [3, 0, 4]
    outcomes = list(itertools.product(*(range(k + 1) for k in n)))
    weight = np.array([np.prod([binom.pmf(x, k, p) for x, k in zip(xs, n, strict=True)]) for xs in outcomes])
    log_e = mixture.log_e(np.array(outcomes), np.array(n), canary, control)
    assert float(weight.sum()) == pytest.approx(1)
    for look in range(3):
        assert float((weight * np.exp(log_e[:, look])).sum()) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("ratio", [0.3, 0.8, 0.99])
def test_under_less_than_the_null_its_expectation_is_below_one(ratio):
    """The one-sided null is composite: every ratio up to 1 keeps the promise."""
    x = np.arange(13)
    weight = binom.pmf(x, 12, ratio / (1 + ratio))
    log_e = EventMixture().log_e(x[:, None], np.full((13, 1), 12), 1, 1)[:, -1]
    assert float((weight * np.exp(log_e)).sum()) < 1


@pytest.mark.parametrize("people", [(6, 6), (3, 9), (10, 4)])
@pytest.mark.parametrize("affected", [1, 4, 8])
def test_people_counted_once_keep_its_expectation_below_one(people, affected):
    """With people instead of Poisson events the split is hypergeometric, which is narrower."""
    canary, control = people
    x = np.arange(max(0, affected - control), min(canary, affected) + 1)
    weight = hypergeom.pmf(x, canary + control, canary, affected)
    for mixture in (EventMixture(), EventMixture(side="two")):
        log_e = mixture.log_e(x[:, None], np.full((x.size, 1), affected), canary, control)[:, -1]
        assert float((weight * np.exp(log_e)).sum()) <= 1 + 1e-12


def test_its_stopped_expectation_is_at_most_one_whatever_the_stopping_rule():
    """Stop at E >= 3 or after six events, over every path: the optional stopping theorem by enumeration."""
    paths = np.array(list(itertools.product([0, 1], repeat=6)), dtype=float)
    weight = np.prod(np.where(paths == 1, 0.25, 0.75), axis=1)
    log_e = EventMixture(sd=1.0, high=3.0).log_e(paths, np.ones_like(paths), 1, 3)
    reached = log_e >= math.log(3)
    first = np.where(reached.any(axis=1), reached.argmax(axis=1), 5)
    stopped = np.exp(log_e[np.arange(len(paths)), first])
    assert float((weight * stopped).sum()) == pytest.approx(1.0)
    assert float(weight[reached.any(axis=1)].sum()) <= 1 / 3


def test_poisson_events_keep_it_whatever_the_hour_does_to_both_arms():
    rng = np.random.default_rng(1)
    baseline = rng.uniform(0.2, 6.0)
    x, y = np.meshgrid(np.arange(40), np.arange(60), indexing="ij")
    weight = poisson.pmf(x, baseline) * poisson.pmf(y, 2 * baseline)
    log_e = EventMixture().log_e(x[..., None], (x + y)[..., None], 1, 2)[..., 0]
    assert float((weight * np.exp(log_e)).sum()) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    "counts, limits",
    [
        ((60, 110, 1, 1), (0.7066, 2.0583)),
        ((300, 600, 1, 1), (0.7923, 1.2621)),
        ((12, 72, 1, 9), (0.5656, 4.1800)),
    ],
)
def test_one_sided_limits_of_the_ratio(counts, limits):
    spread = EventMixture(low=0.02)
    interval = [[value] for value in counts]
    low = stats.event_ratio_bounds(*interval, sided="lower", mixture=spread).low[-1]
    high = stats.event_ratio_bounds(*interval, sided="upper", mixture=spread).high[-1]
    assert (round(float(low), 4), round(float(high), 4)) == limits


@pytest.mark.parametrize("seed", range(12))
def test_limits_and_evidence_never_contradict_each_other(seed):
    """The upper limit is below a margin exactly when the evidence for it has reached 1 / alpha."""
    rng = np.random.default_rng(seed)
    n = rng.poisson(6, 40)
    canary, control = rng.uniform(1, 5, 40), rng.uniform(1, 5, 40)
    true = float(rng.uniform(0.3, 3))
    x = rng.binomial(n, canary * true / (canary * true + control))
    high = stats.event_ratio_bounds(x, n, canary, control, sided="upper").high
    low = stats.event_ratio_bounds(x, n, canary, control, sided="lower").low
    for null in rng.uniform(0.3, 3, 5):
        safe = np.maximum.accumulate(EventMixture(side="safe", null_ratio=null).log_e(x, n, canary, control))
        harm = np.maximum.accumulate(EventMixture(null_ratio=null).log_e(x, n, canary, control))
        assert ((high <= null) == (safe >= math.log(20))).all()
        assert ((low >= null) == (harm >= math.log(20))).all()


def test_the_estimate_is_the_likeliest_ratio():
    assert stats.event_ratio_estimate([12], [72], [1e4], [9e4]) == pytest.approx(1.8)
    x, n, canary, control = (np.array(column) for column in TWO_DAYS)
    grid = np.geomspace(0.1, 10, 200_001)[:, None]
    likelihood = (x * np.log(grid) - n * np.log(control + canary * grid)).sum(axis=1)
    best = float(grid[likelihood.argmax(), 0])
    assert stats.event_ratio_estimate(*TWO_DAYS) == pytest.approx(best, rel=1e-4)
    assert stats.event_ratio_estimate([0], [5], [1], [1]) == 0.0
    assert stats.event_ratio_estimate([5], [5], [1], [1]) == math.inf
    assert stats.event_ratio_estimate([0], [0], [1], [1]) is None


def test_no_events_in_one_arm_leave_its_side_unbounded():
    none = stats.event_ratio_bounds([0, 0], [9, 11], [1, 1], [1, 1])
    assert none.low[-1] == 0.0
    assert 0 < none.high[-1] < 1
    every = stats.event_ratio_bounds([40], [40], [1], [1])
    assert every.high[-1] == math.inf
    assert every.low[-1] > 1
    quiet = stats.event_ratio_bounds([0], [0], [1], [1])
    assert quiet.last is None
    assert (quiet.low[-1], quiet.high[-1]) == (0.0, math.inf)


def test_idle_intervals_change_nothing():
    busy = EventMixture().log_e(*TWO_DAYS)
    idle = EventMixture().log_e([4, 0, 8], [10, 0, 20], [1000, 0, 9000], [3000, 0, 9000])
    assert idle[[0, 2]] == pytest.approx(busy)
    assert idle[1] == idle[0]


def test_an_arm_that_was_off_says_nothing():
    """Before the canary starts there is nothing to compare, however many errors the control has."""
    log_e = EventMixture().log_e([0, 4], [50, 10], [0, 1000], [900, 3000])
    assert log_e[0] == pytest.approx(0.0, abs=1e-12)
    assert log_e[1] == pytest.approx(float(EventMixture().log_e([4], [10], [1000], [3000])[0]))


@pytest.mark.parametrize(
    "counts, message",
    [
        (([math.nan], [3], [1], [1]), "x holds nan"),
        (([1], [math.inf], [1], [1]), "n holds inf"),
        (([-1], [3], [1], [1]), "x holds -1"),
        (([1.5], [3], [1], [1]), "expected whole numbers"),
        (([4], [3], [1], [1]), "x is 4 where n is 3"),
        (([1], [3], [0], [1]), "exposure_canary is 0 in an interval in which that arm had events"),
        (([1], [3], [1], [0]), "exposure_control is 0"),
        (([1], [3], [-2], [1]), "exposure_canary holds -2"),
        (([1, 2], [3, 4, 5], [1], [1]), "time is the last axis"),
    ],
)
def test_impossible_intervals_are_refused(counts, message):
    with pytest.raises(DataError, match=message):
        EventMixture().log_e(*counts)


def test_an_unknown_side_names_the_known_ones():
    with pytest.raises(DataError, match="Did you mean 'harm'"):
        EventMixture(side="harmm")


def test_runs_and_guardrails_are_leading_axes():
    rng = np.random.default_rng(0)
    n = rng.poisson(4, (3, 5, 20))
    x = rng.binomial(n, 0.5)
    together = EventMixture().log_e(x, n, np.ones(20), np.ones(20))
    assert together.shape == (3, 5, 20)
    assert together[2, 4] == pytest.approx(EventMixture().log_e(x[2, 4], n[2, 4], 1, 1))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("mixture", MIXTURES)
def test_the_compiled_form_gives_the_same_numbers(shared, mixture):
    from canarykit.stats.any_look.event_kernels import running_log_e
    from canarykit.stats.any_look.event_process import event_intervals

    rng = np.random.default_rng(4)
    n = rng.poisson(1.5, (40, 60))
    canary = rng.uniform(1, 9, 60 if shared else (40, 60))
    control = rng.uniform(1, 9, 60 if shared else (40, 60))
    x = rng.binomial(n, canary / (canary + control))
    plain = mixture.log_e(x, n, canary, control)
    compiled = running_log_e(mixture, *event_intervals(x, n, canary, control))
    assert compiled == pytest.approx(plain, abs=1e-10)


@pytest.mark.parametrize("side, null_ratio", [("harm", 1.2), ("safe", 1.5), ("harm", 1.0)])
@pytest.mark.parametrize("before", [0, 1, 3])
def test_a_stage_gone_through_by_its_sums_crosses_where_its_steps_do(side, null_ratio, before):
    from canarykit.stats.any_look.event_kernels import bounded_log_e

    mixture = replace(EventMixture(), side=side, null_ratio=null_ratio)
    rng = np.random.default_rng(before)
    canary = np.concatenate([np.linspace(0.01, 0.05, before), np.full(30, 0.25)])
    n = rng.poisson(4, (300, len(canary)))
    chance = canary * 1.6 / (canary * 1.6 + 1 - canary)
    x = rng.binomial(n, chance)
    exact = mixture.log_e(x, n, canary, 1 - canary)
    needed = math.log(6)
    for thresholds in ((needed, needed), (needed - 1, needed), (-math.inf, math.inf)):
        bound = bounded_log_e(mixture, x, n, canary, 1 - canary, thresholds, -math.inf)
        for threshold in set(thresholds) - {-math.inf, math.inf}:
            assert ((bound >= threshold) == (exact >= threshold)).all()
        inside = (exact >= thresholds[0]) & (exact < thresholds[1])
        assert bound[inside] == pytest.approx(exact[inside], abs=1e-9)
        assert (bound[exact < thresholds[1]] >= exact[exact < thresholds[1]] - 1e-9).all()
    late = bounded_log_e(mixture, x, n, canary, 1 - canary, (-math.inf, math.inf), needed)
    there = np.maximum.accumulate(exact, axis=1) >= needed
    assert 0 < there.sum() < there.size
    assert late[there] == pytest.approx(exact[there], abs=1e-9)
    assert (late[~there] < needed).all()


def test_the_compiled_steps_skip_work_beside_the_thresholds_without_changing_what_crosses():
    from canarykit.stats.any_look import event_kernels as kernels

    mixture = EventMixture()
    rng = np.random.default_rng(9)
    n = rng.poisson(3, (200, 80)).astype(float)
    x = rng.binomial(n.astype(int), 0.58).astype(float)
    terms = kernels.terms_of(mixture, np.ones(80), np.ones(80))
    exact, bound = np.empty_like(x), np.empty_like(x)
    grid = mixture.grid
    kernels.run_paths(x, n, terms, grid.log_ratios, grid.log_weights, -np.inf, exact)
    kernels.run_paths(x, n, terms, grid.log_ratios, grid.log_weights, math.log(20), bound)
    assert exact == pytest.approx(mixture.log_e(x, n, 1, 1), abs=1e-10)
    assert ((bound >= math.log(20)) == (exact >= math.log(20))).all()
    assert (bound >= exact - 1e-9).all()
    two = math.log(4), math.log(20)
    between = np.empty_like(x)
    kernels.run_paths(x, n, terms, grid.log_ratios, grid.log_weights, two[0], between, two[1])
    for threshold in two:
        assert ((between >= threshold) == (exact >= threshold)).all()
    inside = (exact >= two[0]) & (exact < two[1])
    assert inside.sum() > 50
    assert between[inside] == pytest.approx(exact[inside], abs=1e-10)
    late = np.empty_like(x)
    wanted = math.log(20)
    kernels.run_paths(x, n, terms, grid.log_ratios, grid.log_weights, -np.inf, late, np.inf, wanted)
    there = np.maximum.accumulate(exact, axis=1) >= wanted
    assert 100 < there.sum() < there.size - 100
    assert late[there] == pytest.approx(exact[there], abs=1e-10)
    assert (late[~there] < wanted).all()
    assert (late >= exact - 1e-9).all()
    assert (late > exact + 0.01).any()
    state = np.zeros(grid.ratios.size)  # the plain form of the same steps, one rollout by hand
    row = np.empty_like(state)
    for look in range(80):
        if n[0, look] > 0:
            kernels.interval_terms.py_func(1.0, 1.0, 1.0, grid.ratios, row)
            kernels.add_interval.py_func(state, x[0, look], n[0, look], grid.log_ratios, row)
    assert kernels.log_mixture.py_func(state, grid.log_weights, -np.inf) == pytest.approx(exact[0, -1])
    points = math.log(state.size)
    bounds = kernels.log_bound.py_func(state, grid.log_weights, points), state.max()
    assert exact[0, -1] <= bounds[0] <= bounds[1]
