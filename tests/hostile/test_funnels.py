"""Funnels keep apart what looks alike, and give each step what is its own."""

# ruff: noqa: E501

import datetime
import time

import pandas as pd
import pytest

import canarykit as ck
from canarykit.errors import DataError, PlanError
from canarykit.funnels.answers.funnel import Funnel
from canarykit.funnels.api import funnel_query
from canarykit.funnels.engine.runs import FunnelRun


def event(who, name, minute, **properties):
    at = pd.Timestamp("2026-09-07T09:00:00Z") + pd.Timedelta(minutes=minute)
    return {"event": name, "distinct_id": who, "timestamp": at, "$session_id": f"{who}-{name}", **properties}


def log_of(*rows):
    return ck.EventLog(pd.DataFrame(rows))


def test_each_step_has_its_own_time_people_and_session_where_some_are_optional():
    log = log_of(
        event("u", "a", 0), event("u", "c", 5), event("v", "a", 0), event("v", "b", 1), event("v", "c", 3)
    )
    funnel = ck.funnel_by_flag(log, ["a", "b", "c"], optional=["b"])
    assert [row["average_seconds"] for row in funnel.rows] == [None, None, 240.0]
    seen = {
        step: [
            (row["person_id"], f"{row['last_at']:%M}", row["session_id"]) for row in funnel.people(step).rows
        ]
        for step in "abc"
    }
    assert seen["b"] == [("v", "01", "v-b")]
    assert seen["c"] == [("u", "05", "u-c"), ("v", "03", "v-c")]
    assert all(found["event"] == found["name"] for step in "abc" for found in funnel.people(step).events)
    posthog = [step["average_conversion_time"] for step in funnel.to_posthog()]
    assert posthog == [None, 240.0, None]  # PostHog gives the time to the second time that it recorded


def test_a_value_called_other_stands_beside_the_sum_of_the_rest():
    values = ["Other"] * 3 + list("vwxyz")
    log = log_of(*[event(f"u{i}", name, k, p=v) for i, v in enumerate(values) for k, name in enumerate("ab")])
    funnel = ck.funnel_by_flag(log, ["a", "b"], breakdown="p", limit=2)
    assert funnel.counts == {"Other": [3, 3], "v": [1, 1], "Other (the rest)": [4, 4]}
    assert funnel.rest == "Other (the rest)"
    assert len(funnel.people("b", variant="Other").rows) == 3
    with pytest.raises(PlanError, match="sums what is beyond the limit"):
        funnel.people("b", variant="Other (the rest)")
    assert [steps[0]["breakdown_value"] for steps in funnel.to_posthog()] == [
        [label] for label in funnel.counts
    ]
    plain = ck.funnel_by_flag(log, ["a", "b"], breakdown="p", limit=1)
    assert list(plain.counts) == ["Other", "Other (the rest)"]


def test_counts_of_thousands_of_values_are_ready_at_once():
    import numpy as np

    n = 8_000
    query = funnel_query(["a", "b"], breakdown="p", limit=None)
    run = FunnelRun(
        labels=tuple(f"v{k}" for k in range(n)), value=np.arange(n, dtype=np.int32),
        reached=np.ones(n, np.int8), bits=np.full(n, 3), times=np.tile([0, 1], (n, 1)),
    )  # fmt: skip
    funnel = Funnel.from_run(query, run)
    begun = time.perf_counter()
    assert len(funnel.counts) == n
    assert time.perf_counter() - begun < 20  # quadratic, it would take minutes


@pytest.mark.parametrize("given", ["a", ["a"], ("a",)])
def test_one_name_is_one_name_however_it_is_given(given):
    rows = [
        event(who, name, k) for who in "uv" for k, name in enumerate(["s", *("a" if who == "v" else ""), "t"])
    ]
    assert ck.funnel_by_flag(log_of(*rows), ["s", "t"], exclusions=given).counts[None] == [1, 1]
    optional = ck.funnel_by_flag(log_of(*rows), ["s", "a", "t"], optional=given).counts[None]
    assert optional == [2, 1, 2]


def test_one_error_event_is_one_name_for_sessions():
    call = event("u", "$feature_flag_called", 0, **{"$feature_flag": "f", "$feature_flag_response": "true"})
    log = log_of(call, event("u", "$exception", 1))
    assert ck.sessions_by_flag(log, "f", errors="$exception").sessions["errors"].sum() == 1


@pytest.mark.parametrize("day", [
    "2026-09-07", "2026-9-7", "20260907", "2026/09/07", datetime.date(2026, 9, 7),
])  # fmt: skip
def test_a_day_is_the_whole_day_however_it_is_written(day):
    log = log_of(event("u", "a", 0), event("u", "b", 14 * 60))  # 23:00
    assert ck.funnel_by_flag(log, ["a", "b"], date_from=day, date_to=day).counts[None] == [1, 1]


@pytest.mark.parametrize("day, message", [
    ("2026-09", "expected a day"), ("September", "expected a day"), ("2026", "expected a day"),
    ("2026-02-30", "not a day of the calendar"), ("20260230", "not a day of the calendar"),
    ("0001-01-01", "counted from the year 1678"), ("9999-12-31", "counted from the year 1678 to 2261"),
    ("9999-12-31T00:00Z", "counted from"), (datetime.date(9999, 12, 31), "counted from"), ("now", "expected a day"),
    ("today", "expected a day"), (5, "expected a time"), ("99:99", "expected a time"),
])  # fmt: skip
def test_what_is_neither_a_day_nor_a_moment_is_refused(day, message):
    log = log_of(event("u", "a", 0), event("u", "b", 1))
    with pytest.raises(DataError, match=message):
        ck.funnel_by_flag(log, ["a", "b"], date_to=day)


def test_a_day_whose_midnight_does_not_exist_begins_with_its_clock_change():
    log = log_of(event("u", "a", 0), event("u", "b", 1))
    for zone, day in (("America/Santiago", "2026-09-06"), ("Africa/Cairo", "2026-04-24")):
        query = funnel_query(["a", "b"], date_from=day, date_to=day, timezone=zone)
        length = query.date_to_us - query.date_from_us + 1
        assert length == 23 * 3_600_000_000
        ck.funnel_by_flag(log, ["a", "b"], date_from=day, timezone=zone)


@pytest.mark.parametrize("unit, meant", [
    ("persons", "'person'"), ("group:company", "'group:0'"), ("Person", "'person'"), ("sessions", "'session'"),
    ("group:", "'group:0'"), ("property:", "property"), ("distinct id", "'distinct_id'"), (None, "'person'"), ("", "'person'"),
])  # fmt: skip
def test_what_is_counted_is_spelt_as_it_is_read(unit, meant):
    with pytest.raises(PlanError, match="aggregate_by is") as refused:
        funnel_query(["a", "b"], aggregate_by=unit)
    assert meant in str(refused.value)


@pytest.mark.parametrize("joined", ["or", "Or", "and", "XOR", None, 5])
def test_filters_are_joined_by_and_or_or_in_capitals(joined):
    filters = {"type": joined, "values": [{"property": "p", "value": "x"}]}
    with pytest.raises(PlanError, match="a group of filters has type"):
        funnel_query(["a", "b"], filters=filters)


@pytest.mark.parametrize("filters", [
    [{"property": "p", "value": float("nan")}], [{"property": "p", "value": [1, float("inf")]}],
    [{"property": "p", "value": {"a": 1}}], {"p": float("nan")},
])  # fmt: skip
def test_a_filter_on_what_is_not_a_value_is_refused(filters):
    with pytest.raises(PlanError, match="has the value"):
        funnel_query(["a", "b"], filters=filters)
