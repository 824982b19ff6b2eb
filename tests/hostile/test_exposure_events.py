# ruff: noqa: E501
"""Exposures are told by the older and the newer name of PostHog's event, and each call counts once."""

import pandas as pd
import pytest

import canarykit as ck


def told(event, who, value, minute, **properties):
    at = pd.Timestamp("2026-09-07T09:00:00Z") + pd.Timedelta(minutes=minute)
    flag = {"$feature_flag": "f", "$feature_flag_response": value}
    return {"event": event, "distinct_id": who, "timestamp": at, **flag, **properties}


def both(who, value, minute):
    return [told(event, who, value, minute) for event in ("$feature_flag_called", "$experiment_exposure")]


OLD = [
    told("$feature_flag_called", who, value, k)
    for k, (who, value) in enumerate([("a", "true"), ("b", "false")])
]


@pytest.mark.parametrize("rows", [
    OLD,
    [{**row, "event": "$experiment_exposure"} for row in OLD],
    [row for k, (who, value) in enumerate([("a", "true"), ("b", "false")]) for row in both(who, value, k)],
    [OLD[0], {**OLD[1], "event": "$experiment_exposure"}],
])  # fmt: skip
def test_the_same_people_are_exposed_whichever_event_tells_it(rows):
    found = ck.exposures(ck.EventLog(pd.DataFrame(rows)), "f")
    assert found.people[["person_id", "variant"]].values.tolist() == [["a", "true"], ["b", "false"]]
    assert "source" not in {note.code for note in found.notes}


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
