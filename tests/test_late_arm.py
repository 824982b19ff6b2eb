"""One arm's data arrive late: simulated decisions see what `evaluate_stage` sees of a log."""

import math

import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit.health.data.delays import HOUR, Arrivals, delays_of
from canarykit.health.decision import Verdict
from canarykit.metrics import Conversion, ErrorShare, Total
from canarykit.simulate import Effect, Fault, Step
from canarykit.simulate.decisions.late_data import (
    LateArm,
    LateLooks,
    hours_late,
    late_evidence,
    late_looks,
    parts_left,
)
from canarykit.simulate.decisions.schedule import schedule

START = pd.Timestamp("2026-09-07T00:00:00Z")
ERRORS = ck.Guardrail(ErrorShare(), margin_ratio=1.25)
PAID = ck.Guardrail(Conversion("paid"), worse="lower", margin_ratio=0.95)
NEVER = -np.inf


def plan_of(share, hours=48):
    stage = ck.Stage.for_share("half", share * 100, dwell=f"{hours}h")
    return ck.RolloutPlan("new-checkout", (stage,), starts_at=START)


def late(share=0.3, delay="6h", variant="true"):
    return Fault("late data", share=share, delay=delay, variant=variant)


def simulated(share, faults, base=0.1, ratio=1.0, runs=1000, guardrail=ERRORS, **options):
    scenario = ck.Scenario(
        error_rate=base,
        steps=[Step("seen", 1.0), Step("paid", base)],
        effects=[Effect("errors" if guardrail is ERRORS else "paid", ratio)],
        faults=faults,
    )
    options = {"traffic": 60.0, "looks": "6h", "min_dwell": "24h", "rng": 3} | options
    return ck.simulate_decisions(plan_of(share), scenario, guardrail, runs, **options)


def log_at(rng, now, share, base, ratio, event, late_share, delay):
    """What has arrived by an hour of people whose events, and calls, come late in the canary."""
    n = rng.poisson(60 * now)
    enter = np.sort(rng.random(n) * now)
    canary = rng.random(n) < share
    did = rng.random(n) < base * np.where(canary, ratio, 1.0)
    at, of = np.concatenate([enter, enter[did] + 0.001]), np.concatenate([canary, canary[did]])
    there = at + np.where(of & (rng.random(len(at)) < late_share), delay, 0.0) < now
    names, arms = np.array([f"user-{i}" for i in range(n)]), np.where(canary, "true", "false")
    frame = pd.DataFrame(
        {
            "event": ["$feature_flag_called"] * n + [event] * int(did.sum()),
            "distinct_id": np.concatenate([names, names[did]]),
            "timestamp": START + pd.to_timedelta(at, unit="h"),
            "created_at": START + pd.to_timedelta(at + 1e-4, unit="h"),
            "$feature_flag": "new-checkout",
            "$feature_flag_response": np.concatenate([arms, arms[did]]),
        }
    )
    return ck.EventLog(frame[there])


def test_before_the_delay_has_passed_missing_data_look_like_harm_as_often_as_in_logs():
    """Six hours into the stage nothing tells yet that the canary's payments are late."""
    runs, rng, now = 60, np.random.default_rng(5), START + pd.Timedelta(hours=6)
    back = 0
    for _ in range(runs):
        log = log_at(rng, 6, 0.5, 0.6, 0.95, "paid", 0.3, 6)
        report = ck.evaluate_stage(log, plan_of(0.5), "half", PAID, as_of=now, segments=())
        back += report.verdict is Verdict.ROLL_BACK
    found = simulated(0.5, [late()], 0.6, 0.95, guardrail=PAID).runs_of()
    expected = float(np.mean((found.verdicts[:, 0] == 2) & (found.hours[:, 0] == 6)))
    assert expected > 0.2
    assert back / runs == pytest.approx(expected, abs=3 * math.sqrt(expected * (1 - expected) / runs))


def test_where_enough_is_late_every_later_verdict_is_that_of_the_complete_hours():
    plain, waiting = (simulated(0.5, faults, ratio=1.5).runs_of() for faults in ([], [late()]))
    early = waiting.hours[:, 0] <= 6
    assert 0 < early.mean() < 0.1
    assert (waiting.verdicts[~early] == plain.verdicts[~early]).all()
    assert (waiting.hours[~early] == plain.hours[~early] + 6).all()


def test_safety_waits_for_a_small_late_canary_and_harm_does_not():
    """3 % of all events are late: too few to wait for, but nearly a third of the canary's own."""
    safe, harmed = (
        [simulated(0.1, faults, 0.2, ratio, traffic=120.0).runs_of() for faults in ([], [late()])]
        for ratio in (0.9, 1.6)
    )
    times = [np.median(each.hours[each.verdicts == 0]) for each in safe]
    assert times[1] >= times[0] + 6
    back = [float(np.mean((each.verdicts == 2) & (each.hours <= 24))) for each in harmed]
    assert back[1] == pytest.approx(back[0], abs=0.12)
    assert back[1] < back[0]


def test_missing_events_of_the_control_are_no_harm_once_it_is_known_that_they_are_late():
    arm = LateArm(is_canary=False, share=0.4, hours=2.0, waited=2.0)
    looks = LateLooks(arm, np.array([2.0, 3.0]), *(np.array(each) for each in ([0, 1], [0, 1], [2, 3])))
    one, whole = np.zeros((1, 1, 3)), np.array([[[0.5, 0.6, 0.7]]])
    paths = (whole, whole + 1, whole[0])

    def more(done, until):
        assert (done, until) in ((0, 2), (1, 3))
        return np.full((1, 1, 3), 9.0), np.full((1, 1, 3), 8.0), np.full((1, 3), 7.0)

    for events, worse, harm, safe in (
        (one + 100, "higher", [9.0, 0.5], [8.0, 1.5]),  # known: both of the first look
        (one + 100, "lower", [9.0, 9.0], [8.0, 1.5]),  # what is missing makes the canary look good
        (one, "higher", [9.0, 9.0], [8.0, 8.0]),  # no late event was seen yet
    ):
        found = late_evidence(looks, paths, more, events, np.array([worse == "lower"]), 20.0)
        assert found[0][0, 0].tolist() == harm
        assert found[1][0, 0].tolist() == safe
        assert found[2][0].tolist() == [7.0, 7.0]


@pytest.mark.parametrize("hours", [0.5, 1, 2, 6, 9, 13, 24])
def test_a_report_waits_as_long_as_is_simulated(hours):
    rng = np.random.default_rng(1)
    happened = rng.random(100_000) * 200
    there = happened + np.where(rng.random(len(happened)) < 0.3, hours, 0.0)
    seen = there < 200
    found = delays_of(
        Arrivals.of(happened[seen].astype(int), there[seen].astype(int)),
        origin=0, last_arrival=200 * HOUR - 1, n_hours=200,
    )  # fmt: skip
    fault = Fault("late data", share=0.3, delay=f"{round(hours * 60)}min")
    waited = 0 if found.complete_until is None else 200 - found.complete_until // HOUR
    assert hours_late(ck.Scenario(faults=[fault])) == waited


def test_each_stage_of_a_ramp_waits_by_the_part_of_all_events_that_is_late():
    stages = [ck.Stage.for_share(f"{share}", share, dwell="12h") for share in (5, 45, 50)]
    looks = schedule(ck.RolloutPlan("f", tuple(stages), starts_at=START), traffic=100)
    few, some, many = late_looks(looks, LateArm(is_canary=True, share=0.3, hours=6.0, waited=6.0))
    assert few.complete.tolist() == [0] * 6 + list(range(1, 13))
    assert few.open.tolist() == [*range(1, 13), *[12] * 6]
    assert few.whole.tolist() == few.complete.tolist()
    for waits in (some, many):
        assert waits.hours.tolist() == list(range(1, 19))
        assert waits.open.tolist() == [*range(1, 7), *range(1, 13)]
        assert waits.complete.tolist() == [0] * 6 + list(range(1, 13))
    arm = LateArm(is_canary=True, share=0.3, hours=2.0, waited=3.0)  # all has arrived before that is known
    some = late_looks(looks, arm)[1]
    assert some.whole.tolist() == [0, 0, 1, *range(1, 13)]
    assert some.complete.tolist() == [0, 0, 0, *range(1, 13)]


@pytest.mark.parametrize(
    "share, faults, options",
    [
        (0.5, [late(1.0)], {}),  # half of all events: then nothing is late
        (0.5, [late(0.05)], {}),
        (0.5, [late(delay="30min")], {}),
        (0.5, [late(), late(variant="false")], {}),
        (0.5, [late()], {"logins": (0.05, "2h")}),
        (0.5, [late()], {"guardrail": ck.Guardrail(Total("paid", "amount"))}),
    ],
)
def test_what_else_is_late_is_said_not_to_be_simulated(share, faults, options):
    (note,) = simulated(share, faults, 0.5, runs=1, **options).notes
    assert "faults (late data) are not in simulated counts" in note.text
    assert not simulated(0.5, [late()], runs=1).notes


def test_people_whose_later_event_is_missing_seem_to_be_left():
    """Before all has arrived, of a canary half of whose people and events are missing."""
    stage = ck.RolloutPlan("f", (ck.Stage.for_share("half", 50, dwell="3h"),), starts_at=START)
    looks = schedule(stage, traffic=100)[0]
    chances = np.array([[0.2, 0.2, 0.2], [0.0, 0.2, 0.2], [0.0, 0.0, 0.2]])
    arm = LateArm(is_canary=True, share=0.5, hours=6.0, waited=6.0)
    left = parts_left(np.full(3, 0.5), looks, chances, arm)
    of_age = [0.5 * (1 + 0.5 * gone / (1 - gone)) for gone in (0.1, 0.3, 0.5)]  # half way through each look
    factors = np.array([np.mean(of_age[: look + 1]) for look in range(3)])
    assert left == pytest.approx(factors / (factors + 1))
    gone = parts_left(np.full(3, 0.5), looks, chances, LateArm(True, 0.5, hours=0.0, waited=1.0))
    assert gone == pytest.approx(0.5)  # all has arrived


def test_a_ramp_with_a_late_canary_is_simulated_with_delays_and_rules():
    plan = ck.RolloutPlan(
        "f", tuple(ck.Stage.for_share(f"{share}", share, dwell="12h") for share in (10, 50)), starts_at=START
    )
    scenario = ck.Scenario(error_rate=0.1, effects=[Effect("errors", 2)], faults=[late()])
    found = ck.simulate_decisions(
        plan, scenario, ERRORS, 100, traffic=100, rules=("canarykit", "growthbook"),
        delays={ERRORS.label: "2h"}, on_hold="go on", rng=7,
    )  # fmt: skip
    assert found.probability("roll back") > 0.9
    assert not found.notes
