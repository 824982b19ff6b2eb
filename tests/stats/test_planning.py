"""Sizes and power: statsmodels where it has them, closed forms, and the walk of events by simulation."""

import math

import numpy as np
import pytest

from canarykit import stats
from canarykit.errors import DataError
from canarykit.stats import EventMixture, MeanEffect, ProportionEffect, RateEffect

SAFE = EventMixture(side="safe", null_ratio=1.5)


def test_people_for_two_shares():
    """0.02 against 0.025 takes 10877.16 an arm, so 10,878 people: statsmodels' number, rounded up."""
    from statsmodels.stats.proportion import power_proportions_2indep, samplesize_proportions_2indep_onetail

    answer = stats.sample_size(ProportionEffect(0.02, 0.025))
    assert round(answer.total / 2) == 10_877
    assert answer.n_canary == 10_878
    theirs = samplesize_proportions_2indep_onetail(0.005, 0.02, 0.8, alpha=0.05, alternative="larger")
    assert answer.total / 2 == pytest.approx(theirs)
    power = power_proportions_2indep(0.005, 0.02, 9000, alpha=0.05, alternative="larger").power
    assert stats.power(ProportionEffect(0.02, 0.025), 9000, 9000).power == pytest.approx(power)


def test_people_for_no_worse_than_a_margin():
    effect = ProportionEffect(0.02, 0.02, margin=0.002)
    assert round(stats.sample_size(effect).total / 2) == 60_589
    assert round(stats.sample_size(effect, guardrails=3).total / 2) == 106_057


@pytest.mark.parametrize(
    "guardrails, factor", [(1, 1.3852), (2, 1.6008), (3, 1.7504), (5, 1.9574), (10, 2.2596)]
)
def test_what_every_further_guardrail_costs(guardrails, factor):
    effect = MeanEffect(1.0, sd=5.0)
    alone, together = stats.sample_size(effect), stats.sample_size(effect, guardrails=guardrails)
    assert round(together.total / alone.total, 4) == factor


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
@pytest.mark.parametrize("sided", ["one", "two"])
def test_people_for_means_by_statsmodels(share, sided):
    from statsmodels.stats.power import NormalIndPower

    theirs = NormalIndPower().solve_power(
        effect_size=0.1,
        alpha=0.05,
        power=0.9,
        ratio=(1 - share) / share,
        alternative="larger" if sided == "one" else "two-sided",
    )
    ours = stats.sample_size(MeanEffect(0.2, sd=2.0), power=0.9, sided=sided, canary_share=share)
    assert ours.total * share == pytest.approx(theirs, rel=1e-4)


def test_power_for_rates_by_statsmodels():
    from statsmodels.stats.rates import power_poisson_ratio_2indep

    ours = stats.power(RateEffect(control=0.05, ratio=1.3), 4000, 4000).power
    theirs = power_poisson_ratio_2indep(
        0.065, 0.05, 4000, nobs_ratio=1, value=1, alpha=0.05, alternative="larger", method_var="alt"
    ).power
    assert ours == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize(
    "effect", [ProportionEffect(0.1, 0.12), MeanEffect(0.3, 4.0, sd_canary=5.0), RateEffect(0.02, 1.0, 1.5)]
)
@pytest.mark.parametrize("looks", [1, 10])
def test_the_size_gives_the_power_it_was_asked_for(effect, looks):
    answer = stats.sample_size(effect, power=0.85, looks=looks, canary_share=0.3, guardrails=2)
    back = stats.power(effect, answer.n_canary, answer.n_control, looks=looks, guardrails=2)
    assert back.power == pytest.approx(0.85, abs=2e-3)
    assert back.each_power == pytest.approx(0.95, abs=1e-3)


def test_watching_costs_people_and_more_looks_cost_little_more():
    effect = MeanEffect(0.1, sd=1.0)
    once, daily, hourly = (stats.sample_size(effect, looks=looks) for looks in (1, 14, 48))
    assert once.inflation == 1.0
    assert 1.5 < hourly.inflation < daily.inflation < 2.2  # more looks find it sooner, the level is the same


def test_the_power_of_a_watched_plan_by_simulation():
    rng = np.random.default_rng(6)
    looks, drift = 14, 3.2
    t = np.arange(1, looks + 1) / looks
    path = rng.normal(size=(40_000, looks)).cumsum(axis=1) / math.sqrt(looks) + drift * t
    crossed = (path / np.sqrt(t) >= stats.mixture_boundary(6.3 * t)).any(axis=1).mean()
    effect = MeanEffect(drift * 2 / math.sqrt(10_000), sd=1.0)
    assert stats.power(effect, 5000, 5000, looks=looks).power == pytest.approx(crossed, abs=0.01)


def test_clusters_inflate_by_their_design_effect():
    effect = MeanEffect(0.1, sd=1.0)
    plain, clustered = (stats.sample_size(effect, design_effect=deff) for deff in (1.0, 3.5))
    assert clustered.total == pytest.approx(3.5 * plain.total)


def test_shares_that_a_sample_ratio_check_can_see():
    shares = [round(stats.srm_detectable_share(n), 4) for n in (10**3, 10**4, 10**5, 10**6)]
    assert shares == [0.5653, 0.5207, 0.5065, 0.5021]


@pytest.mark.parametrize(
    "ratio, mixture, exposure, largest",
    [(2.0, EventMixture(), 1.0, 120), (1.5, EventMixture(), 1 / 9, 600), (1.0, SAFE, 1.0, 300)],
)
def test_the_walk_of_events_by_simulation(ratio, mixture, exposure, largest):
    rng = np.random.default_rng(12)
    share = ratio * exposure / (1 + ratio * exposure)
    x = (rng.random((3000, largest)) < share).astype(float)
    log_e = np.maximum.accumulate(mixture.log_e(x, np.ones_like(x), exposure, 1.0), axis=1)
    plan = stats.event_power(ratio, largest, mixture=mixture, exposure_ratio=exposure)
    for events in (largest // 4, largest // 2, largest):
        chance = (log_e[:, events - 1] >= math.log(20)).mean()
        assert plan.power[events - 1] == pytest.approx(chance, abs=0.03)  # three standard errors


@pytest.mark.parametrize("exposure", [1.0, 1 / 99])
@pytest.mark.parametrize("mixture", [EventMixture(), SAFE, EventMixture(sd=1.0, high=3.0)])
def test_at_the_null_the_exact_chance_of_ever_deciding_stays_below_its_level(mixture, exposure):
    plan = stats.event_power(mixture.null_ratio, 3000, mixture=mixture, exposure_ratio=exposure)
    assert 0.0 < plan.power[-1] <= 0.05


def test_events_needed_are_those_at_which_the_power_is_reached():
    needed = stats.events_needed(2.0, power=0.8)
    plan = stats.event_power(2.0, 256)
    assert plan.power[needed - 1] >= 0.8 > plan.power[needed - 2]
    assert plan.median() < needed
    assert stats.events_needed(0.8) is None  # less harm than the null is never shown as harm
    assert stats.events_needed(1.5, mixture=SAFE) is None  # nor a release at the margin as safe
    assert stats.event_power(1.01, 100).median() is None


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: stats.sample_size(MeanEffect(0.5, 1.0, margin=0.5)), "the truth is at the margin"),
        (lambda: stats.sample_size(MeanEffect(math.nan, 1.0)), "difference is nan"),
        (lambda: stats.sample_size(MeanEffect(0.1, 0.0)), "sd is 0"),
        (lambda: stats.sample_size(ProportionEffect(2.0, 3.0)), r"canary is 3.0; .* Did you mean 0.03\?"),
        (lambda: stats.sample_size(MeanEffect(1, 1), sided="both"), "sided is 'both'"),
        (lambda: stats.sample_size(MeanEffect(1, 1), power=0.8, false_alarms=0.3), "nothing is left"),
        (lambda: stats.power(MeanEffect(1, 1), 0, 10), "both arms need people"),
        (lambda: stats.event_power(1.2, 10**9), "events is 1,000,000,000"),
        (lambda: stats.event_power(1.2, 10, mixture=EventMixture(side="two")), "side is 'two'"),
        (lambda: stats.srm_detectable_share(0), "n is 0"),
    ],
)
def test_plans_that_cannot_be_meant_are_refused(call, message):
    with pytest.raises(DataError, match=message):
        call()
