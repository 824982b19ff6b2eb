"""A past release replayed: each rule's first action, and who had met the canary by then."""

from pathlib import Path

import pandas as pd
import pytest

import canarykit as ck
from canarykit.errors import DataError, PlanError
from canarykit.metrics import Conversion, ErrorShare
from tests.release import STAGE, make_release, ramp_plan

SAMPLE = Path(__file__).parents[1] / "sample_data"
FIVE = "expanded beta 5%"
LEAN = {"segments": (), "as_of": "2026-09-20T12:00:00Z"}


@pytest.fixture(scope="module")
def sample():
    names = ("events", "persons", "groups")
    events, persons, groups = (SAMPLE / f"{name}.parquet" for name in names)
    log = ck.read_posthog(events, persons=persons, groups=groups)
    guardrails = [
        ck.Guardrail(Conversion("paid", within="1d"), worse="lower", margin_ratio=0.75, critical=True),
        ck.Guardrail(ErrorShare(), margin_ratio=2.0),
    ]
    return log, ck.RolloutPlan.from_json(SAMPLE / "plan.json"), guardrails


@pytest.fixture(scope="module")
def lived(sample):
    log, plan, guardrails = sample
    return ck.replay(log, plan, guardrails, as_of="2026-09-16T09:00:00Z")


def test_the_losing_version_is_rolled_back_at_the_first_hour_at_which_the_report_says_so(sample, lived):
    log, plan, guardrails = sample
    start, _ = plan.window(FIVE)
    said = {
        hour: ck.evaluate_stage(
            log, plan, FIVE, guardrails, as_of=start + pd.Timedelta(hours=hour)
        ).verdict.value
        for hour in range(2, 7)
    }
    first = min(hour for hour, verdict in said.items() if verdict == "roll back")
    assert first > min(said)  # an hour before it is seen to hold
    acted = lived.acted(FIVE)
    assert acted["says"] == "roll back"
    assert acted["acted_at"] == start + pd.Timedelta(hours=first)
    assert acted["after"] == acted["rerun"] == first * 3600


def test_who_had_it_by_then_and_later_are_all_who_met_it_in_the_stage(lived):
    for rule in dict.fromkeys(row[1] for row in lived.rows):
        acted = lived.acted(FIVE, rule)
        assert acted["people"] + acted["later"] == 232
    assert lived.acted(FIVE, "one look at the end")["later"] == 0
    assert lived.acted(FIVE)["later"] > lived.acted(FIVE, "daily group-sequential")["later"] > 0


def test_stages_without_a_control_are_counted_and_not_replayed(lived):
    assert {row[0] for row in lived.rows} == {FIVE}
    assert any(note.code == "no_control" and note.count == 3 for note in lived.notes)
    assert repr(lived).startswith("new-checkout: canarykit would have rolled back expanded beta 5%")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("options", [{}, {"freshness": "2min"}, {"min_dwell": "6h"}])
def test_the_moment_told_is_one_at_which_the_report_acts_and_before_which_it_did_not(seed, options):
    log = make_release(harm=1.8 if seed else 1.0, seed=seed).log
    acted = ck.replay(log, ramp_plan(), rules="canarykit", **LEAN, **options).acted(STAGE)
    hour = pd.Timedelta(hours=1)
    start = ramp_plan().window(STAGE)[0]

    def verdict(moment):
        return ck.evaluate_stage(
            log, ramp_plan(), STAGE, as_of=moment, segments=(), looks="1h", **options
        ).verdict.value

    if acted["says"] == "hold":
        assert acted["acted_at"] is None
        assert verdict(LEAN["as_of"]) == "hold"
    else:
        assert verdict(acted["acted_at"]) == acted["says"]
        if acted["acted_at"] > start + hour:
            assert verdict(acted["acted_at"] - hour) == "hold"


def test_people_are_counted_as_one_would_by_hand():
    release = make_release(harm=2.0)
    acted = ck.replay(release.log, ramp_plan(), rules="canarykit", **LEAN).acted(STAGE)
    assert acted["says"] == "roll back"
    events = release.events
    start = ramp_plan().window(STAGE)[0]
    times = pd.to_datetime(events["timestamp"], utc=True)
    called = events[
        (events["event"] == "$feature_flag_called")
        & (events["$feature_flag_response"] == "true")
        & (times >= start)
        & (times < pd.Timestamp(LEAN["as_of"]))
    ]
    first = times[called.index].groupby(called["distinct_id"]).min()
    assert acted["people"] == (first < acted["acted_at"]).sum()
    assert acted["people"] + acted["later"] == len(first)


def test_a_rule_that_acts_on_noise_is_told_with_what_the_end_showed():
    log = make_release(harm=1.0, seed=4).log
    lived = ck.replay(log, ramp_plan(), **LEAN)
    assert {row[-1] for row in lived.rows} <= {"open", "within the margin"}
    false = [row for row in lived.rows if row[2] == "roll back"]
    assert false  # thresholds err
    assert all(row[7] == row[4] > 0 for row in false)
    assert lived.acted(STAGE)["says"] != "roll back"


def test_looking_once_a_day_acts_at_the_end_of_a_day():
    log = make_release(harm=2.0).log
    daily = ck.replay(log, ramp_plan(), rules="canarykit", every="1d", **LEAN).acted(STAGE)
    assert daily["after"] % 86_400 == 0
    hourly = ck.replay(log, ramp_plan(), rules="canarykit", **LEAN).acted(STAGE)
    assert hourly["acted_at"] <= daily["acted_at"]


def test_rules_that_do_not_exist_are_answered(lived):
    log = make_release(n=200).log
    with pytest.raises(PlanError, match="Did you mean 'Kayenta'"):
        ck.replay(log, ramp_plan(), rules="Kayente", **LEAN)
    with pytest.raises(PlanError, match="rules is empty"):
        ck.replay(log, ramp_plan(), rules=(), **LEAN)
    with pytest.raises(DataError, match="Did you mean 'canarykit'"):
        lived.acted(FIVE, "canarykitt")
    with pytest.raises(DataError, match="nothing to replay"):
        ck.replay(log, ramp_plan(), segments=(), as_of="2026-09-08T09:00:00Z")
