"""Stages of chosen people, and the full release: bounds, before and after, and no causal claim."""

import pandas as pd
import pytest

import canarykit as ck
from canarykit.health import Row
from tests.release import ERRORS, FLAG, judge, ramp_plan


def targeted(stage, *, n=10, errors=0, both=True, sessions=4, others=200, error_name="$exception"):
    start = ramp_plan().window(stage)[0]
    rows = []
    for i in range(n + others):
        who, at = f"p{i}", start + pd.Timedelta(minutes=10 * (i % 100) + 60)
        value = "true" if i < n else "false"
        call = {"event": "$feature_flag_called", "distinct_id": who, "$feature_flag": FLAG}
        rows.append({**call, "timestamp": at, "$feature_flag_response": value})
        if i == 0 and both:
            later = at + pd.Timedelta(minutes=5)
            rows.append({**call, "timestamp": later, "$feature_flag_response": "false"})
        for k in range(sessions):
            moment = at + pd.Timedelta(hours=k + 1)
            session = {"distinct_id": who, "$session_id": f"{who}-{k}"}
            rows.append({"event": "$pageview", "timestamp": moment, **session})
        if i < errors or i == n + 1:
            rows.append({"event": error_name, "timestamp": moment, **session})
    rows += somebody_every_hour(start, 71)
    return ck.EventLog(pd.DataFrame(rows))


def somebody_every_hour(start, hours):
    moments = [start + pd.Timedelta(hours=k) for k in range(hours + 1)]
    return [{"event": "$pageview", "distinct_id": "z", "timestamp": at} for at in moments]


def targeted_report(stage="internal team", guardrails=ERRORS, **story):
    return judge(targeted(stage, **story), stage, guardrails, as_of=ramp_plan().window(stage)[1])


def test_zero_errors_in_forty_sessions_still_allows_seven_percent():
    report = targeted_report(n=10, sessions=4)
    (row,) = report.section("sessions").to_dicts()
    assert (row["sessions"], row["with_event"]) == (40, 0)
    assert row["at_most"] == pytest.approx(0.0722, abs=1e-4)
    assert report.verdict is ck.Verdict.PROMOTE
    assert "does not prove that it is safe" in report.reason


def test_chosen_people_never_give_a_causal_claim():
    report = targeted_report(n=10)
    assert any("chosen, not drawn" in str(note) for note in report.notes)
    assert report.series is None
    assert all(check.effect_unit == "share" for check in report.checks if check.kind == "limit")


def test_a_limit_broken_beyond_doubt_rolls_back_and_one_error_only_holds():
    limit = ck.Guardrail("$exception", limit=0.05)
    broken = targeted_report(guardrails=limit, n=20, errors=9)
    assert broken.row is Row.LIMIT_BREACHED
    one = targeted_report(guardrails=limit, n=10, errors=1)
    assert one.verdict is ck.Verdict.HOLD
    assert "Look at them before going on" in one.reason


def test_an_owner_who_never_switched_it_off_is_held():
    assert targeted_report("just yourself", n=1, both=False).verdict is ck.Verdict.HOLD
    assert targeted_report("just yourself", n=1, both=True).verdict is ck.Verdict.PROMOTE


def changed(before, after, others_before, others_after, n=60, others=600, orgs=None):
    """People of a beta of whom a share had an error before and after their exposure, and the others."""
    start = ramp_plan().window("beta")[0]
    rows = []
    for i in range(n + others):
        who, chosen = f"p{i}", i < n
        at = start + pd.Timedelta(hours=36, minutes=i % 60)
        group = {"$group_0": f"org{i % orgs}"} if orgs and chosen else {}
        base = {"distinct_id": who, **group}
        value = "true" if chosen else "false"
        rows.append({**base, "event": "$feature_flag_called", "timestamp": at, "$feature_flag": FLAG})
        rows[-1]["$feature_flag_response"] = value
        phase = (i if chosen else i - n) / (n if chosen else others)
        shares = (before, after) if chosen else (others_before, others_after)
        for share, moment in zip(
            shares, (at - pd.Timedelta(hours=5), at + pd.Timedelta(hours=5)), strict=True
        ):
            if phase < share:
                rows.append({**base, "event": "$exception", "timestamp": moment})
    rows += somebody_every_hour(start, 71)
    log = ck.EventLog(pd.DataFrame(rows))
    return judge(log, "beta", as_of=ramp_plan().window("beta")[1])


def test_people_who_got_worse_than_the_others_did_are_to_be_looked_at():
    report = changed(0.10, 0.50, 0.05, 0.06)
    check = report.check("people with $exception: before and after")
    assert check.status.value == "hold"
    assert check.effect == pytest.approx((30.5 / 6.5) / (36.5 / 30.5))
    assert check.effect_text.startswith("3.92x the others' change (")
    assert "6 of 60 people before, 30 after" in check.meaning
    assert "of the others likewise 30 of 600 (5.00 %) before, 36 (6.00 %) after" in check.meaning
    assert "others' change" in str(report)
    assert report.verdict is ck.Verdict.HOLD


def test_people_who_were_different_before_are_not_blamed_on_the_feature():
    report = changed(0.20, 0.45, 0.05, 0.11)
    check = report.check("people with $exception")
    assert check.status.value == "for information"
    assert "differed before they had the feature" in check.meaning
    assert report.verdict is ck.Verdict.PROMOTE


def test_a_handful_of_organisations_cannot_tell_their_spread():
    report = changed(0.10, 0.50, 0.05, 0.06, orgs=2)
    check = report.check("people with $exception: before and after")
    assert check.status.value == "for information"
    assert "2 organisations (fewer than 20)" in check.meaning
    assert {row[1] for row in report.section("organisations").rows} == {
        "org0",
        "org1",
        "everybody without it",
    }


def test_organisations_of_fewer_than_five_people_share_one_line():
    report = changed(0.10, 0.50, 0.05, 0.06, n=12, orgs=10)
    assert [row[1:3] for row in report.section("organisations").rows] == [
        ("10 smaller organisations", 12),
        ("everybody without it", 600),
    ]


def test_at_full_release_nothing_is_comparable_without_a_holdout():
    log = targeted("full release", n=300, others=2)
    plain = judge(log, "full release", as_of="2026-09-28T09:00:00Z")
    assert plain.verdict is ck.Verdict.HOLD
    assert "not comparable" in plain.reason
    assert plain.check("everybody has it").canary.count == 300
    kept = judge(log, "full release", ck.Guardrail("$exception", limit=0.05), as_of="2026-09-28T09:00:00Z")
    assert kept.verdict is ck.Verdict.PROMOTE
    stale = judge(log, "full release", as_of="2026-11-15T09:00:00Z")
    assert stale.check("stale flag").status.value == "to do"
