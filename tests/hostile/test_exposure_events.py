# ruff: noqa: E501
"""Exposures are told by the older and the newer name of PostHog's event, and each call counts once."""

import pandas as pd
import pytest

import canarykit as ck


def exposure_of(event, who, value, minute, **properties):
    at = pd.Timestamp("2026-09-07T09:00:00Z") + pd.Timedelta(minutes=minute)
    flag = {"$feature_flag": "f", "$feature_flag_response": value}
    return {"event": event, "distinct_id": who, "timestamp": at, **flag, **properties}


def both(who, value, minute):
    return [
        exposure_of(event, who, value, minute) for event in ("$feature_flag_called", "$experiment_exposure")
    ]


OLD = [
    exposure_of("$feature_flag_called", who, value, k)
    for k, (who, value) in enumerate([("a", "true"), ("b", "false")])
]


@pytest.mark.parametrize("rows", [
    OLD,
    [{**row, "event": "$experiment_exposure"} for row in OLD],
    [row for k, (who, value) in enumerate([("a", "true"), ("b", "false")]) for row in both(who, value, k)],
    [OLD[0], {**OLD[1], "event": "$experiment_exposure"}],
])  # fmt: skip
def test_the_same_people_are_exposed_whichever_event_tells_it(rows):
    exposed = ck.exposures(ck.EventLog(pd.DataFrame(rows)), "f")
    assert exposed.people[["person_id", "variant"]].values.tolist() == [["a", "true"], ["b", "false"]]
    assert "source" not in {note.code for note in exposed.notes}


def test_a_call_without_a_value_that_stands_twice_counts_once():
    rows = [*both("a", "true", 0), *both("b", None, 1), *both("b", "false", 2)]
    notes = {note.code: note.count for note in ck.exposures(ck.EventLog(pd.DataFrame(rows)), "f").notes}
    assert notes["unknown_values"] == 1


def test_the_newer_event_alone_may_carry_the_value_under_the_flags_name():
    rows = [
        {"event": "$experiment_exposure", "distinct_id": "a", "timestamp": "2026-09-07T09:05:00Z", "$feature/f": "test"},
        {"event": "$pageview", "distinct_id": "a", "timestamp": "2026-09-07T09:00:00Z", "$feature/f": "test"},
    ]  # fmt: skip
    people = ck.exposures(ck.EventLog(pd.DataFrame(rows)), "f").people
    assert people["exposed_at"].tolist() == [pd.Timestamp("2026-09-07T09:05:00Z")]


def renamed(rows, spelling):
    """The same calls under the older name, the newer one, both, or as values that the newer one carries."""
    value = lambda row: {  # noqa: E731
        **{k: v for k, v in row.items() if not k.startswith("$feature_flag")},
        "event": "$experiment_exposure", "$feature/f": row["$feature_flag_response"],
    }  # fmt: skip
    newer = [{**row, "event": "$experiment_exposure"} for row in rows]
    carried = [{**value(row), "event": "$pageview"} for row in rows]
    return {
        "older": rows, "newer": newer, "both": [*rows, *newer], "under the flag's name": [value(row) for row in rows],
        "carried by any event": carried,
    }[spelling]  # fmt: skip


SPELLINGS = ["older", "newer", "both", "under the flag's name", "carried by any event"]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_question_reads_the_same_answers_whichever_event_tells_them(spelling):
    calls = [exposure_of("$feature_flag_called", f"u{k}", "true" if k % 2 else "false", k) for k in range(60)]
    calls += [
        exposure_of("$feature_flag_called", "u0", "true", 100)
    ]  # the ramp moves somebody into the canary
    error = {"event": "$exception", "distinct_id": "u0", "$exception_type": "New"}
    at = pd.Timestamp("2026-09-07T11:00:00Z")
    log = ck.EventLog(pd.DataFrame([*renamed(calls, spelling), {**error, "timestamp": at}]))
    flag = ck.Flag("f", (ck.Condition(rollout_percentage=100),))

    audit = ck.audit_assignment(log, flag)
    assert (len(audit.people), int(audit.people["calls"].sum())) == (61, 61)
    assert audit.people.loc[audit.people["observed"] == "true", "distinct_id"].nunique() == 31

    row = ck.flag_overview(ck.FlagSet([flag]), log, as_of="2026-09-08T00:00:00Z").rows[0]
    assert (row["people_observed"], row["share_observed"]) == (60, 31 / 60)
    assert row["last_call"] == pd.Timestamp("2026-09-07T10:40:00Z")

    assert ck.exceptions_by_flag(log, "f").new_in_canary["what"].tolist() == ["New"]

    plan = ck.RolloutPlan("f", (ck.Stage.for_everyone(),), starts_at="2026-09-07T09:00:00Z")
    report = ck.evaluate_stage(log, plan, plan.stage_names[0], as_of="2026-09-08T00:00:00Z")
    assert "61 calls" in report.check("still asked for").meaning.replace("events with its value", "calls")
