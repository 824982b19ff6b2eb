"""Do the error rates hold however often one looks? Seeded simulations, tolerances of three standard errors.

Each bound is `level + 3 sqrt(level (1 - level) / runs)`; each rate that a naive rule reaches is checked to
be far above it, so that these tests could fail.
"""

import math

import numpy as np
import pytest

from canarykit import stats
from canarykit.stats import EventMixture, PairMoments

RAMP = np.repeat([0.01, 0.05, 0.10, 0.25, 0.50], 24)
HOURS = np.arange(RAMP.size)
USERS = 2000.0 * RAMP  # canary users an hour
WIDE = EventMixture(sd=0.7)
LOG_20 = math.log(20)


def bound(level, runs):
    return level + 3 * math.sqrt(level * (1 - level) / runs)


def baseline(rng, runs, rate=0.01, drift=0.0):
    """Error rate by run and hour: a daily wave, a level of its own, and a trend over the ramp."""
    wave = 1 + 0.5 * np.sin(2 * np.pi * HOURS / 24)
    level = np.exp(rng.normal(0, 0.1, (runs, 1)))
    return rate * wave * level * (1 + drift * HOURS / HOURS[-1])


def errors(rng, rate, users, ratio=1.0):
    return rng.binomial(np.round(users).astype(int), np.minimum(rate * ratio, 1.0)).astype(float)


def first_crossing(log_e, threshold=LOG_20):
    reached = log_e >= threshold
    return reached.any(axis=-1), np.where(reached.any(axis=-1), reached.argmax(axis=-1), RAMP.size)


@pytest.mark.parametrize("control", ["equal share", "all the rest"])
@pytest.mark.parametrize("drift", [0.0, 0.4])
def test_a_healthy_release_is_rolled_back_at_most_one_time_in_twenty(control, drift):
    rng, runs = np.random.default_rng(20), 1500
    rest = USERS if control == "equal share" else 2000.0 - USERS
    rate = baseline(rng, runs, drift=drift)
    x, y = errors(rng, rate, USERS), errors(rng, rate, rest)
    stopped, _ = first_crossing(WIDE.log_e(x, x + y, USERS, rest))
    assert stopped.mean() <= bound(0.05, runs)


def test_a_baseline_that_rises_during_the_ramp_fools_pooled_tests_only():
    """Errors rise by 40 % while the share grows: pooled over stages that looks like harm."""
    rng, runs = np.random.default_rng(21), 1000
    rest = 2000.0 - USERS
    rate = np.broadcast_to(0.05 * (1 + 0.4 * HOURS / HOURS[-1]), (runs, RAMP.size))
    x, y = errors(rng, rate, USERS), errors(rng, rate, rest)
    pooled = stats.stratified_score(
        x.sum(1)[:, None], (x + y).sum(1)[:, None], np.full((runs, 1), USERS.sum()), rest.sum()
    )
    by_hour = stats.stratified_score(x, x + y, USERS, rest)
    assert (pooled.z[:, -1] > 1.645).mean() > 0.9
    assert (by_hour.z[:, -1] > 1.645).mean() <= bound(0.05, runs)
    stopped, _ = first_crossing(EventMixture().log_e(x, x + y, USERS, rest))
    assert stopped.mean() <= bound(0.05, runs)


@pytest.mark.parametrize("ratio, hours, users", [(1.5, 61, 7054), (2.0, 35, 2098), (5.0, 13, 309)])
def test_a_bad_release_is_caught_as_soon_as_published(ratio, hours, users):
    """Median hour and mean canary users exposed on the ramp 1/5/10/25/50 %, 1 % errors, within a tenth."""
    rng, runs = np.random.default_rng(22), 3000
    rate = 0.01 * (1 + 0.5 * np.sin(2 * np.pi * HOURS / 24)) * np.ones((runs, 1))
    x, y = errors(rng, rate, USERS, ratio), errors(rng, rate, USERS)
    stopped, when = first_crossing(WIDE.log_e(x, x + y, USERS, USERS))
    exposed = np.cumsum(USERS)[np.minimum(when, RAMP.size - 1)]
    assert stopped.mean() > 0.99
    assert np.median(when) + 1 == pytest.approx(hours, rel=0.1)
    assert exposed.mean() == pytest.approx(users, rel=0.1)


def test_events_of_chatty_people_break_the_promise_and_people_keep_it():
    """Five errors a person on average: counting events rolls back most healthy releases."""
    rng, runs = np.random.default_rng(23), 600
    rate = baseline(rng, runs)
    x, y = errors(rng, rate, USERS), errors(rng, rate, USERS)
    events = [k + rng.poisson(4.0 * k) for k in (x, y)]
    people, _ = first_crossing(WIDE.log_e(x, x + y, USERS, USERS))
    loud, _ = first_crossing(WIDE.log_e(events[0], events[0] + events[1], USERS, USERS))
    assert people.mean() <= bound(0.05, runs)
    assert loud.mean() > 0.4


def test_five_guardrails_share_one_error_budget():
    rng, runs = np.random.default_rng(24), 1000
    reached = []
    for _ in range(5):
        rate = baseline(rng, runs)
        x, y = errors(rng, rate, USERS), errors(rng, rate, USERS)
        reached.append(WIDE.log_e(x, x + y, USERS, USERS).max(axis=1))
    log_e = np.stack(reached, axis=-1)
    together = stats.weighted_harm(log_e, alpha=0.05).any(axis=1).mean()
    alone = (log_e >= LOG_20).any(axis=1).mean()
    assert together <= bound(0.05, runs)
    assert alone > 0.08


@pytest.mark.parametrize("rate, margin", [(0.01, 1.25), (0.05, 1.10)])
def test_a_release_exactly_at_the_margin_is_promoted_at_most_one_time_in_twenty(rate, margin):
    rng, runs = np.random.default_rng(25), 1500
    users = np.full(12, 12_000.0)
    x, y = (rng.binomial(12_000, rate * r, (runs, 12)).astype(float) for r in (margin, 1.0))
    safe = EventMixture(side="safe", null_ratio=margin).log_e(x, x + y, users, users)[:, 4:]
    assert (safe >= LOG_20).any(axis=1).mean() <= bound(0.05, runs)
    healthy = rng.binomial(12_000, rate, (300, 12)).astype(float)
    control = rng.binomial(12_000, rate, (300, 12)).astype(float)
    promoted = EventMixture(side="safe", null_ratio=margin).log_e(healthy, healthy + control, users, users)
    assert (promoted >= LOG_20).any(axis=1).mean() > 0.9


def brownian(rng, runs, looks, drift=0.0):
    t = np.arange(1, looks + 1) / looks
    path = rng.normal(size=(runs, looks)).cumsum(axis=1) / math.sqrt(looks) + drift * t
    return t, path / np.sqrt(t)


def test_looking_hourly_at_p_below_five_per_cent_is_wrong_more_than_one_time_in_three():
    """Two weeks of hourly looks: .380 and daily .194 published; the boundary .032 tuned at a tenth."""
    rng, runs = np.random.default_rng(26), 4000
    t, z = brownian(rng, runs, 14 * 24)
    assert (z > 1.6449).any(axis=1).mean() == pytest.approx(0.380, abs=0.03)
    assert (z[:, 23::24] > 1.6449).any(axis=1).mean() == pytest.approx(0.194, abs=0.025)
    at_a_tenth = stats.mixture_boundary(6.3 * t / 0.1)
    at_half = stats.mixture_boundary(6.3 * t / 0.5)
    assert (z > at_a_tenth).any(axis=1).mean() == pytest.approx(0.032, abs=0.01)
    assert (z > at_half).any(axis=1).mean() == pytest.approx(0.025, abs=0.01)
    assert (z > 3.4509).any(axis=1).mean() == pytest.approx(0.007, abs=0.005)


def test_irregular_looks_change_nothing():
    rng, runs = np.random.default_rng(27), 3000
    t, z = brownian(rng, runs, 14 * 24)
    looked = rng.random((runs, t.size)) < rng.random((runs, 1)) * 0.2
    crossed = ((z > stats.mixture_boundary(6.3 * t / 0.1)) & looked).any(axis=1).mean()
    assert crossed <= bound(0.05, runs)


def test_planned_looks_keep_their_level_and_stop_sooner():
    rng, runs = np.random.default_rng(28), 4000
    plan = stats.spending_boundary([(look + 1) / 14 for look in range(14)], kind="pocock")
    _, z = brownian(rng, runs, 14)
    assert (z > np.array(plan.upper)).any(axis=1).mean() == pytest.approx(0.05, abs=0.0104)
    _, moved = brownian(rng, runs, 14, drift=2.5)
    assert (moved > np.array(plan.upper)).any(axis=1).mean() == pytest.approx(0.716, abs=0.022)


def test_sample_ratio_alarms_ring_at_their_level():
    """Hourly over the ramp: chi-square at .001 rings .0246 of the time, the e-processes at most .001."""
    rng, runs = np.random.default_rng(29), 3000
    people = np.round(2 * USERS).astype(int)
    x = rng.binomial(people, 0.5, (runs, RAMP.size))
    so_far, n = x.cumsum(axis=1), people.cumsum()
    z = np.abs(so_far - n / 2) / np.sqrt(n / 4)
    assert (z > 3.2905).any(axis=1).mean() == pytest.approx(0.0246, abs=0.0085)
    assert (z > 2.5758).any(axis=1).mean() == pytest.approx(0.167, abs=0.0205)
    counts = np.stack([x, people - x], axis=-1)
    for test in (
        stats.sequential_srm_tilt(counts, (0.5, 0.5)),
        stats.sequential_srm(counts, (0.5, 0.5), concentration=100),
        stats.sequential_srm(counts, (0.5, 0.5), concentration=10_000),
    ):
        highest = test.log_e.max(axis=1)
        assert (highest >= math.log(100)).mean() <= bound(0.01, runs)
        assert (highest >= math.log(1000)).mean() <= bound(0.001, runs)


@pytest.mark.parametrize("share, hours", [(0.48, 52.5), (0.45, 26)])
def test_a_leak_is_found_as_soon_as_published(share, hours):
    rng, runs = np.random.default_rng(33), 1000
    people = np.round(2 * USERS).astype(int)
    x = rng.binomial(people, share, (runs, RAMP.size))
    test = stats.sequential_srm_tilt(np.stack([x, people - x], axis=-1), (0.5, 0.5))
    crossed, when = first_crossing(test.log_e, math.log(100))
    assert crossed.all()
    assert np.median(when) + 1 == pytest.approx(hours, rel=0.1)


def test_organisations_assigned_as_a_whole_need_the_cluster_form():
    """ICC .05: people as if independent reject about one time in six, clusters close to their level."""
    rng, runs, groups = np.random.default_rng(30), 800, 60
    naive, clustered = 0, 0
    for _ in range(runs):
        sizes = rng.integers(5, 60, groups)
        of_group = rng.normal(0, math.sqrt(0.05), groups)
        sums = of_group * sizes + rng.normal(0, math.sqrt(0.95), groups) * np.sqrt(sizes)
        squares = sizes * (of_group**2 + 0.95)
        arm = rng.permutation(groups) < groups // 2
        moments = [PairMoments.of(sums[who], sizes[who]) for who in (arm, ~arm)]
        clustered += stats.cluster_difference(*moments).p_value < 0.05
        people = [
            stats.Moments.of_sums(int(sizes[who].sum()), sums[who].sum(), squares[who].sum())
            for who in (arm, ~arm)
        ]
        naive += stats.mean_difference(*people).p_value < 0.05
    assert naive / runs > 0.12
    assert clustered / runs == pytest.approx(0.055, abs=3 * math.sqrt(0.055 * 0.945 / runs))


def test_organisations_that_are_watched_need_the_cluster_form_too():
    """Ten looks as organisations come in, ICC .05: k from the clusters keeps the level, people do not."""
    rng, runs, looks, each = np.random.default_rng(36), 1500, 10, 10
    shape = (2, runs, looks * each)  # organisations an arm
    sizes = rng.integers(20, 81, shape)
    of_group = rng.normal(0, math.sqrt(0.05), shape)
    sums = of_group * sizes + rng.normal(0, math.sqrt(0.95), shape) * np.sqrt(sizes)
    at = np.arange(each, looks * each + 1, each) - 1
    n, people, total = at + 1.0, sizes.cumsum(-1)[..., at], sums.cumsum(-1)[..., at]
    mean = total / people
    squares, cross = (sums**2).cumsum(-1)[..., at], (sums * sizes).cumsum(-1)[..., at]
    residual = squares - 2 * mean * cross + mean**2 * (sizes.astype(float) ** 2).cumsum(-1)[..., at]
    clustered = (n / (n - 1) * residual / people**2).sum(axis=0)
    naive = (1 / people).sum(axis=0)
    k = 6.3 * n / n[4]
    reached = [
        (stats.mixture_test(mean[0] - mean[1], variance, k=k).log_e >= LOG_20).any(axis=1).mean()
        for variance in (clustered, naive)
    ]
    assert reached[0] <= bound(0.05, runs)
    assert reached[1] > bound(0.05, runs)


def test_heavy_tails_cost_power_and_not_the_level():
    """Revenue: three per cent buy, lognormal with sigma 2; looked at daily from 25 people an arm on."""
    rng, runs, days, people = np.random.default_rng(31), 1000, 20, 200
    shape = (runs, days, people)
    totals = []
    for _ in range(2):
        value = np.where(rng.random(shape) < 0.03, np.exp(rng.normal(0, 2, shape)), 0.0)
        totals.append((value.sum(axis=2).cumsum(axis=1), (value**2).sum(axis=2).cumsum(axis=1)))
    n = people * np.arange(1, days + 1)
    means = [total / n for total, _ in totals]
    variance = sum((squares / n - (total / n) ** 2) / n for total, squares in totals)
    test = stats.mixture_test(means[0] - means[1], variance, k=6.3 * n / n[4])
    assert (test.log_e >= LOG_20).any(axis=1).mean() <= bound(0.05, runs)


@pytest.mark.parametrize("drift, power", [(2.5, 0.491), (4.0, 0.910), (10.0, 1.0)])
def test_the_power_of_the_watched_boundary_is_the_published_one(drift, power):
    rng, runs = np.random.default_rng(34), 3000
    t, z = brownian(rng, runs, 14 * 24, drift)
    crossed = (z > stats.mixture_boundary(6.3 * t / 0.1)).any(axis=1).mean()
    assert crossed == pytest.approx(power, abs=0.03)


def test_slow_waves_look_like_a_difference_to_kayenta():
    """Sixty minutes a series without any difference: independent points rarely, slow waves often "High"."""
    rng, runs = np.random.default_rng(35), 120
    highs = []
    for memory in (0.0, 0.8):
        noise = rng.normal(size=(runs, 2, 160)) * math.sqrt(1 - memory**2)
        series = np.zeros_like(noise)
        for minute in range(1, 160):
            series[..., minute] = memory * series[..., minute - 1] + noise[..., minute]
        labels = [stats.classify_series(50 + a, 50 + b).label for a, b in series[..., 100:]]
        highs.append(sum(label == "High" for label in labels) / runs)
    assert highs[0] < 0.05
    assert highs[1] > 0.08  # published .12 to .18
