"""What would settle a hold, effects that wear off, and margins that tolerate everything: said, and true."""

import re

import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit import metrics
from canarykit.health.checks.check import Check, Status
from tests.release import FLAG, STAGE, judge, make_release, ramp_plan


def test_a_mean_says_what_would_settle_it_and_about_that_many_people_do():
    """The promise is an expectation: three times what was said settles it, a third of it mostly does not."""
    guardrail = ck.Guardrail(metrics.Total("paid", "amount"), worse="lower", margin=3.0)
    soon, later = [], []
    for seed in (5, 6, 7):
        few = judge(make_release(n=1500, seed=seed), guardrails=guardrail)
        (step,) = [step for step in few.next_steps if "more people settle it" in step]
        more = int(re.search(r"some ([\d,]+) more people", step)[1].replace(",", ""))
        assert 200 < more < 60_000
        soon.append(judge(make_release(n=1500 + more // 3, seed=seed), guardrails=guardrail).verdict)
        last = judge(make_release(n=1500 + 3 * more, seed=seed, days=0.9), guardrails=guardrail)
        later.append(last.check("sum of amount per person").status.value)
    assert soon.count(ck.Verdict.HOLD) >= 2
    assert later == ["ok"] * 3


def test_a_margin_as_large_as_the_rate_itself_tolerates_any_loss_and_says_so():
    everything = ck.Guardrail(metrics.Conversion("paid"), worse="lower", margin_pp=60)
    report = judge(make_release(n=2000), guardrails=everything)
    assert report.check("paid within 7d").margin == 0.01
    assert any("any loss is within the margin" in str(note) for note in report.notes)
    assert not any("any loss" in str(note) for note in judge(make_release(n=2000)).notes)


def asked(stage, n=40):
    """People of a stage of whom some answer a survey in their own words."""
    release = make_release(stage, n=n, share=0.5, harm=1.0)
    calls = release.events[release.events["event"] == "$feature_flag_called"]
    shown = calls.assign(event="survey shown", timestamp=calls["timestamp"] + pd.Timedelta(minutes=3))
    sent = shown.iloc[::2].assign(event="survey sent", **{"$survey_response": "where did the cart go?"})
    survey = pd.concat([shown, sent], ignore_index=True).assign(**{"$survey_id": "cart"})
    survey["uuid"] = [f"s{i}" for i in range(len(survey))]
    columns = [name for name in survey if not name.startswith("$feature_flag")]
    return ck.EventLog(pd.concat([release.events, survey[columns]], ignore_index=True))


@pytest.mark.parametrize("stage", ["internal team", "expanded beta 25%", "full release"])
def test_answers_are_quoted_with_their_response_rate_in_every_stage(stage):
    as_of = ramp_plan().window(stage)[0] + pd.Timedelta(days=1)
    log = asked(stage)
    report = judge(log, stage, as_of=as_of, survey="cart")
    rates = [row for row in report.section("survey").to_dicts() if row["question"] == "response"]
    assert sum(row["answers"] for row in rates) == 20
    assert "where did the cart go?" in report.to_html()
    silent = judge(log, stage, as_of=as_of, survey="delivery")
    (section,) = [section for section in silent.sections if section.title == "survey"]
    assert "Nobody was asked" in section.text
    assert "there is ['cart']" in section.text
    assert silent.verdict is report.verdict
    board = ck.dashboard(log, ramp_plan(), stage, as_of=as_of, survey="delivery")
    assert any("nobody was asked" in str(note) for note in board.notes)
    assert len(board.figure().axes) == 4  # the panel of a survey without answers keeps its place


@pytest.mark.parametrize("n, seed", [(400, 1), (800, 0)])
def test_an_effect_whose_interval_is_all_harmful_is_not_called_no_harm_while_it_is_not_proven(n, seed):
    tolerant = ck.Guardrail("$exception", margin_ratio=3.0)
    report = judge(make_release(n=n, harm=3.0 if n == 400 else 2.5, seed=seed), guardrails=tolerant)
    line = report.check("people with $exception")
    assert line.effect_low > 1
    assert line.evidence < line.needed
    assert line.meaning.startswith("Looks worse than the control. No")
    assert "people with $exception looks worse (" in report.headline
    assert "no harm" not in f"{report.headline} {line.meaning}".lower()


def test_an_effect_whose_interval_holds_no_change_shows_no_harm():
    report = judge(make_release(n=800, harm=2.5, seed=1), guardrails=ck.Guardrail("$exception"))
    line = report.check("people with $exception")
    assert line.effect_low < 1 < line.effect
    assert line.meaning.startswith("No harm shown")
    assert "no harm shown, but" in report.headline


@pytest.mark.parametrize("fades, words", [(True, "it falls"), (False, "not shown")])
def test_an_effect_that_wears_off_with_the_days_since_exposure_is_named(fades, words):
    """Errors of the canary start at six times the control's and halve from day to day, or stay at twice."""
    rng = np.random.default_rng(5)
    plan = ramp_plan(dwell="6d")
    start = plan.window(STAGE)[0]
    n = 12_000
    canary = rng.random(n) < 0.25
    at = start + pd.to_timedelta(rng.random(n) * 3600, unit="s")
    who = [f"u{i}" for i in range(n)]
    call = pd.DataFrame({"event": "$feature_flag_called", "timestamp": at, "distinct_id": who})
    call["$feature_flag"], call["$feature_flag_response"] = FLAG, np.where(canary, "true", "false")
    parts = [call]
    for day in range(5):
        ratio = max(6 * 0.5**day, 0.5) if fades else 2.0
        hit = rng.random(n) < 0.02 * np.where(canary, ratio, 1.0)
        moment = at + pd.to_timedelta(day * 86_400 + rng.random(n) * 80_000, unit="s")
        errors = pd.DataFrame({"event": "$exception", "timestamp": moment, "distinct_id": who})
        parts.append(errors[hit])
    log = ck.EventLog(pd.concat(parts, ignore_index=True))
    report = judge(log, plan=plan, as_of=start + pd.Timedelta(days=5))
    (section,) = [section for section in report.sections if section.title == "days since exposure"]
    assert f"people with $exception: {words}" in section.text


def test_an_interval_with_one_end_says_which():
    at_least = Check("paid", "limit", Status.INFO, "", effect=1.0, effect_low=0.05, effect_unit="share")
    assert at_least.effect_text == "100.0 % (5.00 % or more)"
    at_most = Check("errors", "limit", Status.INFO, "", effect=0.0, effect_high=0.95, effect_unit="share")
    assert at_most.effect_text == "0.00 % (95.0 % or less)"


def test_one_person_is_no_people():
    rows = [
        {"event": name, "distinct_id": "u", "timestamp": f"2026-09-07T09:0{k}:00Z", "$session_id": "s"}
        for k, name in enumerate(["$feature_flag_called", "open", "pay"])
    ]
    rows[0] |= {"$feature_flag": "f", "$feature_flag_response": True}
    log = ck.EventLog(pd.DataFrame(rows))
    funnel = ck.funnel_by_flag(log, ["open", "pay"], flag="f")
    plan = ck.RolloutPlan("f", (ck.Stage.for_ids("me", ["u"]),), starts_at="2026-09-07T08:00Z")
    report = ck.evaluate_stage(log, plan, "me", as_of="2026-09-07T12:00Z")
    people = funnel.people("pay")
    said = [
        log, ck.exposures(log, "f"), funnel, funnel.time_to_convert(), people, report, report.summary(), plan,
        ck.trend_by_flag(log, "pay", flag="f"), ck.sessions_by_flag(log, "f"), ck.audit_assignment(log, plan),
        ck.dashboard(log, plan, "me", as_of="2026-09-07T12:00Z"),
    ]  # fmt: skip
    for result in said:
        assert not re.search(
            r"\b1 (people|persons|sessions|events|stages|calls|steps|groups)\b", str(result)
        ), result
