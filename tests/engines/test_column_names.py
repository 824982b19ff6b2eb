"""Columns that are called otherwise: every engine reads them as it reads those of the contract."""

import json

import pandas as pd
import pyarrow as pa
import pytest

import canarykit as ck
from tests.engines.logs_everywhere import CHEAP, LINES, SLOW, log_of

OTHERS = {
    "event": "event_name", "timestamp": "ts", "distinct_id": "user", "properties": "props",
    "uuid": "event_id",
}  # fmt: skip
ASKED = ["event", "timestamp", "person_id", "distinct_id", "uuid", "amount"]


@pytest.fixture(
    params=[*CHEAP, *LINES, "csv", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def engine(request):
    return request.param


@pytest.fixture
def opened(engine, tmp_path, request):
    spark = request.getfixturevalue("spark") if engine == "spark" else None
    return lambda table, options=None: log_of(engine, table, tmp_path, spark, **(options or {}))


def events():
    """Rows of which two are one event, one has no id, and two join ids."""
    rows = [
        ("view", "ada", "u1", {"amount": 1}),
        ("paid", "ada", "u2", {"amount": 2}),
        ("paid", "ada", "u2", {"amount": 3}),
        ("paid", None, "u3", {"amount": 4}),
        ("$identify", "ada", "u4", {"$anon_distinct_id": "anon-1"}),
        ("paid", "anon-1", "u5", {"amount": 5}),
        ("$identify", "bob", "u6", {"$anon_distinct_id": "anon-2"}),
        ("paid", "anon-2", "u7", {"amount": 6}),
        ("paid", "bob", "u8", {}),
    ]
    at = pd.date_range("2026-09-07T09:00Z", periods=len(rows), freq="h").as_unit("us")
    names, ids, uuids, properties = zip(*rows, strict=True)
    return pa.table({
        "event": names, "timestamp": at, "distinct_id": ids, "uuid": uuids,
        "properties": list(map(json.dumps, properties)),
    })  # fmt: skip


def renamed(table):
    return table.rename_columns([OTHERS.get(name, name) for name in table.column_names])


def rows_of(log):
    return sorted(log.select(ASKED).astype(str).values.tolist())


def test_events_under_other_names_read_as_under_those_of_the_contract(opened):
    plain, other = (
        (rows_of(log), {note.code: note.count for note in log.count_dropped()})
        for log in map(opened, (events(), renamed(events())), ({}, OTHERS))
    )
    rows, counts = other
    assert other == plain
    assert len(rows) == 7
    assert (counts["duplicates"], counts["no_id"], counts["merged"]) == (1, 1, 2)
    assert "no_uuid" not in counts


def test_rows_that_nobody_said_how_to_tell_apart_are_not_checked_and_that_is_said(opened):
    log = opened(renamed(events()), {name: OTHERS[name] for name in OTHERS if name != "uuid"})
    said = [note.text for note in log.notes if note.code == "no_uuid"]
    assert said == ['rows are not checked for repeats: no uuid column (write uuid="event_id" if that is one)']
    assert sum(log.event_names().values()) == 8


def test_every_lacking_column_is_named_with_the_line_to_write(opened):
    line = 'event="event_name", timestamp="ts", distinct_id="user", properties="props", uuid="event_id"'
    with pytest.raises(ck.DataError, match=r"lacks? 'event'") as refused:
        opened(renamed(events()))
    assert line in str(refused.value)


def test_persons_of_a_part_of_the_people_leave_the_merges_of_the_others(opened):
    persons = pd.DataFrame({"person_id": ["P-ada"], "distinct_id": ["ada"], "plan": ["pro"]})
    log = opened(events(), {"persons": persons})
    seen = log.select(["distinct_id", "person_id", "person.plan"]).drop_duplicates()
    who = dict(zip(seen["distinct_id"], seen["person_id"], strict=True))
    assert who == {"ada": "P-ada", "anon-1": "P-ada", "bob": "bob", "anon-2": "bob"}
    assert set(seen["distinct_id"][seen["person.plan"] == "pro"]) == {"ada", "anon-1"}
    assert {note.code: note.count for note in log.notes}["merged"] == 2


def test_persons_of_everybody_have_the_last_word_over_merges(opened):
    ids = ["ada", "bob", "anon-1", "anon-2"]
    persons = pd.DataFrame({"person_id": ["A", "B", "A", "C"], "distinct_id": ids})
    log = opened(events(), {"persons": persons})
    seen = log.select(["distinct_id", "person_id"]).drop_duplicates()
    assert dict(zip(seen["distinct_id"], seen["person_id"], strict=True)) == dict(
        zip(ids, ["A", "B", "A", "C"], strict=True)
    )
    assert not {"merged", "merge_refused"} & {note.code for note in log.notes}
