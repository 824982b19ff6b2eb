"""The promises of the verdict, simulated: how often a harmless release is rolled back, a bad one promoted.

Counts are drawn, and go through the same evidence and decision code as a report. Small here (the tolerance
is three standard errors of the simulation); `python -m benchmarks calibrate` does it large.
"""

import numpy as np
import pandas as pd
import pytest

from canarykit.health.decision import Evidence, Row, Rules, Verdict, decide, first_decision
from canarykit.health.evidence.event_evidence import event_mixtures
from canarykit.stats.one_look.srm import sequential_srm_tilt

RUNS = 400
ALPHA = 0.05


def at_most(alpha, runs=RUNS):
    return alpha + 3 * np.sqrt(alpha * (1 - alpha) / runs)


def rate_of(rows, *verdicts):
    final, look = first_decision(rows)
    decided = np.array([Row(int(row)).verdict in verdicts for row in final]) & (look >= 0)
    return float(decided.mean())


def judged(events_t, events_c, risk_t, risk_c, *, margin=1.25, weights=None, looks=None, dwell_from=0):
    """Rows of the decision table from counts with guardrails first: (guardrails, runs, intervals)."""
    harm, safe = event_mixtures(margin)
    counts = (events_t, events_t + events_c, risk_t, risk_c)
    weights = np.full(len(events_t), 1 / len(events_t)) if weights is None else np.asarray(weights)
    harm_log_e = harm.log_e(*counts) + np.log(weights)[:, None, None]
    safe_log_e = safe.log_e(*counts)
    n_looks = harm_log_e.shape[-1]
    seen = np.arange(n_looks) if looks is None else np.asarray(looks)
    evidence = Evidence(
        units_canary=1000,
        units_control=1000,
        harm_log_e=harm_log_e[..., seen],
        safe_log_e=safe_log_e[..., seen],
        dwell_met=seen >= dwell_from,
    )
    return decide(evidence, Rules())


def draw(rng, rates, risk_t, risk_c, *, ratio=1.0, guardrails=1):
    """Poisson counts per interval; `rates` is the control's, per person and interval."""
    shape = (guardrails, RUNS, len(rates))
    return rng.poisson(rates * ratio * risk_t, shape), rng.poisson(rates * risk_c, shape)


HOURS = 120
DRIFT = 0.01 * np.linspace(1, 1.6, HOURS) * (1 + 0.5 * np.sin(np.arange(HOURS) * np.pi / 12))
RAMP = np.repeat([0.01, 0.05, 0.10, 0.25, 0.50], 24)


@pytest.mark.parametrize(
    "looks, control", [("hourly", "equal"), ("hourly", "everybody else"), ("irregular", "everybody else")]
)
def test_a_harmless_release_is_rarely_rolled_back_however_often_one_looks(looks, control):
    rng = np.random.default_rng(101)
    risk_t = 2000 * RAMP
    risk_c = risk_t if control == "equal" else 2000 * (1 - RAMP)
    seen = {
        "hourly": np.arange(HOURS),
        "daily": np.arange(23, HOURS, 24),
        "irregular": np.sort(rng.choice(HOURS, 40, replace=False)),
    }[looks]
    rows = judged(*draw(rng, DRIFT, risk_t, risk_c), risk_t, risk_c, looks=seen)
    assert rate_of(rows, Verdict.ROLL_BACK) <= at_most(ALPHA)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_the_promise_holds_at_any_share(share):
    rng = np.random.default_rng(7)
    risk_t, risk_c = np.full(HOURS, 2000 * share), np.full(HOURS, 2000 * (1 - share))
    rows = judged(*draw(rng, DRIFT, risk_t, risk_c), risk_t, risk_c)
    assert rate_of(rows, Verdict.ROLL_BACK) <= at_most(ALPHA)


@pytest.mark.parametrize("weights", [(0.2,) * 5, (0.5, 0.125, 0.125, 0.125, 0.125)])
def test_five_harmless_guardrails_together_keep_the_promise(weights):
    rng = np.random.default_rng(13)
    risk = 2000 * RAMP
    rows = judged(*draw(rng, DRIFT, risk, risk, guardrails=5), risk, risk, weights=weights)
    assert rate_of(rows, Verdict.ROLL_BACK) <= at_most(ALPHA)


def test_the_same_people_judged_each_at_full_level_would_break_it():
    rng = np.random.default_rng(13)
    risk = 2000 * RAMP
    rows = judged(*draw(rng, DRIFT, risk, risk, guardrails=5), risk, risk, weights=(1.0,) * 5)
    assert rate_of(rows, Verdict.ROLL_BACK) > ALPHA


@pytest.mark.parametrize("base, margin", [(0.01, 1.25), (0.05, 1.10)])
def test_a_release_exactly_at_the_margin_is_rarely_promoted(base, margin):
    rng = np.random.default_rng(23)
    risk = np.full(240, 400.0)
    rows = judged(
        *draw(rng, np.full(240, base), risk, risk, ratio=margin), risk, risk, margin=margin, dwell_from=120
    )
    assert rate_of(rows, Verdict.PROMOTE) <= at_most(ALPHA)


def test_a_release_that_is_safe_is_promoted_and_one_twice_as_bad_is_caught_early():
    rng = np.random.default_rng(29)
    risk = np.full(240, 400.0)
    healthy = judged(*draw(rng, np.full(240, 0.05), risk, risk), risk, risk, margin=1.25)
    assert rate_of(healthy, Verdict.PROMOTE) > 0.9
    bad = judged(*draw(rng, np.full(240, 0.05), risk, risk, ratio=2.0), risk, risk, margin=1.25)
    assert rate_of(bad, Verdict.ROLL_BACK) > 0.99
    _, look = first_decision(bad)
    assert np.median(look) < 24


def test_first_events_of_people_with_bursts_keep_the_level_where_event_counts_do_not():
    rng = np.random.default_rng(31)
    risk = np.full(HOURS, 500.0)
    people_t, people_c = draw(rng, np.full(HOURS, 0.01), risk, risk)
    once = judged(people_t, people_c, risk, risk)
    assert rate_of(once, Verdict.ROLL_BACK) <= at_most(ALPHA)
    bursts = [
        people + rng.negative_binomial(np.maximum(people, 1), 0.2) * (people > 0)
        for people in (people_t, people_c)
    ]
    naive = judged(*bursts, risk, risk)
    assert rate_of(naive, Verdict.ROLL_BACK) > 5 * ALPHA


def test_bernoulli_people_without_replacement_keep_the_level():
    rng = np.random.default_rng(37)
    runs, hours = 200, 60
    at_risk = np.full((runs, 2), 3000)
    events = np.zeros((2, runs, hours), dtype=int)
    risk = np.zeros((2, runs, hours))
    for hour in range(hours):
        risk[:, :, hour] = at_risk.T
        new = rng.binomial(at_risk, 0.01)
        events[:, :, hour] = new.T
        at_risk = at_risk - new
    rows = judged(events[0][None], events[1][None], risk[0][None], risk[1][None])
    assert rate_of(rows, Verdict.ROLL_BACK) <= at_most(ALPHA, runs)


def test_the_sample_ratio_check_rarely_cries_wolf_and_finds_a_loss():
    rng = np.random.default_rng(41)
    shares = np.repeat([0.05, 0.25, 0.5], 24)
    people = np.full(72, 300)

    def evidence(lost):
        canary = rng.binomial(rng.binomial(people, shares, (RUNS, 72)), 1 - lost)
        control = people - canary if lost == 0 else rng.binomial(people, 1 - shares, (RUNS, 72))
        counts = np.stack([canary, control], axis=-1)
        return sequential_srm_tilt(counts, np.stack([shares, 1 - shares], axis=-1)).log_e

    null = evidence(0.0).max(axis=-1)
    assert (null >= np.log(100)).mean() <= at_most(0.01)
    assert (null >= np.log(1000)).mean() <= at_most(0.001)
    assert (evidence(0.2).max(axis=-1) >= np.log(100)).mean() > 0.95


def revenue(rng, n, share_paying=0.05):
    return np.where(rng.random(n) < share_paying, rng.lognormal(3, 2, n), 0.0)


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_a_small_arm_with_heavy_tails_and_many_zeros_keeps_the_level(share):
    from canarykit.health.evidence.event_evidence import value_evidence
    from canarykit.health.evidence.value_series import value_series
    from canarykit.metrics import Guardrail, Outcomes, Total

    rng = np.random.default_rng(43)
    runs, people, hour = 120, 3000, 3_600_000_000
    guardrail = Guardrail(Total("paid", "amount"), worse="lower", margin_ratio=0.8)
    looks = np.arange(1, 49) * hour
    false = 0
    for _ in range(runs):
        entered = pd.to_datetime(np.sort(rng.integers(0, 48 * hour, people)), unit="us", utc=True)
        units = pd.DataFrame({"entered_at": entered, "canary": rng.random(people) < share})
        reduced = Outcomes(
            units, (guardrail.metric,), (None,), (revenue(rng, people),), (np.ones(people),), (0,)
        )
        series = value_series(reduced, 0, looks, 48 * hour)
        plain, shifted = series.contrast(1.0), series.contrast(0.8)
        judged = value_evidence(*plain, *shifted, guardrail, 1.0, margin=-1.0, gate=24)
        false += bool(np.nanmax(judged.harm_log_e) >= np.log(20))
    assert false / runs <= at_most(ALPHA, runs)


def test_the_common_spread_of_both_arms_counts_less_the_larger_and_the_less_skewed_an_arm_is():
    from canarykit.health.evidence.value_series import value_series
    from canarykit.metrics import Outcomes, Total

    def parts(values, canary):
        """The variance of the contrast, by the arms' own spreads, and with the common one."""
        units = pd.DataFrame({"canary": canary})
        units["entered_at"] = pd.to_datetime(np.zeros(len(values), int), unit="us", utc=True)
        metric = Total("paid", "amount", cap_quantile=None)
        reduced = Outcomes(units, (metric,), (None,), (values,), (np.ones(len(values)),), (0,))
        (_,), (variance,) = value_series(reduced, 0, np.array([10]), 10).contrast(1.0)
        ours, theirs = values[canary], values[~canary]
        left = np.concatenate([ours - ours.mean(), theirs - theirs.mean()])
        n, m = len(ours), len(theirs)
        common = np.square(left).sum() / (n + m - 2) * (1 / n + 1 / m)
        skewness = (left**3).mean() / np.square(left).mean() ** 1.5
        return variance, ours.var(ddof=1) / n + theirs.var(ddof=1) / m, common, n / (1 + skewness**2)

    rng = np.random.default_rng(3)
    for n, sigma in ((30, 0.5), (1000, 0.5), (1000, 0.1)):
        canary = np.arange(20 * n) < n
        values = np.where(canary, 0.5, 1.0) * rng.lognormal(0, sigma, 20 * n)
        variance, of_each, common, units = parts(values, canary)
        assert of_each < common
        assert variance == pytest.approx((units * of_each + 10 * common) / (units + 10))
        values = np.where(canary, 8, 1) * values
        variance, of_each, common, _ = parts(values, canary)
        assert of_each > common
        assert variance == pytest.approx(of_each)  # a canary that spreads more is taken as it is
