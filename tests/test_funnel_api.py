"""What one may ask of `funnel_by_flag`, what it refuses, and whom attribution by exposure counts."""

import subprocess
import sys

import pandas as pd
import pytest

import canarykit as ck
from canarykit.errors import PlanError
from canarykit.funnels.api import funnel_query
from canarykit.funnels.engine.feed import shard_column
from canarykit.funnels.engine.filters import matcher
from canarykit.funnels.question.parse import read_window
from canarykit.funnels.question.specs import Filter

START = pd.Timestamp("2026-09-07T09:00:00Z")


def log_of(*events, **options):
    """(person, minute, event, properties) rows as a log."""
    rows = [
        {"distinct_id": who, "timestamp": START + pd.Timedelta(minutes=minute), "event": name, **properties}
        for who, minute, name, properties in events
    ]
    return ck.EventLog(pd.DataFrame(rows), **options)


def saw(who, minute, variant):
    return who, minute, "$feature_flag_called", {"$feature_flag": "new", "$feature_flag_response": variant}


REFUSED = {
    "one step": ({"steps": ["a"]}, "at least two steps"),
    "too many steps": ({"steps": ["a"] * 33}, "33 steps; a steps funnel has at most 32"),
    "order": ({"order": "orderd"}, "Did you mean 'ordered'"),
    "range": (
        {"exclusions": [{"event": "x", "from_step": 1, "to_step": 1}]},
        "exclusion 0.*range is invalid",
    ),
    "beyond": ({"exclusions": [{"event": "x", "from_step": 0, "to_step": 3}]}, "steps 0 to 3.*the last step"),
    "own step": ({"exclusions": ["b"]}, "exclusion 0 .'b'.*is step 1 itself"),
    "partial": (
        {"order": "unordered", "exclusions": [{"event": "x", "from_step": 0, "to_step": 1}]},
        "partial exclusions are not allowed in unordered funnels; expected steps 0 to 2",
    ),
    "optional first": ({"optional": [0]}, "step 0 .'a'. is optional; the first step cannot be optional"),
    "optional unordered": (
        {"optional": [1], "order": "unordered"},
        "optional steps need an ordered or strict",
    ),
    "optional twin": ({"steps": ["a", "b", "b"], "optional": [1]}, "optional step 1 .'b'. equals step 2"),
    "optional name": (
        {"steps": ["cart", "pay"], "optional": ["pey"]},
        "optional step 'pey' is not a step.*'pay'",
    ),
    "attribution step": ({"flag": "new", "attribution": ("step", 3)}, "attribution step 3 does not exist"),
    "unordered by step": (
        {"flag": "new", "attribution": ("step", 1), "order": "unordered"},
        "unordered funnels attribute by step 0 only",
    ),
    "exposure without flag": ({"breakdown": "plan", "attribution": "exposure"}, "needs a flag"),
    "bare number": ({"within": 14}, "a number with its unit"),
    "weekday": ({"days_of_week": [0]}, "ISO weekdays"),
    "limit": ({"flag": "new", "limit": 0}, "expected 1 or more"),
    "no event": ({"steps": ["a", {"filters": []}]}, "step 1 names no event"),
    "setting": ({"steps": ["a", {"event": "b", "filter": []}]}, "step 1 has no setting 'filter'.*'filters'"),
    "first time": ({"steps": ["a", {"event": "b", "math": "first_time"}]}, "step 1: math 'first_time'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_question_names_the_step_and_the_rule(name):
    settings, message = REFUSED[name]
    with pytest.raises(PlanError, match=message):
        funnel_query(**{"steps": ["a", "b", "c"], **settings})


@pytest.mark.parametrize(
    "operator, value, passing, failing",
    [
        ("exact", [True, 95], ["true", "95"], ["True", "95.5", None]),
        ("is_not", "pro", ["free", None], ["pro"]),
        ("icontains", "@ACME", ["ada@acme.io"], ["ada@x.io", None]),
        ("not_icontains", "@acme", ["ada@x.io", None], ["ada@ACME.io"]),
        ("regex", r"^\d+$", ["42"], ["4x", None]),
        ("not_regex", r"^\d+$", ["4x", None], ["42"]),
        ("gt", 9, ["10", "9.5"], ["9", "x", None]),
        ("lte", "9", ["9", "-1"], ["9.5", None]),
        ("between", [1, 3], ["1", "2.5", "3"], ["3.1", None]),
        ("is_set", None, ["x"], [None]),
        ("is_not_set", None, [None], ["x"]),
        ("is_date_after", "2026-09-07", ["2026-09-08T00:00:00Z"], ["2026-09-06", "soon", None]),
    ],
)
def test_filters_compare_by_text_and_missing_satisfies_the_negative(operator, value, passing, failing):
    test = matcher(Filter("p", tuple(value) if isinstance(value, list) else value, operator))
    assert [text for text in [*passing, *failing] if test(text)] == passing


def test_a_month_is_31_days_and_posthogs_zero_window_is_fourteen():
    assert read_window("1 month") == 31 * read_window("1d")
    assert read_window({"interval": -1, "unit": "day"}) == read_window("14d")
    assert read_window({"interval": None, "unit": "week"}) == 14 * read_window("7d")


def test_a_date_is_the_whole_day_of_its_zone_and_both_ends_are_included():
    query = funnel_query(["a", "b"], date_from="2026-09-07", date_to="2026-09-07", timezone="Asia/Tokyo")
    assert str(query.date_from) == "2026-09-06 15:00:00+00:00"
    assert str(query.date_to) == "2026-09-07 14:59:59.999999+00:00"


def test_exposure_counts_from_the_first_exposure_and_sets_people_of_two_variants_apart():
    log = log_of(
        ("early", 0, "open", {}), saw("early", 1, "test"), ("early", 2, "pay", {}),
        saw("ada", 0, "test"), ("ada", 1, "open", {}), ("ada", 2, "pay", {}),
        saw("bob", 0, "control"), ("bob", 1, "open", {}),
        saw("cat", 0, "control"), saw("cat", 1, "test"), ("cat", 2, "open", {}), ("cat", 3, "pay", {}),
        saw("dan", 0, "control"),
        ("eve", 0, "open", {}),
    )  # fmt: skip
    funnel = ck.funnel_by_flag(log, ["open", "pay"], flag="new", attribution="exposure")
    assert funnel.counts == {"control": [1, 0], "test": [1, 1]}
    people = {row["variant"]: row["people"] for row in funnel.rows}
    assert people == {"control": 2, "test": 2}  # dan and early were exposed, and never entered afterwards
    assert any(note.count == 1 and "several" in str(note) for note in funnel.notes)


def test_first_touch_credits_a_missing_flag_to_the_value_seen_later_and_exposure_does_not():
    feature = "$feature/new"
    log = log_of(
        ("ada", 0, "open", {feature: None}), saw("ada", 1, "test"), ("ada", 2, "pay", {feature: "test"}),
    )  # fmt: skip
    assert ck.funnel_by_flag(log, ["open", "pay"], flag="new").counts == {"test": [1, 1]}
    exposed = ck.funnel_by_flag(log, ["open", "pay"], flag="new", attribution="exposure")
    assert exposed.counts == {"test": [0, 0]}


def test_merged_persons_are_one_actor_and_distinct_ids_are_not():
    persons = pd.DataFrame({"distinct_id": ["anon", "ada"], "person_id": ["p", "p"]})
    log = log_of(("anon", 0, "open", {}), ("ada", 1, "pay", {}), persons=persons)
    assert ck.funnel_by_flag(log, ["open", "pay"]).counts == {None: [1, 1]}
    assert ck.funnel_by_flag(log, ["open", "pay"], aggregate_by="distinct_id").counts == {None: [1, 0]}


def test_sessions_do_not_join_and_events_without_one_are_dropped():
    session = "$session_id"
    log = log_of(
        ("ada", 0, "open", {session: "s1"}), ("ada", 1, "pay", {session: "s2"}), ("ada", 2, "open", {}),
    )  # fmt: skip
    assert ck.funnel_by_flag(log, ["open", "pay"], aggregate_by="session").counts == {None: [1, 0]}


def test_a_first_time_step_looks_back_past_the_range_and_past_its_filters():
    events = [
        ("ada", 0, "open", {"plan": "free"}),
        ("ada", 2000, "open", {"plan": "pro"}),
        ("ada", 2001, "pay", {}),
    ]
    first = {"event": "open", "math": "first_time_for_user"}
    log = log_of(*events)
    assert ck.funnel_by_flag(log, [first, "pay"]).counts == {None: [1, 1]}
    assert ck.funnel_by_flag(log, [first, "pay"], date_from="2026-09-08").counts == {}
    assert ck.funnel_by_flag(log, [{**first, "filters": {"plan": "pro"}}, "pay"]).counts == {}
    filtered = {**first, "math": "first_time_for_user_with_filters", "filters": {"plan": "pro"}}
    assert ck.funnel_by_flag(log, [filtered, "pay"]).counts == {None: [1, 1]}


def test_a_first_time_step_of_groups_is_refused_where_shards_part_a_persons_events():
    step = {"event": "open", "math": "first_time_for_user"}
    query = funnel_query([step, "pay"], aggregate_by="group:0")
    assert shard_column(query, "pandas") == "$group_0"
    with pytest.raises(PlanError, match=r"first-time step counted by 'group:0'.*count by person"):
        shard_column(query, "spark")


def test_values_beyond_the_limit_are_summed_as_other():
    cities = ["Oslo"] * 3 + ["Rome"] * 2 + ["Kyiv", "Lima"]
    events = [(f"u{i}", 0, "open", {"city": city}) for i, city in enumerate(cities)]
    funnel = ck.funnel_by_flag(log_of(*events), ["open", "pay"], breakdown="city", limit=2)
    assert funnel.counts == {"Oslo": [3, 0], "Rome": [2, 0], "Other": [2, 0]}


def test_a_small_funnel_never_waits_for_a_compiler():
    script = """
import sys, numpy as np, pandas as pd, canarykit as ck
rng, n = np.random.default_rng(0), 20_000
frame = pd.DataFrame({
    "event": np.array(["a", "b", "c", "d"])[rng.integers(4, size=n)],
    "timestamp": pd.to_datetime(rng.integers(10**6, size=n), unit="s", utc=True),
    "distinct_id": rng.integers(3000, size=n).astype(str),
    "$feature/new": np.array(["true", "false"])[rng.integers(2, size=n)],
})
funnel = ck.funnel_by_flag(frame, ["a", "b", "c", "d"], flag="new", exclusions=["z"], order="strict")
print(sum(map(sum, funnel.counts.values())) > 0, "numba" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_a_funnel_that_people_walked_to_its_end_asks_for_no_names(monkeypatch):
    log = log_of(saw("ada", 0, "test"), ("ada", 1, "a", {"$feature/new": "test"}), ("ada", 2, "b", {}))
    monkeypatch.setattr(ck.EventLog, "event_names", lambda log: pytest.fail("one more pass over the events"))
    assert ck.funnel_by_flag(log, ["a", "b"], flag="new").counts["test"] == [1, 1]
