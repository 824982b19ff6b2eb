"""Verdicts on releases whose truth is known, and no verdict from data that are not there."""

import json

import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit import metrics
from canarykit.errors import DataError, NaiveTimestampError, PlanError
from canarykit.health import Row, recompute
from tests.release import AS_OF, ERRORS, FLAG, STAGE, judge, make_release, ramp_plan

# ---- percentage stages -------------------------------------------------------------------------


def test_a_release_that_doubles_errors_is_rolled_back():
    report = judge(make_release(harm=3.0))
    assert report.verdict is ck.Verdict.ROLL_BACK
    assert report.row is Row.HARM
    assert report.exit_code == 20
    check = report.check("people with $exception")
    assert check.effect_low > 1
    assert "people with $exception got worse" in report.reason


def test_the_effect_says_that_it_compares_people_it_had_not_happened_to_yet():
    """Of common events the ratio of the shares is another number than the effect beside them."""
    check = judge(make_release(n=4000, harm=4.0, base=0.15)).check("people with $exception")
    assert check.effect > 1.1 * check.canary.value / check.control.value
    words = f"Among people it had not happened to yet, it came {check.effect:.3g} times as often"
    assert words in check.meaning
    assert "need not be the ratio of the shares" in check.measured


def test_a_quiet_release_without_enough_evidence_is_held_and_says_what_would_settle_it():
    report = judge(make_release(harm=1.0))
    assert report.verdict is ck.Verdict.HOLD
    assert any("more people" in step and "days at this pace" in step for step in report.next_steps)
    assert any("At the share of 'expanded beta 50%' it takes" in step for step in report.next_steps)


def test_a_large_harmless_release_is_promoted_only_after_the_minimum_stay():
    release = make_release(n=20_000, harm=0.7, base=0.25, days=0.9)
    early = judge(release, as_of="2026-09-20T06:00:00Z", freshness="24h")
    assert early.verdict is ck.Verdict.HOLD
    assert "minimum stay" in early.reason
    late = judge(release)
    assert late.verdict is ck.Verdict.PROMOTE
    assert late.check("people with $exception").effect_high < 1.25


def test_fewer_conversions_are_harm_when_lower_is_worse():
    guardrail = ck.Guardrail(metrics.Conversion("paid", within="1d"), worse="lower")
    report = judge(make_release(n=6000, paid_ratio=0.5), guardrails=guardrail)
    assert report.verdict is ck.Verdict.ROLL_BACK
    assert report.check("paid within 1d").effect_high < 1
    more = judge(make_release(n=6000, paid_ratio=1.6), guardrails=guardrail)
    assert more.verdict is not ck.Verdict.ROLL_BACK


def test_a_missing_tenth_of_the_canary_is_found_and_switches_the_comparison_off():
    report = judge(make_release(n=30_000, lost=0.25, harm=3.0))
    assert report.row is Row.INVALID
    assert report.verdict is ck.Verdict.HOLD
    assert "People are missing from one arm" in report.reason
    assert report.check("people with $exception").status.value == "cannot tell"


def test_people_who_flicker_between_variants_hold_the_release():
    report = judge(make_release(flicker=0.05, harm=3.0))
    assert report.row is Row.NOT_VALID_YET
    assert "both variants" in report.reason


def test_people_who_have_the_canary_by_rule_are_not_compared():
    release = make_release(team=300)
    report = judge(release)
    left_out = dict(report.section("people").rows)
    assert left_out["left out: have the canary by rule (owner, team, beta)"] == 300
    assert report.check("sample ratio").status.value == "ok"


def test_without_a_persons_export_the_report_says_how_chosen_people_were_told():
    release = make_release()
    report = judge(ck.EventLog(release.events))
    assert any(note.code == "chosen_by_exposure" for note in report.notes)


def test_a_person_with_a_thousand_errors_counts_once():
    release = make_release(harm=1.0)
    errors = release.events[release.events["event"] == "$exception"]
    again = pd.concat([errors] * 40, ignore_index=True)
    again["timestamp"] += pd.to_timedelta(np.arange(len(again)) % 3600 + 1, unit="s")
    again["uuid"] = [f"again{i}" for i in range(len(again))]
    chatty = ck.EventLog(pd.concat([release.events, again], ignore_index=True), persons=release.persons)
    before, after = judge(release), judge(chatty)
    assert before.check("people with $exception") == after.check("people with $exception")


def test_people_with_thousands_of_events_are_listed_and_left_out_of_one_line():
    release = make_release(n=600)
    bot = release.events["distinct_id"].iloc[0]
    moment = ramp_plan().window(STAGE)[0] + pd.Timedelta(hours=20)
    loop = pd.DataFrame({"event": "$pageview", "distinct_id": bot, "person_id": bot, "timestamp": moment},
                        index=range(2000))  # fmt: skip
    loop["uuid"] = [f"loop{i}" for i in loop.index]
    report = judge(ck.EventLog(pd.concat([release.events, loop], ignore_index=True), persons=release.persons))
    assert [row[0] for row in report.section("unusually busy").rows] == [bot]
    people = {row[1]: row[2] + row[3] for row in report.section("other choices of people").rows}
    assert people["without unusually busy people"] == people["everybody compared"] - 1


def test_errors_before_the_exposure_and_after_the_evaluation_do_not_count():
    release = make_release(harm=1.0)
    start = ramp_plan().window(STAGE)[0]
    extra = release.events.head(500).assign(event="$exception", uuid=[f"x{i}" for i in range(500)])
    early, late = start - pd.Timedelta(hours=2), pd.Timestamp(AS_OF)
    more = [release.events, extra.assign(timestamp=early), extra.assign(timestamp=late)]
    noisy = ck.EventLog(pd.concat(more, ignore_index=True), persons=release.persons)
    assert judge(noisy).check("people with $exception") == judge(release).check("people with $exception")


def test_returning_people_whose_answer_is_reported_only_when_it_changes_are_left_out():
    plan = ramp_plan()
    release = make_release(n=4000, seed=5)
    before = release.events[release.events["event"] == "$feature_flag_called"].head(1500)
    rng = np.random.default_rng(2)
    start = plan.window("expanded beta 5%")[0]
    was = before.assign(
        timestamp=start + pd.to_timedelta(rng.random(len(before)) * 86_400, unit="s"),
        uuid=[f"w{i}" for i in range(len(before))],
        **{"$feature_flag_response": "false"},
    )
    # of those, only the people whose value changed call again in the later stage
    stayed = set(before.loc[before["$feature_flag_response"] == "false", "distinct_id"])
    silent = release.events["distinct_id"].isin(stayed) & (release.events["event"] == "$feature_flag_called")
    log = ck.EventLog(pd.concat([was, release.events[~silent]], ignore_index=True), persons=release.persons)
    report = judge(log)
    assert any(note.code == "returning_left_out" for note in report.notes)
    assert report.check("sample ratio").status.value == "ok"


def test_five_guardrails_share_the_rollback_error_and_critical_ones_get_half():
    guardrails = [
        ck.Guardrail("$exception", critical=True),
        ck.Guardrail(metrics.Conversion("paid", within="1d"), worse="lower"),
        ck.Guardrail(metrics.Total("paid", "amount"), worse="lower"),
    ]
    report = judge(make_release(), guardrails=guardrails)
    assert [entry["weight"] for entry in report.audit["guardrails"]] == [0.5, 0.25, 0.25]


def test_the_harm_budget_widens_the_margin_of_an_early_stage():
    tight = judge(make_release(), stage=STAGE).check("people with $exception").margin
    wide = judge(make_release(), stage=STAGE, harm_budget=200).check("people with $exception").margin
    assert wide > tight == 1.25


@pytest.mark.parametrize("worse", ["higher", "lower"])
def test_a_larger_harm_budget_never_narrows_the_margin(worse):
    guardrail = ck.Guardrail(metrics.Conversion("paid"), worse=worse)
    release = make_release(n=400)
    checks = [
        judge(release, guardrails=guardrail, harm_budget=budget).check("paid within 7d")
        for budget in (None, 20, 50, 100, 200)
    ]
    widths = [abs(np.log(check.margin)) for check in checks]
    assert widths == sorted(widths)
    assert widths[-1] > widths[0]
    if worse == "lower":  # nothing is left to lose: any loss is tolerated
        assert checks[-1].margin == 0.01


def test_percentage_points_become_a_ratio_over_the_control():
    points = ck.Guardrail("$exception", margin_pp=2.0)
    check = judge(make_release(n=8000), guardrails=points).check("people with $exception")
    assert check.margin == pytest.approx(1 + 0.02 / check.control.value)


def test_the_ramp_lends_its_evidence_and_a_person_still_counts_once():
    plan = ramp_plan(dwell="1d")
    first, second = (
        make_release(stage, plan=plan, n=3000, harm=1.0, base=0.1, seed=seed)
        for stage, seed in (("expanded beta 5%", 3), (STAGE, 4))
    )
    nested = first.events["distinct_id"].isin(set(second.events["distinct_id"].head(600)))
    second.events["uuid"] = "second " + second.events["uuid"]
    both = pd.concat([first.events[nested], second.events], ignore_index=True)
    log = ck.EventLog(both, persons=first.persons)
    as_of = plan.window(STAGE)[1]
    alone = judge(log, plan=plan, as_of=as_of, evidence="stage")
    ramp = judge(log, plan=plan, as_of=as_of)
    counted = ramp.audit["guardrails"][0]["counts"]["ramp"]
    people = both.loc[both["event"] == "$exception", "distinct_id"].nunique()
    total = sum(counted["events_canary"]) + sum(counted["events_control"])
    assert total <= people
    assert total > sum(alone.series.risk_sets[0].events)
    assert "stratified by stage" in ramp.check("people with $exception").method
    assert counted["parts"] == [0.5, 0.5]
    judged, of_stage = ramp.series.guardrails[0], alone.series.guardrails[0]
    assert judged.safe_log_e.tolist() == of_stage.safe_log_e.tolist()
    assert judged.high.tolist() == of_stage.high.tolist()
    whole = judge(log, plan=plan, as_of=as_of, alpha_scope="rollout")
    assert any("over the 3 randomised stages of the rollout" in str(note) for note in whole.notes)


def test_an_absolute_limit_rolls_back_a_randomised_stage_only_when_asked_to():
    limit = ck.Guardrail("$exception", margin_ratio=9.0, limit=0.05)
    release = make_release(harm=3.0)
    asked = judge(release, guardrails=limit, use_limits=True)
    assert asked.row is Row.LIMIT_BREACHED
    assert asked.check("people with $exception").status.value == "limit breached"
    assert recompute(asked.to_json()) == (asked.verdict, asked.row)
    assert judge(release, guardrails=limit).row is not Row.LIMIT_BREACHED


def test_a_flag_by_organisation_is_judged_by_organisation():
    plan = ck.RolloutPlan(
        FLAG,
        (ck.Stage.for_share("half", 50),),
        starts_at="2026-09-19T09:00:00Z",
        aggregation_group_type="organization",
    )
    release = make_release("half", plan=plan, n=4000, share=0.5, harm=1.0)
    org = release.events["distinct_id"].str[1:].astype(int) % 200
    events = release.events.assign(**{"$group_0": "org" + org.astype(str)})
    events["$feature_flag_response"] = np.where(
        events["$feature_flag_response"].notna(), np.where(org % 2 == 0, "true", "false"), None
    )
    report = judge(ck.EventLog(events, persons=release.persons), "half", plan=plan, min_units=20)
    assert report.unit == "organization groups"
    assert (report.n_canary, report.n_control) == (100, 100)
    check = report.check("organization groups with $exception")
    assert check.canary.total == 100
    assert report.verdict is ck.Verdict.HOLD
    few = ck.EventLog(events[org % 200 < 20], persons=release.persons)
    too_few = judge(few, "half", plan=plan, min_units=5)
    assert too_few.row is Row.TOO_LITTLE_AFTER_GRACE
    assert "the canary has 10 where at least 20 are needed" in too_few.reason


def test_a_holdout_makes_the_full_release_comparable():
    plan = ramp_plan(holdout={"id": 7, "exclusion_percentage": 10})
    release = make_release(
        "full release", plan=plan, share=0.9, control="holdout-7", n=8000, harm=4.0, base=0.03
    )
    report = judge(release, "full release", plan=plan, as_of="2026-09-26T12:00:00Z")
    assert report.verdict is ck.Verdict.ROLL_BACK
    assert report.check("everybody has it").status.value == "ok"


# ---- no verdict from missing data ----------------------------------------------------------------


def test_an_empty_arm_is_held_within_the_grace_and_after_it():
    nobody = make_release(share=0.0)
    assert judge(nobody, as_of="2026-09-20T06:00:00Z").row is Row.TOO_LITTLE
    late = judge(nobody)
    assert late.row is Row.TOO_LITTLE_AFTER_GRACE
    assert "the canary has 0" in late.reason


def test_a_critical_metric_that_is_nowhere_recorded_never_promotes():
    absent = ck.Guardrail("crash", critical=True)
    report = judge(make_release(), guardrails=absent)
    assert report.verdict is ck.Verdict.HOLD
    assert "no event crash at all" in report.check("people with crash").meaning
    empty = judge(make_release(share=0.0), guardrails=absent)
    assert empty.row is Row.CRITICAL_MISSING
    assert empty.verdict is ck.Verdict.ROLL_BACK


def test_events_that_stopped_arriving_are_held():
    report = judge(make_release(days=0.5), as_of="2026-09-21T12:00:00Z")
    assert report.row is Row.TOO_LITTLE_AFTER_GRACE
    assert "no fresh events" in report.reason
    assert "got worse" not in report.reason


def test_harm_shown_before_the_events_stopped_is_held_and_stands_first_in_the_headline():
    errors = ck.Guardrail("$exception", margin_ratio=1.25)
    report = judge(
        make_release(base=0.1, harm=2.5, days=0.5), as_of="2026-09-21T12:00:00Z", guardrails=errors
    )
    assert (report.row, report.verdict) == (Row.TOO_LITTLE_AFTER_GRACE, ck.Verdict.HOLD)
    harm, missing = report.reason.split(", as far as the data go. ")
    assert "people with $exception got worse (" in harm
    assert "no fresh events" in missing
    assert report.next_steps[0].startswith("Harm was shown before: roll the flag back if")


def test_no_events_after_the_exposure_prove_nothing():
    release = make_release()
    only_calls = release.events[release.events["event"] == "$feature_flag_called"]
    report = judge(ck.EventLog(only_calls, persons=release.persons))
    assert report.verdict is ck.Verdict.HOLD
    assert report.check("people with $exception").status.value == "cannot tell"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 5.0, 3.7])
def test_values_that_are_missing_infinite_or_all_the_same_never_decide(value):
    release = make_release()
    events = release.events.assign(amount=value)
    guardrail = ck.Guardrail(metrics.Average("paid", "amount"), worse="lower")
    report = judge(ck.EventLog(events, persons=release.persons), guardrails=guardrail)
    assert report.verdict is ck.Verdict.HOLD
    assert report.check("mean amount").status.value == "cannot tell"
    if np.isinf(value):
        assert any(note.code == "unreadable" for note in report.notes)


def test_an_empty_log_is_refused_and_a_stage_nobody_saw_is_held():
    columns = ["event", "timestamp", "distinct_id"]
    empty = pd.DataFrame({name: pd.Series([], dtype="str") for name in columns})
    empty["timestamp"] = pd.to_datetime(empty["timestamp"], utc=True)
    with pytest.raises(DataError, match="the log has no events"):
        judge(ck.EventLog(empty))
    report = judge(make_release(), "expanded beta 5%", as_of="2026-09-18T12:00:00Z")
    assert report.verdict is ck.Verdict.HOLD


def test_unusable_questions_are_refused():
    release = make_release(n=100)
    with pytest.raises(PlanError, match=r"Did you mean 'expanded beta 25%'"):
        judge(release, "expanded beta 26%")
    with pytest.raises(PlanError, match=r"starts at .* after as_of"):
        judge(release, as_of="2026-09-01T00:00:00Z")
    with pytest.raises(NaiveTimestampError):
        judge(release, as_of="2026-09-20T12:00:00")
    with pytest.raises(PlanError, match="guardrails is empty"):
        judge(release, guardrails=[])
    with pytest.raises(PlanError, match="need different names"):
        judge(release, guardrails=[ERRORS, ERRORS])
    with pytest.raises(PlanError, match="expected at most 5,000"):
        judge(release, looks="10 s")


# ---- the report ------------------------------------------------------------------------------------


def test_every_number_leads_to_the_people_behind_it():
    report = judge(make_release(harm=3.0))
    check = report.check("people with $exception")
    canary = report.people("people with $exception")
    assert len(canary) == check.canary.count
    assert (canary["happened_at"] >= canary["exposed_at"]).all()
    assert len(report.people("people with $exception", canary=False)) == check.control.count
    with pytest.raises(DataError, match="Did you mean 'people with "):
        report.people("people with exception")


@pytest.mark.parametrize("harm", [1.0, 3.0])
def test_the_verdict_can_be_recomputed_from_the_audit_record(harm):
    report = judge(make_release(harm=harm))
    assert recompute(report.to_json()) == (report.verdict, report.row)
    counts = report.audit["guardrails"][0]["counts"]
    from canarykit.stats.any_look.event_process import EventMixture

    x, y = np.array(counts["events_canary"]), np.array(counts["events_control"])
    mixture = EventMixture("harm", **counts["mixture"])
    log_e = mixture.log_e(x, x + y, counts["at_risk_canary"], counts["at_risk_control"])
    assert log_e.max() == pytest.approx(report.audit["evidence"]["harm_log_e"][0])


def test_the_same_question_gives_the_same_answer_and_the_same_words():
    release = make_release(harm=2.0)
    first, second = judge(release), judge(release)
    assert first == second
    assert repr(first) == repr(second)
    assert first.to_html() == second.to_html()


def test_an_answer_does_not_depend_on_the_order_of_the_events():
    release = make_release(harm=2.0)
    shuffled = release.events.sample(frac=1, random_state=3)
    report = judge(ck.EventLog(shuffled, persons=release.persons))
    assert report.to_dict() == judge(release).to_dict()


def test_events_on_disk_give_the_same_report_as_events_in_memory(tmp_path):
    release = make_release(harm=2.0)
    release.events.to_parquet(tmp_path / "events.parquet")
    on_disk = ck.scan_posthog(str(tmp_path / "events.parquet"), persons=release.persons)
    guardrails = [ERRORS, ck.Guardrail(metrics.Total("paid", "amount"), worse="lower")]
    reports = [judge(log, guardrails=guardrails).to_dict() for log in (release.log, on_disk)]
    engines = [report["audit"].pop("engine") for report in reports]
    assert engines == ["pandas", "duckdb"]
    here, there = reports
    assert here["checks"] == there["checks"]
    assert here["audit"]["fingerprints"] == there["audit"]["fingerprints"]
    assert here["sections"] == there["sections"]


def test_numbers_in_the_frame_are_raw_and_in_json_finite():
    report = judge(make_release())
    frame = report.to_frame().set_index("check")
    assert 0 < frame.loc["people with $exception", "canary_value"] < 1
    json.loads(report.to_json())
    assert "NaN" not in report.to_json()
