"""Evidence from events keeps its promise whatever the hazards are: by enumeration, and by simulation."""

import itertools
import math
from functools import cache

import numpy as np
import pytest

from canarykit.health.evidence import event_mixtures
from canarykit.health.evidence.event_evidence import standing_safety
from canarykit.metrics.risk import risk_sets
from canarykit.stats import EventMixture

HOUR = 3_600_000_000


def labelled(people, chosen):
    canary = np.zeros(people, bool)
    canary[list(chosen)] = True
    return canary


HAZARDS = {
    "newcomers have it at once, the others never do": lambda s, i: np.where(i % 5 < 3, s + 1, -1),
    "at one moment for everybody": lambda s, i: np.where(i % 2, 35, -1),
    "each person another one": lambda s, i: s + 1 + (i * 7) % 29,
    "first half early, second half late": lambda s, i: np.where(i % 2, s + 1, 38),
}


@cache
def all_labellings(hazard):
    """Two cohorts of 20 people; all 190 x 20 ways to give three of them the canary, at four looks."""
    i = np.arange(40)
    starts = np.where(i < 20, i % 10, 10 + i % 10)
    first = HAZARDS[hazard](starts, i)
    stops = np.where(i % 7 == 3, 25, 40)  # some leave early
    first = np.where(first < stops, first, -1)
    paths = []
    for pair in itertools.combinations(range(20), 2):
        for one in range(20, 40):
            sets = risk_sets(
                starts, stops, first, labelled(40, (*pair, one)), origin=0, step=10, n_intervals=4
            )
            paths.append(sets.counts())
    return [np.stack(column) for column in zip(*paths, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("hazard", HAZARDS)
@pytest.mark.parametrize("mixture", [EventMixture(), EventMixture("harm", sd=2.0, low=0.1, high=3.0)])
def test_over_all_labellings_the_evidence_is_one_on_average_and_rarely_large(hazard, mixture):
    x, n, canary, control = all_labellings(hazard)
    log_e = mixture.log_e(x, n, canary, control)
    assert np.exp(log_e).mean(axis=0).max() <= 1 + 1e-9
    if mixture == EventMixture():
        assert np.exp(log_e[:, -1]).mean() > 0.9  # little is given away
    for level in (1.5, 2.0, 4.0):
        reached = log_e >= math.log(level)
        assert reached.any(axis=1).mean() <= 1 / level
        stopped = np.where(reached.any(axis=1), reached.argmax(axis=1), 3)
        assert np.exp(log_e[np.arange(len(log_e)), stopped]).mean() <= 1 + 1e-9


def test_a_look_as_a_whole_says_no_more_than_its_events_one_by_one():
    rng = np.random.default_rng(3)
    n = 600
    starts = rng.integers(0, 100, n)
    first = np.where(rng.random(n) < 0.7, starts + rng.integers(0, 20, n), -1)
    canary = rng.random(n) < 0.2
    sets = risk_sets(starts, np.full(n, 200), first, canary, origin=0, step=10, n_intervals=20)
    share, look = sets.cohorts.share, sets.cohorts.look
    harm = EventMixture(sd=1.0, low=0.02, high=3.0)
    whole = harm.log_e(*sets.counts())
    d, weights = harm.grid.ratios, np.exp(harm.grid.log_weights)
    for at in (5, 12, 19):
        seen = look <= at
        each = sets.events_canary[: at + 1].sum() * np.log(d) - np.log1p(share[seen, None] * (d - 1)).sum(
            axis=0
        )
        assert whole[at] <= math.log(np.exp(each) @ weights) + 1e-12
        assert whole[at] >= math.log(np.exp(each) @ weights) - 0.5


def crossings(rng, runs, *, per_hour, hours, share, when, margin, effect=1.0, step=HOUR):
    """Share of harmless (or harmful) releases that the harm evidence calls harmful at some look."""
    lower = margin < 1
    harm = event_mixtures(1 / margin if lower else margin)[0]
    looks = int(hours * HOUR // step)
    bad = 0
    for _ in range(runs):
        people = rng.poisson(per_hour * hours)
        entered = rng.random(people) * hours
        canary = rng.random(people) < share
        lag = when(rng, entered, np.where(canary, effect, 1.0))
        start = (entered * HOUR).astype(np.int64)
        stop = np.full(people, int(hours * HOUR))
        first = np.where(np.isfinite(lag), start + (np.minimum(lag, 1e6) * HOUR).astype(np.int64), -1)
        first = np.where(first < stop, first, -1)
        sets = risk_sets(start, stop, first, canary, origin=0, step=step, n_intervals=looks)
        log_e = harm.log_e(*(sets.swapped() if lower else sets).counts())
        bad += bool((log_e >= math.log(20)).any())
    return bad / runs


def at_once(rate, lag=0.1):
    def when(rng, entered, effect):
        return np.where(rng.random(len(entered)) < rate * effect, lag, np.inf)

    return when


def frailty(rng, entered, effect):
    return rng.exponential(1 / (rng.gamma(0.2, 5.0, len(entered)) * 0.5 * effect))


def swinging(rng, entered, effect):
    awake = (entered % 24 > 8) & (rng.random(len(entered)) < 0.8 * effect)
    return np.where(
        awake, 0.05 + (rng.random(len(entered)) < 0.3) * rng.exponential(10, len(entered)), np.inf
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "per_hour, share, when, margin",
    [
        (50, 0.5, at_once(0.6), 0.95),
        (20, 0.5, at_once(0.9, 0.05), 0.9),
        (50, 0.05, at_once(0.6), 1.25),
        (50, 0.95, at_once(0.8), 1.25),
        (100, 0.5, frailty, 0.95),
        (100, 0.2, swinging, 0.95),
    ],
)
def test_a_harmless_release_is_rarely_rolled_back_however_common_and_quick_the_event(
    per_hour, share, when, margin
):
    runs = 400
    crossed = crossings(
        np.random.default_rng(5), runs, per_hour=per_hour, hours=72, share=share, when=when, margin=margin
    )
    assert crossed <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


@pytest.mark.slow
def test_a_common_conversion_that_falls_is_found_within_a_day():
    crossed = crossings(
        np.random.default_rng(5),
        100,
        per_hour=50,
        hours=36,
        share=0.5,
        when=at_once(0.6),
        margin=0.95,
        effect=0.8,
    )
    assert crossed > 0.9


@pytest.mark.parametrize("share", [0.5, 0.05])
def test_safety_does_not_outlive_its_best_hour_when_errors_triple(share):
    """A day without harm, then three times the errors: how many are still safe three hours later."""
    rng, runs = np.random.default_rng(4), 200
    factor = np.where(np.arange(27) < 24, 1.0, 3.0)
    per_hour = 10 / share * (0.5 if share == 0.5 else 0.25)
    x = rng.poisson(per_hour * share * 4 * factor, (runs, 27))
    y = rng.poisson(per_hour * (1 - share) * 4, (runs, 27))
    harm, safe = (mixture.log_e(x, x + y, share, 1 - share) for mixture in event_mixtures(1.25))
    harmed = np.maximum.accumulate(harm, axis=1) >= math.log(20)
    best = np.where(harmed, safe, np.maximum.accumulate(safe, axis=1))
    stands = standing_safety(safe, harmed)
    assert (best[:, 23] >= math.log(20)).mean() > 0.5
    assert (stands[:, 23] >= math.log(20)).mean() > (best[:, 23] >= math.log(20)).mean() - 0.05
    assert (best[:, 26] >= math.log(20)).mean() > 0.1
    assert (stands[:, 26] >= math.log(20)).mean() < 0.03


def test_one_error_rate_for_the_rollout_is_shared_by_its_randomised_stages():
    import canarykit as ck

    plan = ck.RolloutPlan(
        "new-checkout",
        (ck.Stage.for_share("a", 25, dwell="2d"), ck.Stage.for_share("b", 50, dwell="2d")),
        starts_at="2026-09-07T09:00:00Z",
    )
    log = ck.simulate_rollout(plan, ck.Population(400), rng=7)
    asked = {"as_of": "2026-09-08T09:00:00Z"}
    alone = ck.evaluate_stage(log, plan, "a", **asked)
    whole = ck.evaluate_stage(log, plan, "a", alpha_scope="rollout", evidence="stage", **asked)
    ramp = ck.evaluate_stage(log, plan, "a", alpha_scope="rollout", evidence="ramp", **asked)
    needed = [report.check("people with $exception").needed for report in (alone, whole, ramp)]
    assert needed == pytest.approx([20, 40, 20])
    for report in (whole, ramp):
        assert "over the 2 randomised stages of the rollout) is at most 0.05" in str(report.notes)
    all_of_it, part = (report.series.guardrails[0].harm_log_e for report in (alone, ramp))
    assert np.allclose(part, all_of_it + math.log(0.8))  # a fifth is kept for harm that begins in stage b
    with pytest.raises(ValueError, match="alpha_scope"):
        ck.evaluate_stage(log, plan, "a", alpha_scope="ramp", **asked)
