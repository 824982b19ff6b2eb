"""What comes some time after the exposure: values in simulated decisions, and what a delay may be of."""

import math

import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit.health.decision import Verdict
from canarykit.metrics import Average, ErrorShare, Total
from canarykit.metrics.risk import _cohorts as entry_cohorts
from canarykit.simulate import Effect, Step
from canarykit.simulate.decisions.delayed import Cohorts

HOURS = 48
START = pd.Timestamp("2026-09-07T09:00:00Z")
ERRORS = ck.Guardrail(ErrorShare(), margin_ratio=1.25)


def plan_of(share):
    stage = ck.Stage.for_share("half", share * 100, dwell=f"{HOURS}h")
    return ck.RolloutPlan("new-checkout", (stage,), starts_at=START)


def test_values_that_come_later_are_judged_as_often_as_those_of_people():
    """Each report reads anew what has come of everybody so far; some looks are enough to see it."""
    money, runs, looks = (
        ck.Guardrail(Total("paid", "amount"), worse="lower", margin_ratio=0.9),
        25,
        (12, 24, 36, 48),
    )
    ratio, per_hour, delay = 0.8, 60, 6.0
    rng, ends = np.random.default_rng(41), []
    for _ in range(runs):
        n = rng.poisson(per_hour * HOURS)
        enter, canary = np.sort(rng.random(n) * HOURS), rng.random(n) < 0.5
        paid = rng.random(n) < 0.5
        at = (enter + delay * rng.standard_exponential(n))[paid]
        amount = 49 * np.exp(0.5 * rng.standard_normal(n)) * np.where(canary, ratio, 1.0)
        names, arms = np.array([f"user-{i}" for i in range(n)]), np.where(canary, "true", "false")
        events = pd.DataFrame(
            {
                "event": ["$feature_flag_called"] * n + ["paid"] * int(paid.sum()),
                "distinct_id": np.concatenate([names, names[paid]]),
                "timestamp": START + pd.to_timedelta(np.concatenate([enter, at]), unit="h"),
                "$feature_flag": "new-checkout",
                "$feature_flag_response": np.concatenate([arms, arms[paid]]),
                "amount": np.concatenate([np.full(n, np.nan), amount[paid]]),
            }
        )
        end = Verdict.HOLD
        for hour in looks:
            now = START + pd.Timedelta(hours=hour)
            log = ck.EventLog(events[events["timestamp"] < now])
            options = {"looks": "12h", "min_dwell": "24h", "segments": ()}
            end = ck.evaluate_stage(log, plan_of(0.5), "half", money, as_of=now, **options).verdict
            if end is not Verdict.HOLD:
                break
        ends.append(end)
    scenario = ck.Scenario(steps=[Step("seen", 1.0), Step("paid", 0.5)], effects=[Effect("revenue", ratio)])
    decisions = ck.simulate_decisions(
        plan_of(0.5), scenario, money, 1000, traffic=per_hour, looks="12h", min_dwell="24h",
        delays={money.label: f"{delay}h"}, rng=12,
    )  # fmt: skip
    for verdict in (Verdict.ROLL_BACK, Verdict.PROMOTE):
        expected = decisions.probability(verdict.value)
        error = math.sqrt(max(expected * (1 - expected), 1 / runs) * (1 / runs + 1 / 1000))
        assert ends.count(verdict) / runs == pytest.approx(expected, abs=3 * error)


def test_a_canary_with_smaller_amounts_has_less_spread_and_is_told_sooner():
    """Its amounts are all smaller; half as many of them would leave more spread."""
    money = ck.Guardrail(Total("paid", "amount"), worse="lower", margin_ratio=0.9)
    seen = [
        ck.simulate_decisions(
            plan_of(0.5),
            ck.Scenario(steps=[Step("seen", 1.0), Step("paid", 0.5)], effects=[Effect(quantity, 0.85)]),
            money, 2000, traffic=60, looks="6h", rng=7,
        ).probability("roll back")
        for quantity in ("revenue", "paid")
    ]  # fmt: skip
    assert seen[0] > seen[1] + 0.02


def test_few_people_a_look_stand_in_the_entry_cohorts_of_a_report():
    people, hours = np.array([5, 7, 12, 3, 60, 1, 1, 30, 2, 1.0]), np.arange(1.0, 11.0)
    enter = np.repeat(np.arange(10), people.astype(int))
    _, closes = entry_cohorts(enter, None, 10, 10, 3_600_000_000)
    found = Cohorts.of(people, hours)
    assert found.closes.tolist() == [closes[enter == look][0] for look in range(10)]
    assert found.closes[-1] == 10  # never complete: nothing of them counts
    came = people.astype(int)[None, :]
    assert found.counts(came)[0].tolist() == [0, 0, 24, 0, 63, 0, 0, 32, 0, 0]
    later = np.triu(np.full((10, 10), 0.05))
    whole = found.chances(later)
    assert whole[2, 2] == pytest.approx((5 * 0.15 + 7 * 0.1 + 12 * 0.05) / 24)
    assert whole[2, 3:] == pytest.approx(0.05)
    assert (np.tril(whole, -1) == 0).all()
    assert found.rates(np.linspace(0.1, 1, 10))[4] == pytest.approx((3 * 0.4 + 60 * 0.5) / 63)
    assert Cohorts.of(np.full(10, 50.0), hours) is None
    assert Cohorts.of(np.full(3, 1.0), 24 * hours[:3]) is None  # after a day each is closed all the same


def test_a_delay_is_that_of_something_people_have_once_or_of_a_sum():
    options = {"n_runs": 1, "traffic": 9}

    def simulated(guardrail, **more):
        asked = {**options, **more, "delays": {guardrail.label: "1h"}}
        return ck.simulate_decisions(plan_of(0.5), None, guardrail, **asked)

    with pytest.raises(ck.PlanError, match="delays has 'errors', the label of no guardrail"):
        ck.simulate_decisions(plan_of(0.5), None, ERRORS, delays={"errors": "1h"}, **options)
    money = ck.Guardrail(Total("paid", "amount"))
    for guardrail, more, message in (
        (
            ck.Guardrail(Average("paid", "amount"), margin=1.0),
            {},
            "in whose mean only those are who have a value",
        ),
        (
            ck.Guardrail(Total("paid", "amount", within="1d")),
            {},
            "people count once their whole time is over",
        ),
        (money, {"logins": (0.05, "2h")}, "a value, and logins are given"),
        (money, {"looks": "10min"}, "and a stage has 288 looks"),
    ):
        with pytest.raises(ck.PlanError, match=message):
            simulated(guardrail, **more)
    with pytest.raises(ck.PlanError, match="the delay of 'people with"):
        ck.simulate_decisions(plan_of(0.5), None, ERRORS, delays={ERRORS.label: "soon"}, **options)
    fading = ck.Scenario(effects=[Effect("errors", 2, fades_after=1)])
    codes = [
        [note.code for note in ck.simulate_decisions(plan_of(0.5), fading, ERRORS, delays=d, **options).notes]
        for d in (None, {ERRORS.label: "6h"})
    ]
    assert codes == [["at_full_size"], []]
