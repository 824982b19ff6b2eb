"""Plans: people and power against closed forms, durations against the rules, ramps against each other."""

import math

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.power import NormalIndPower, TTestIndPower

import canarykit as ck
from canarykit.metrics import (
    Average,
    Conversion,
    ErrorShare,
    FunnelShare,
    Ratio,
    Retention,
    SlowShare,
    SurveyResponse,
    SurveyScore,
    Total,
)
from canarykit.simulate import Effect, Fault


@pytest.fixture(scope="module")
def plan():
    return ck.RolloutPlan.five_stages(
        "new-checkout",
        owner="ada@acme.io",
        team_domain="acme.io",
        starts_at="2026-09-07T09:00:00Z",
        dwell="2d",
    )


def test_people_needed_are_the_published_ones():
    harm = ck.sample_size(ck.Guardrail("$exception"), rate=0.02, ratio=1.25, goal="harm")
    assert harm.n_canary == pytest.approx(10_877, abs=1)
    tight = ck.Guardrail("$exception", margin_ratio=1.1)
    assert ck.sample_size(tight, rate=0.02).n_canary == pytest.approx(60_589, abs=1)
    assert ck.sample_size(tight, rate=0.02, guardrails=3).n_canary == pytest.approx(106_057, abs=1)


def test_harm_is_planned_beyond_the_line_of_rollback_which_wide_margins_move():
    wide = ck.Guardrail("$exception", margin_ratio=3.0)  # rolled back beyond 2.4 times
    n = ck.sample_size(wide, rate=0.02, ratio=4, goal="harm").n_canary
    assert n > 1.5 * ck.sample_size(ck.Guardrail("$exception"), rate=0.02, ratio=4, goal="harm").n_canary
    rng = np.random.default_rng(5)
    p, q = rng.binomial(n, 0.08, 20_000) / n, rng.binomial(n, 0.02, 20_000) / n
    z = (p - q - 0.02 * 1.4) / np.sqrt((p * (1 - p) + q * (1 - q)) / n)
    assert (z > 1.645).mean() == pytest.approx(0.8, abs=0.02)
    assert ck.power(wide, n, n, rate=0.02, ratio=4, goal="harm").power == pytest.approx(0.8, abs=0.002)
    with pytest.raises(ck.DataError, match=r"within the line of rollback of 2\.4"):
        ck.sample_size(wide, rate=0.02, ratio=2, goal="harm")
    with pytest.raises(ck.DataError, match="beyond the margin of 3"):
        ck.sample_size(wide, rate=0.02, ratio=4)


def test_margins_in_points_and_in_ratios_are_the_same_question():
    points = ck.Guardrail(Conversion("paid"), worse="lower", margin_pp=2)
    ratio = ck.Guardrail(Conversion("paid"), worse="lower", margin_ratio=0.9)
    assert ck.sample_size(points, rate=0.2).n == ck.sample_size(ratio, rate=0.2).n


def test_power_of_means_agrees_with_statsmodels():
    guardrail = ck.Guardrail(Average("paid", "amount"), worse="lower", margin=1.0)
    n = ck.sample_size(guardrail, rate=50, sd=20).n_canary
    theirs = TTestIndPower().solve_power(effect_size=1 / 20, alpha=0.05, power=0.8, alternative="larger")
    assert n == pytest.approx(theirs, rel=0.002)
    assert NormalIndPower().power(1 / 20, n, 0.05, alternative="larger") == pytest.approx(0.8, abs=0.001)
    assert ck.power(guardrail, n, n, rate=50, sd=20).power == pytest.approx(0.8, abs=0.001)


def test_watching_and_further_guardrails_cost_people():
    guardrail = ck.Guardrail("$exception", margin_ratio=1.5)
    once = ck.sample_size(guardrail, rate=0.01).n
    assert ck.sample_size(guardrail, rate=0.01, looks=7).n > 1.3 * once
    assert ck.sample_size(guardrail, rate=0.01, guardrails=2).n > 1.3 * once


KINDS = [
    (ck.Guardrail(ErrorShare(), margin_ratio=1.5), {"rate": 0.02, "ratio": 1.4}),
    (ck.Guardrail(SlowShare("page", "ms", slower_than=1000), margin_pp=1), {"rate": 0.05, "ratio": 1.4}),
    (ck.Guardrail(Conversion("paid"), worse="lower"), {"rate": 0.2, "ratio": 0.9}),
    (ck.Guardrail(FunnelShare(("seen", "paid")), worse="lower"), {"rate": 0.1, "ratio": 0.9}),
    (ck.Guardrail(Retention(7), worse="lower"), {"rate": 0.4, "ratio": 0.9}),
    (ck.Guardrail(SurveyResponse("nps"), worse="lower", margin_pp=5), {"rate": 0.4, "ratio": 0.8}),
    (ck.Guardrail(Average("paid", "amount"), worse="lower"), {"rate": 50, "ratio": 0.9, "sd": 40}),
    (ck.Guardrail(Total("paid", "amount"), worse="lower"), {"rate": 12, "ratio": 0.9, "sd": 40}),
    (
        ck.Guardrail(Ratio(Total("$exception"), Total("page")), margin_ratio=1.5),
        {"rate": 0.3, "ratio": 1.4, "sd": 2},
    ),
    (ck.Guardrail(SurveyScore("nps"), worse="lower", margin=0.2), {"rate": 4.0, "ratio": 0.95, "sd": 0.9}),
]


@pytest.mark.parametrize("guardrail, options", KINDS, ids=lambda item: getattr(item, "label", ""))
@pytest.mark.parametrize("goal, looks", [("safe", 1), ("harm", 7)])
def test_every_kind_of_metric_has_its_people_and_its_power(guardrail, options, goal, looks):
    asked = options | {"goal": goal, "looks": looks}
    if goal == "safe":
        asked |= {"ratio": 1.0}
    needed = ck.sample_size(guardrail, **asked)
    power = ck.power(guardrail, needed.n_canary, needed.n_control, **asked)
    assert power.power == pytest.approx(0.8, abs=0.005)
    more = ck.sample_size(guardrail, guardrails=2, **asked)
    assert more.each_power == pytest.approx(1 - 0.2 / 3)
    assert more.n > needed.n
    stricter = ck.sample_size(guardrail, any_of=4, **asked)
    assert stricter.n == ck.sample_size(guardrail, alpha=0.0125, **asked).n > needed.n


def test_a_question_is_one_or_more():
    with pytest.raises(ck.PlanError, match="expected 1 question or more"):
        ck.sample_size(ck.Guardrail("$exception"), rate=0.1, any_of=0)


def test_a_guardrail_needs_its_rate():
    with pytest.raises(ck.PlanError, match="give rate="):
        ck.sample_size(ck.Guardrail("$exception"))
    with pytest.raises(ck.PlanError, match="give sd="):
        ck.sample_size(ck.Guardrail(Average("paid", "amount"), margin=1.0), rate=50)
    with pytest.raises(ck.PlanError, match="expected 'safe' or 'harm'"):
        ck.sample_size(ck.Guardrail("$exception"), rate=0.1, goal="unsafe")


def test_more_traffic_makes_a_healthy_release_faster(plan):
    guardrail = ck.Guardrail(ErrorShare(), margin_ratio=1.5)
    few, many = (
        ck.expected_duration(plan, traffic, guardrail, n_runs=120, rng=4, min_dwell="6h")
        for traffic in (1000, 8000)
    )
    assert many.days < few.days
    frame = many.to_frame()
    assert (frame["median"] <= frame["most"]).all()
    assert frame["in_time"].between(0, 1).all()
    assert "days" in repr(many)


def test_people_who_return_make_traffic_too(plan):
    guardrail = ck.Guardrail(ErrorShare(), margin_ratio=2)
    waiting = ck.expected_duration(
        plan, ck.Population(300_000), guardrail, rates={guardrail.label: 0.02}, n_runs=60, rng=4
    )
    assert waiting.days is not None


def test_the_blast_radius_is_what_the_flag_says(plan):
    persons = pd.DataFrame({"distinct_id": [f"user-{i}" for i in range(3000)]})
    persons["email"] = persons["distinct_id"] + "@mail.example"
    persons.loc[:9, "email"] = [f"{i}@acme.io" for i in range(10)]
    bad = ck.Scenario(effects=[Effect("errors", 4)], error_rate=0.01)
    radius = ck.blast_radius(plan, "expanded beta 25%", persons, bad)
    values = ck.evaluate_flag(plan.flag_at("expanded beta 25%"), persons)["value"]
    assert radius.people == (values == "true").sum()
    before = ck.evaluate_flag(plan.flag_at("expanded beta 5%"), persons)["value"]
    assert radius.new == ((values == "true") & (before != "true")).sum()
    assert radius.harms[0][-1] == pytest.approx(0.03 * radius.people)
    assert ck.blast_radius(plan, "internal team", persons).people == 10
    with pytest.raises(ck.DataError, match="nobody to reach"):
        ck.blast_radius(plan, "beta", persons.iloc[:0])


def test_the_blast_radius_counts_people_and_says_what_it_leaves_out(plan):
    persons = pd.DataFrame({"distinct_id": [f"user-{i}" for i in range(2000)]})
    persons["email"] = persons["distinct_id"] + "@mail.example"
    slow = ck.Guardrail(SlowShare("signup started", "load_ms", slower_than=2000), margin_ratio=1.5)
    spent = ck.Guardrail(Average("paid", "amount"), worse="lower")
    effects = [Effect("load time", 1.5), Effect("errors", 9, where={"browser": "Safari"})]
    bad = ck.Scenario(effects=effects, error_rate=0.01)
    radius = ck.blast_radius(
        plan, "expanded beta 50%", persons, bad, [slow, spent, ck.Guardrail(ErrorShare())]
    )
    (_, without, with_it, _), (_, *errors) = radius.harms
    z = math.log(2000 / (bad.load_time * 1.5)) / bad.load_spread
    assert with_it == pytest.approx(0.5 * math.erfc(z / math.sqrt(2)))
    assert with_it > 1.5 * without
    assert errors == [0.01, 0.01, 0.0]
    assert {note.code for note in radius.notes} == {"no_people", "confined_effects"}


def test_a_ramp_is_found_within_the_budget_and_beats_the_clock():
    planned = ck.plan_ramp(
        harm_budget=45,
        traffic=2000,
        guardrails=ck.Guardrail(ErrorShare(), margin_ratio=1.5),
        scenario=ck.Scenario(error_rate=0.01),
        ramps=[(5, 50), (5, 25, 50)],
        dwells=["4h", "12h"],
        bad_ratios=[2, 5],
        n_runs=100,
        max_days=8,
        rng=7,
    )
    assert planned.best.harm <= 45
    assert planned.best.released >= 0.8
    assert planned.beats_usual
    assert planned.best.hours_low <= planned.best.hours <= planned.best.hours_high
    front = planned.frontier
    assert [c.hours for c in front] == sorted(c.hours for c in front)
    assert [c.harm for c in front] == sorted((c.harm for c in front), reverse=True)
    assert planned.plan.share(planned.plan.stage_names[0]) == pytest.approx(0.05)
    import matplotlib

    matplotlib.use("Agg")
    assert "hours" in planned.plot().get_xlabel()
    matplotlib.pyplot.close("all")


def test_a_ramp_is_longer_where_harm_comes_later_and_people_log_in():
    guardrail = ck.Guardrail(ErrorShare(), margin_ratio=2)
    options = {
        "harm_budget": 60,
        "traffic": 2000,
        "guardrails": guardrail,
        "ramps": [(10, 50)],
        "dwells": ["4h"],
    }
    options |= {"bad_ratios": [5], "n_runs": 60, "rng": 7, "scenario": ck.Scenario(faults=[Fault("outage")])}
    later = {"delays": {guardrail.label: "6h"}, "logins": (0.05, "2h")}
    soon, late = (ck.plan_ramp(**options, **more).choices[0] for more in ({}, later))
    assert late.hours >= soon.hours + 4
    assert late.harm > 1.5 * soon.harm
    notes = [note.text for note in ck.plan_ramp(**options).notes]
    assert sum("faults (outage) are not in simulated counts" in text for text in notes) == 1


def test_a_release_of_people_who_log_in_takes_longer(plan):
    guardrail = ck.Guardrail(ErrorShare(), margin_ratio=1.5)
    scenario = ck.Scenario(error_rate=0.05, faults=[Fault("outage")])
    plain, anew = (
        ck.expected_duration(
            plan,
            500,
            guardrail,
            scenario=scenario,
            logins=logins,
            n_runs=60,
            rng=4,
            min_dwell="6h",
            cap="14d",
        )
        for logins in (None, (0.2, "1h"))
    )
    assert anew.days > plain.days
    assert "faults (outage) are not in simulated counts" in anew.notes[0].text


def test_the_ramp_one_has_stands_beside_those_that_are_tried(plan):
    planned = ck.plan_ramp(
        harm_budget=60,
        traffic=2000,
        guardrails=ck.Guardrail(ErrorShare(), margin_ratio=1.5),
        scenario=ck.Scenario(error_rate=0.01),
        present=plan,
        ramps=[(5, 50)],
        dwells=["6h"],
        bad_ratios=[2],
        evidence="ramp",
        n_runs=60,
        max_days=8,
        rng=7,
    )
    assert planned.usual.label == "5/25/50 %, as planned"
    assert planned.usual.hours == 3 * 48
    assert planned.usual.released > 0.9
    assert "as planned" in repr(planned)


def test_when_no_ramp_keeps_the_budget_it_says_so():
    planned = ck.plan_ramp(
        harm_budget=0.5,
        traffic=2000,
        ramps=[(25, 50)],
        dwells=["12h"],
        bad_ratios=[5],
        n_runs=40,
        max_days=3,
        rng=7,
    )
    assert planned.best is None
    assert not planned.beats_usual
    assert "no ramp keeps the harm below" in repr(planned)
    assert math.isfinite(planned.usual.harm)
    with pytest.raises(ck.PlanError, match="numbers above 1"):
        ck.plan_ramp(harm_budget=5, traffic=10, bad_ratios=[0.5])
