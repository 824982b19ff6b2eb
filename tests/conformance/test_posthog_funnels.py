"""PostHog's own funnel expectations, re-expressed as facts, asked from log to funnel."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from canarykit.errors import PlanError
from canarykit.events import EventLog
from canarykit.funnels.answers.numbers import step_table, time_to_convert
from canarykit.funnels.engine.runs import ActorSelection
from canarykit.funnels.question.parse import (
    read_breakdown,
    read_exclusion,
    read_filters,
    read_step,
    read_window,
)
from canarykit.funnels.question.specs import FunnelQuery, TrendSpec
from canarykit.funnels.run import run_funnel, run_trend
from canarykit.times import to_utc

CASE_FILE = "posthog_funnel_cases.jsonl"
KINDS = ("ordered", "strict", "unordered", "time_to_convert", "trends", "actors")
ORDERS = ("ordered", "strict", "unordered")
CASE_KEYS = {
    "id", "kind", "order", "steps", "properties", "window", "date_from", "date_to", "timezone", "exclusions",
    "optional_steps", "breakdown", "aggregate_by", "from_step", "to_step", "bin_count", "interval",
    "week_start", "days_of_week", "tie_width_seconds", "viz", "period", "drop_off", "recordings",
    "actors_step", "persons", "groups", "events", "expect", "filters", "source",
}  # fmt: skip
REASONS = (
    "a funnel needs at least two steps",
    "a steps funnel has at most 32 steps",
    "exclusion step range is invalid",
    "an exclusion may not be one of the steps it lies between",
    "an optional step cannot equal the required step after it",
    "from_step / to_step is out of range or reversed",
    "optional steps need an ordered or strict steps funnel",
    "partial exclusions are not allowed in unordered funnels",
    "the first step cannot be optional",
)


def log_of(case) -> EventLog:
    persons_of, groups_of = case.get("persons") or (), case.get("groups") or ()
    owner = {d: p["id"] for p in persons_of for d in p["distinct_ids"]}
    events = pd.DataFrame(
        {
            "event": pd.Series([e["event"] for e in case["events"]], dtype="object"),
            "distinct_id": pd.Series([e["distinct_id"] for e in case["events"]], dtype="object"),
            "person_id": pd.Series(
                [owner.get(e["distinct_id"], e["distinct_id"]) for e in case["events"]], dtype="object"
            ),
            "timestamp": pd.to_datetime([e["timestamp"] for e in case["events"]], utc=True, format="ISO8601"),
            "uuid": pd.Series([str(i) for i in range(len(case["events"]))], dtype="object"),
            "properties": pd.Series(
                [json.dumps(e.get("properties") or {}) for e in case["events"]], dtype="object"
            ),
        }
    )
    persons = pd.DataFrame(
        [
            {"person_id": p["id"], "distinct_id": d, "properties": json.dumps(p.get("properties") or {})}
            for p in persons_of
            for d in p["distinct_ids"]
        ],
        columns=["person_id", "distinct_id", "properties"],
    )
    groups = pd.DataFrame(
        [
            {
                "group_type_index": g.get("type_index", 0),
                "group_key": g["key"],
                "properties": json.dumps(g.get("properties") or {}),
            }
            for g in groups_of
        ],
        columns=["group_type_index", "group_key", "properties"],
    )
    return EventLog(events, persons=persons, groups=groups)


def query_of(case) -> FunnelQuery:
    unknown = set(case) - CASE_KEYS
    assert not unknown, f"unknown settings {unknown}"
    steps = tuple(read_step(step, position=k) for k, step in enumerate(case["steps"]))
    exclusions = tuple(
        read_exclusion(exclusion, n_steps=len(steps), position=k)
        for k, exclusion in enumerate(case.get("exclusions") or ())
    )
    return FunnelQuery(
        steps=steps,
        order=case.get("order") or (case["kind"] if case["kind"] in ORDERS else "ordered"),
        window_us=read_window(case.get("window")),
        exclusions=exclusions,
        optional=tuple(case.get("optional_steps") or ()),
        breakdown=read_breakdown(case.get("breakdown")),
        aggregate_by=case.get("aggregate_by") or "person",
        date_from=to_utc(case["date_from"], tz="UTC"),
        date_to=to_utc(case["date_to"], tz="UTC"),
        filters=read_filters(case.get("properties")),
        days_of_week=tuple(case.get("days_of_week") or ()),
        timezone=case.get("timezone") or "UTC",
        tie_width_us=round((case.get("tie_width_seconds") or 0) * 1e6),
    )


def trend_spec(case) -> TrendSpec:
    return TrendSpec(
        interval=case.get("interval") or "day",
        from_step=case.get("from_step") or 0,
        to_step=case.get("to_step"),
        week_start=case.get("week_start") or "sunday",
    )


def is_trend(case) -> bool:
    return case["kind"] == "trends" or case.get("viz") == "trends"


def label_of(key: str, case):
    """The engine's label for a key of `by_breakdown`."""
    if case.get("breakdown") is None:
        return None
    names = case["breakdown"]["property"]
    if isinstance(names, list) and len(names) > 1:
        return tuple(json.loads(key)) if key.startswith("[") else (key,)  # ("Other",)
    return key


def entries_of(expected):
    """(position, value) pairs of a complete list or of an object of positions."""
    if isinstance(expected, dict):
        return [(int(position), value) for position, value in expected.items()]
    return list(enumerate(expected))


def equal(got, expected, *, complete: bool = True):
    if complete and isinstance(expected, list):
        assert len(got) == len(expected)
    for position, value in entries_of(expected):
        mine = got[position]
        if value is None:
            assert mine is None or np.isnan(mine), f"position {position}: {mine}, expected nothing"
        else:
            assert mine == pytest.approx(value, abs=1e-6), f"position {position}: {mine}, expected {value}"


def test_the_funnel_gives_posthogs_answer(case):
    assert case["kind"] in KINDS, f"unknown kind {case['kind']!r}"
    expect = case["expect"]
    if expect.get("error"):
        assert_refused(case)
    elif is_trend(case):
        assert_trend(case)
    elif case["kind"] == "time_to_convert":
        assert_times(case)
    else:
        assert_steps(case)


def assert_refused(case):
    """Refused, and for the reason the case gives where it gives one of ours."""
    with pytest.raises(PlanError) as refusal:
        ask(case)
    reason = case["expect"]["error"]
    if reason in REASONS:
        assert reason in str(refusal.value)


def ask(case):
    query = query_of(case)
    if is_trend(case):
        return run_trend(log_of(case), query, trend_spec(case))
    run = run_funnel(log_of(case), query)
    if case["kind"] != "time_to_convert":
        return run if "actors_step" not in case else selection_of(case["actors_step"])
    return time_to_convert(run, query, case.get("from_step"), case.get("to_step"), case.get("bin_count"))


def assert_steps(case):
    query, log, expect = query_of(case), log_of(case), case["expect"]
    readers = {
        "by_breakdown", "empty", "n_breakdowns", "breakdown_values", "total_median_seconds",
        "matched_sessions", "converted_ids", "dropped_ids",
    }  # fmt: skip
    assert set(expect) <= readers, f"unknown expectations {set(expect) - readers}"
    run = run_funnel(log, query)
    table = step_table(run, query)
    if expect.get("empty"):
        assert run.labels == ()
        assert len(run) == 0
    if "n_breakdowns" in expect:
        assert len(run.labels) == expect["n_breakdowns"]
    if "breakdown_values" in expect:
        assert {as_key(label) for label in run.labels} == {as_key(v) for v in expect["breakdown_values"]}
    if "total_median_seconds" in expect:
        equal([table.total_median_seconds], [expect["total_median_seconds"]])
    for key, facts in expect.get("by_breakdown", {}).items():
        assert_row(facts, label_of(key, case), run, table, query, log)
    for dropped in (False, True):
        facts = expect.get("dropped_ids" if dropped else "converted_ids")
        if facts is not None:
            assert_people({"converted_ids": {}, "dropped_ids": {}} | {
                "dropped_ids" if dropped else "converted_ids": facts
            }, None, query, log, any_label=True)  # fmt: skip
    if "matched_sessions" in expect:
        selection = selection_of(case["actors_step"])
        people = run_funnel(log, query, select=selection)
        step = query.last_required_before(selection.step) if selection.dropped else selection.step
        assert_sessions(people, step, case.get("recordings") or (), expect["matched_sessions"])


def selection_of(actors_step) -> ActorSelection:
    """PostHog's `funnelStep`: k did step k, -k dropped before it, counted from 1."""
    return ActorSelection(step=abs(actors_step) - 1, dropped=actors_step < 0)


def as_key(label):
    if isinstance(label, list | tuple):
        return label[0] if len(label) == 1 else tuple(label)
    return label


def assert_row(facts, label, run, table, query, log):
    readers = {
        "counts", "avg_seconds", "median_seconds", "converted_ids", "dropped_ids",
        "converted_counts", "dropped_counts",
    }  # fmt: skip
    assert set(facts) <= readers, f"unknown expectations {set(facts) - readers}"
    n = query.n_steps
    if label in run.labels:
        row = run.labels.index(label)
        counts, averages, medians = (
            values[row].tolist() for values in (table.counts, table.average_seconds, table.median_seconds)
        )
    else:
        counts, averages, medians = [0] * n, [None] * n, [None] * n
    equal(counts, facts.get("counts", {}))
    equal(averages, facts.get("avg_seconds", {}))
    equal(medians, facts.get("median_seconds", {}))
    assert_people(facts, label, query, log)


def assert_people(facts, label, query, log, *, any_label=False):
    for name, dropped in (("converted", False), ("dropped", True)):
        for kind in ("ids", "counts"):
            for step, expected in (facts.get(f"{name}_{kind}") or {}).items():
                selection = ActorSelection(int(step) - 1, dropped, label, any_label)
                in_order = sorted(run_funnel(log, query, select=selection).actor_ids.to_pylist())
                assert (in_order == sorted(expected)) if kind == "ids" else (len(in_order) == expected)


def assert_sessions(people, step, recorded, expected):
    matched = people.matched.to_pylist()
    for actor, sessions in expected.items():
        entry = people.actor_ids.to_pylist().index(actor)
        mine = {m["session_id"] for m in matched if m["entry"] == entry and m["step"] == step}
        assert sorted(mine & set(recorded)) == sorted(sessions)


def assert_times(case):
    query, expect = query_of(case), case["expect"]
    keys = {"bins", "avg_seconds", "median_seconds", "empty"}
    assert set(expect) <= keys, f"unknown expectations {set(expect) - keys}"
    run = run_funnel(log_of(case), query)
    times = time_to_convert(run, query, case.get("from_step"), case.get("to_step"), case.get("bin_count"))
    if expect.get("empty"):
        assert len(times.samples) == 0
    if "bins" in expect:
        pairs = zip(times.bin_starts.tolist(), times.bin_counts.tolist(), strict=True)
        assert [list(pair) for pair in pairs] == expect["bins"]
    if "avg_seconds" in expect:
        equal([times.average_seconds], [expect["avg_seconds"]])
    if "median_seconds" in expect:
        equal([times.median_seconds], [expect["median_seconds"]])


def period_of(text, run, query) -> int:
    """Index of the period that starts at a date (or time) of the query's zone."""
    start = pd.Timestamp(text)
    start = start.tz_localize(query.timezone) if start.tzinfo is None else start
    return run.periods.tolist().index(int(start.value // 1000))


def assert_trend(case):
    query, log, expect = query_of(case), log_of(case), case["expect"]
    readers = {
        "by_breakdown", "n_breakdowns", "n_periods", "days", "entered", "reached", "rates",
        "converted_ids", "dropped_ids", "converted_counts", "dropped_counts", "matched_sessions", "empty",
        "breakdown_values",
    }  # fmt: skip
    assert set(expect) <= readers, f"unknown expectations {set(expect) - readers}"
    run = run_trend(log, query, trend_spec(case), select=True)
    if "n_periods" in expect:
        assert len(run.periods) == expect["n_periods"]
    if "n_breakdowns" in expect:
        assert len(run.labels) == expect["n_breakdowns"]
    if "breakdown_values" in expect:
        assert {as_key(label) for label in run.labels} == {as_key(v) for v in expect["breakdown_values"]}
    if expect.get("empty"):
        assert run.entered.sum() == 0
    if "days" in expect:
        assert [period_of(day, run, query) for day in expect["days"]] == list(range(len(run.periods)))
    assert_trend_rows(expect, range(len(run.labels)), run, case, query)
    for key, facts in expect.get("by_breakdown", {}).items():
        rows = [i for i, label in enumerate(run.labels) if label == label_of(key, case)]
        assert_trend_rows(facts, rows, run, case, query)
    if "matched_sessions" in expect:
        period = period_of(case["period"], run, query)
        ids, sessions = run.actor_ids.to_pylist(), run.actor_session.to_pylist()
        for actor, expected in expect["matched_sessions"].items():
            mine = {sessions[i] for i in range(len(ids)) if ids[i] == actor and run.actor_period[i] == period}
            assert sorted(mine & set(case.get("recordings") or ())) == sorted(expected)


def assert_trend_rows(facts, rows, run, case, query):
    """The facts of one breakdown value (nobody had it: no row), or of all of them together."""
    rows = list(rows)
    together = replace(
        run, entered=run.entered[rows].sum(axis=0)[None], reached=run.reached[rows].sum(axis=0)[None]
    )
    equal(together.entered[0].tolist(), facts.get("entered", {}))
    equal(together.reached[0].tolist(), facts.get("reached", {}))
    rates = np.round(together.reached / np.maximum(together.entered, 1) * 100, 2)
    equal(rates[0].tolist(), facts.get("rates", {}))
    for name, converted in (("converted", True), ("dropped", False)):
        for kind in ("ids", "counts"):
            expected = facts.get(f"{name}_{kind}")
            if isinstance(expected, list | int):
                expected = {case["period"]: expected}
            for day, people in (expected or {}).items():
                chosen = (
                    np.isin(run.actor_label, rows)
                    & (run.actor_period == period_of(day, run, query))
                    & (run.actor_converted == converted)
                )
                in_order = sorted(np.array(run.actor_ids.to_pylist(), dtype=object)[chosen])
                assert (in_order == sorted(people)) if kind == "ids" else (len(in_order) == people)
