import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import canarykit as ck
from canarykit.events import PRESENT, numeric
from canarykit.events.text import as_text, id_text, in_codes, json_values, value_text

NINE = "2026-09-07T09:00:00Z"


def log_of(rows=None, **columns):
    frame = pd.DataFrame(rows if rows is not None else {"event": ["view"]})
    frame = frame.assign(**columns)
    for name, value in (("timestamp", NINE), ("distinct_id", "ada"), ("event", "view")):
        if name not in frame.columns:
            frame[name] = value
    return ck.EventLog(frame)


def text_of(values, name="x"):
    return (
        log_of({name: values}).select([name])[name].astype(object).where(lambda s: s.notna(), None).tolist()
    )


@pytest.mark.parametrize(
    "values, expected",
    [
        ([True, False, None], ["true", "false", None]),
        ([95, -1, 0], ["95", "-1", "0"]),
        ([95.0, 1.5, np.nan], ["95", "1.5", None]),
        ([1e20, 0.1, 1e-7], ["1e+20", "0.1", "1e-07"]),
        (["true", "", None], ["true", "", None]),
        ([True, "test", None], ["true", "test", None]),
        ([1, "a", 2.0, None], ["1", "a", "2", None]),
        ([{"a": [1, True]}, [1, 2], None], ['{"a":[1,true]}', "[1,2]", None]),
        ([None, None], [None, None]),
        (pd.Categorical(["b", "a", None]), ["b", "a", None]),
        (pd.array([1, None], dtype="Int64"), ["1", None]),
        (pd.array([True, None], dtype="boolean"), ["true", None]),
    ],
)
def test_a_property_is_handed_out_as_the_text_of_its_json(values, expected):
    assert text_of(values) == expected


VALUES = [True, False, None, 95, 1.5, "pro", "", 'say "hi"', "é\n", {"a": [1, "x"]}, [1, 2], "95", -0.5]


@pytest.mark.parametrize("key", ["plain", "$feature/new-checkout", "a.b", 'quo"te', "it's", "a/b~c", "ключ"])
def test_flat_columns_json_text_and_objects_give_the_same_text(key):
    flat = text_of(VALUES, name=key)
    written = log_of({"properties": [json.dumps({key: value}) for value in VALUES]}).select([key])[key]
    nested = log_of({"properties": [{key: value} for value in VALUES]}).select([key])[key]
    for log in (written, nested):
        assert log.astype(object).where(log.notna(), None).tolist() == flat


def test_a_property_that_no_event_has_is_missing_everywhere():
    assert log_of({"properties": ["{}"]}).select(["nowhere"])["nowhere"].isna().all()


def test_a_json_null_and_an_absent_key_are_both_missing():
    texts = pa.chunked_array([['{"a": null}', "{}", '{"a": "null"}']])
    assert json_values(texts, [("a",)])[0].to_pylist() == [None, None, "null"]


def test_json_that_does_not_parse_leaves_its_own_row_unknown_and_is_counted():
    log = log_of({"properties": ['{"a": 1}', '{"a": 2', '{"a": 3}']})
    assert log.select(["a"])["a"].astype(object).where(lambda s: s.notna(), None).tolist() == ["1", None, "3"]
    assert next((note.code, note.count) for note in log.notes) == ("bad_json", 1)


def test_ids_are_text_and_never_floats():
    frame = {"person_id": [1.0, np.nan, 3.0], "distinct_id": ["a", "b", "c"]}
    log = log_of(frame)
    assert log.select(["person_id"])["person_id"].tolist() == ["1", "b", "3"]
    counts = {note.code: note.count for note in log.notes}
    assert counts == {"float_ids": 1, "distinct_id_used": 1}


def test_ids_that_a_float_cannot_hold_are_refused():
    with pytest.raises(ck.DataError, match=r"'person_id' holds ids as floats .* read the column as text"):
        log_of({"person_id": [2.0**53 + 2, np.nan]})
    assert id_text(pa.array([2**60]), "person_id").to_pylist() == ["1152921504606846976"]


def test_blank_ids_are_no_ids():
    log = log_of({"person_id": ["", "p"], "distinct_id": ["d", "d"]})
    assert log.select(["person_id"])["person_id"].tolist() == ["d", "p"]
    nobody = log_of({"person_id": ["", "p"], "distinct_id": ["", "d"]})
    assert nobody.select(["person_id"])["person_id"].tolist() == ["p"]
    assert [(note.code, note.count) for note in nobody.notes] == [("no_id", 1)]


def test_a_persons_table_says_who_a_distinct_id_is_now():
    persons = pd.DataFrame({"distinct_id": ["anon", "ada"], "person_id": ["P", "P"], "plan": ["pro", "pro"]})
    rows = {"distinct_id": ["anon", "ada", "eve"], "person_id": ["old", "P", "E"]}
    log = ck.EventLog(log_of(rows).frame, persons=persons)
    selected = log.select(["person_id", "person.plan"])
    assert selected["person_id"].tolist() == ["P", "P", "E"]
    assert selected["person.plan"].isna().tolist() == [False, False, True]
    assert log.identities.to_dict() == {"anon": "P", "ada": "P"}


def test_person_properties_fall_back_to_those_on_the_event():
    rows = {"person_properties": ['{"email": "a@b.io"}'], "properties": ["{}"]}
    assert log_of(rows).select(["person.email"])["person.email"].tolist() == ["a@b.io"]


def test_the_newest_row_of_a_distinct_id_wins_and_deleted_persons_are_gone():
    persons = pd.DataFrame(
        {
            "distinct_id": ["ada", "ada", "bob"],
            "person_id": ["new", "old", "gone"],
            "person_distinct_id_version": [2, 1, 5],
            "is_deleted": [False, False, True],
            "properties": ['{"n": 1}', "{}", "{}"],
        }
    )
    log = ck.EventLog(log_of({"distinct_id": ["ada", "bob"]}).frame, persons=persons)
    assert log.select(["person_id"])["person_id"].tolist() == ["new", "bob"]
    assert {note.code: note.count for note in log.notes}["persons_repeated"] == 1


def test_group_keys_come_from_their_column_or_from_the_groups_of_the_event():
    rows = {"properties": ['{"$group_0": "a"}', '{"$groups": {"organization": "b"}}', "{}"]}
    groups = pd.DataFrame({"group_type": "organization", "group_key": ["a", "b"], "plan": ["pro", None]})
    log = ck.EventLog(log_of(rows).frame, groups=groups)
    selected = log.select(["$group_0", "group0.plan"]).astype(object).where(lambda f: f.notna(), None)
    assert selected.values.tolist() == [["a", "pro"], ["b", None], [None, None]]


def test_without_person_ids_identify_events_say_who_is_who():
    rows = {
        "event": ["view", "$identify", "view", "$create_alias"],
        "distinct_id": ["anon", "ada", "ada", "ada"],
        "$anon_distinct_id": [None, "anon", None, None],
        "alias": [None, None, None, "ada@acme.io"],
        "timestamp": [f"2026-09-07T0{hour}:00:00Z" for hour in range(4)],
    }
    log = log_of(rows)
    assert set(log.select(["person_id"])["person_id"]) == {"ada"}
    assert {note.code: note.count for note in log.notes}["merged"] == 2
    assert log.identities.to_dict() == {"anon": "ada", "ada@acme.io": "ada"}


@pytest.mark.parametrize("junk", ["undefined", "null", "0", " ", "anonymous"])
def test_a_merge_with_a_junk_id_is_refused_and_counted(junk):
    rows = {"event": ["$identify"], "distinct_id": ["ada"], "$anon_distinct_id": [junk], "alias": [None]}
    log = log_of(rows)
    assert log.identities is None
    assert {note.code: note.count for note in log.notes}["merge_refused"] == 1


def test_a_person_who_is_identified_already_is_not_merged_into_another():
    rows = {
        "event": ["$identify", "$identify"],
        "distinct_id": ["ada", "bob"],
        "$anon_distinct_id": ["anon", "anon"],
        "alias": [None, None],
        "timestamp": ["2026-09-07T01:00:00Z", "2026-09-07T02:00:00Z"],
    }
    assert log_of(rows).identities.to_dict() == {"anon": "ada"}


@pytest.mark.parametrize(
    "values",
    [
        ["2026-09-07T11:00:00+02:00", "2026-09-07T09:00:00Z"],
        ["2026-09-07 09:00:00.000000+00", "2026-09-07 09:00:00 UTC"],
        [pd.Timestamp("2026-09-07 11:00", tz="Europe/Berlin"), pd.Timestamp(NINE)],
        pd.to_datetime(["2026-09-07T09:00:00Z"] * 2),
        pd.to_datetime(["2026-09-07T09:00:00Z"] * 2).tz_convert("Asia/Tokyo").as_unit("ns"),
        pd.array([NINE, NINE], dtype="str"),
    ],
)
def test_times_of_any_spelling_and_zone_are_utc_microseconds(values):
    log = log_of({"event": ["a", "b"], "timestamp": values})
    (table,) = log.reduce(["timestamp"], lambda table: table)
    assert table.schema.field("timestamp").type == pa.timestamp("us", "UTC")
    assert set(table.to_pandas()["timestamp"]) == {pd.Timestamp(NINE)}


def test_times_with_fractions_of_different_length_are_read():
    values = ["2026-09-07T09:00:00Z", "2026-09-07T09:00:00.5Z", "2026-09-07T09:00:00.123456Z"]
    micro = log_of({"timestamp": values}).select(["timestamp"])["timestamp"].dt.microsecond
    assert micro.tolist() == [0, 500000, 123456]


def test_a_zone_that_is_given_is_used_for_times_without_one_only():
    values = ["2026-09-07T11:00:00", "2026-09-07T09:00:00Z"]
    frame = pd.DataFrame({"event": "a", "distinct_id": "d", "timestamp": values})
    log = ck.EventLog(frame, tz="Europe/Berlin")
    assert set(log.select(["timestamp"])["timestamp"]) == {pd.Timestamp(NINE)}
    assert {note.code: note.count for note in log.notes}["naive_times"] == 1


def test_a_local_time_that_daylight_saving_skips_or_repeats_is_refused_with_its_row():
    for time in ("2026-03-29 02:30", "2026-10-25 02:30"):
        frame = pd.DataFrame({"event": "a", "distinct_id": "d", "timestamp": ["2026-09-07 09:00", time]})
        with pytest.raises(
            ck.DataError, match=r"does not exist \(or occurs twice\) in Europe/Berlin at row 1"
        ):
            ck.EventLog(frame, tz="Europe/Berlin")


@pytest.mark.parametrize("unit, times", [("s", 1), ("ms", 1000), ("us", 10**6), ("ns", 10**9)])
def test_numbers_are_no_times_and_the_error_names_the_unit_of_our_years(unit, times):
    with pytest.raises(ck.DataError, match=f"say their unit: .*unit='{unit}'"):
        log_of({"event": ["a"], "timestamp": [1788771600 * times]})


def test_unusable_rows_are_dropped_and_each_reason_counted():
    rows = {
        "event": ["a", "$snapshot", None, "b", "c"],
        "timestamp": [NINE, NINE, NINE, "yesterday", NINE],
        "distinct_id": ["d", "d", "d", "d", None],
    }
    log = log_of(rows)
    assert len(log) == 1
    counts = {note.code: note.count for note in log.notes}
    expected = {"no_event_name": 1, "snapshots": 1, "no_time": 1, "no_id": 1, "distinct_id_used": 1}
    assert counts == expected


def test_windows_of_a_question_are_half_open():
    log = log_of({"timestamp": [NINE, "2026-09-07T10:00:00Z"]})
    rows = log.select(["timestamp"], since=NINE, until="2026-09-07T10:00:00Z")
    assert rows["timestamp"].tolist() == [pd.Timestamp(NINE)]


def test_filters_allow_values_lists_missing_and_present():
    log = log_of({"x": ["a", "b", None, "true"]})
    count = lambda value: len(log.select(["x"], where={"x": value}))  # noqa: E731
    assert [count(v) for v in ("a", ["a", "b"], None, [None, "a"], PRESENT, True)] == [1, 2, 1, 2, 3, 1]
    with pytest.raises(ck.DataError, match="allows no value of 'x'"):
        count([])


def test_native_columns_come_as_they_are_stored():
    log = log_of({"person_id": [7, 8]})
    (table,) = log.reduce(["person_id", "event"], lambda table: table, native=["person_id"])
    assert table.schema.field("person_id").type == pa.int64()
    (plain,) = log.reduce(["person_id"], lambda table: table)
    assert plain["person_id"].to_pylist() == ["7", "8"]


def test_a_reduction_of_nothing_still_calls_its_function_once_with_the_right_types():
    log = log_of({"event": ["a"]})
    (schema,) = log.reduce(["timestamp", "person_id", "x"], lambda table: table.schema, events=["b"])
    assert schema.field("timestamp").type == pa.timestamp("us", "UTC")
    assert log.reduce(["x"], lambda table: table.num_rows, finish=sum) == 1


def test_the_frame_of_the_caller_is_left_alone():
    frame = pd.DataFrame(
        {"event": ["a", "$snapshot"], "timestamp": NINE, "distinct_id": "d", "properties": [{}, {}]}
    )
    before = frame.copy()
    log = ck.EventLog(frame)
    log.select(["person_id", "x"])
    pd.testing.assert_frame_equal(frame, before)


def test_columns_of_other_names_are_mapped():
    frame = pd.DataFrame({"name": ["a"], "at": [NINE], "user": ["u"]})
    log = ck.EventLog(frame, event="name", timestamp="at", distinct_id="user")
    assert log.select(["event", "person_id"]).values.tolist() == [["a", "u"]]
    assert log.mapping["timestamp"] == "at"


def test_event_names_and_property_names_are_listed():
    log = log_of({"event": ["a", "b", "b"], "$feature/f": True, "properties": ['{"amount": 1}', "{}", "{}"]})
    assert log.event_names() == {"b": 2, "a": 1}
    assert set(log.property_names()) >= {"$feature/f", "amount"}
    assert "3 events in pandas" in repr(log)


def test_text_becomes_numbers_where_it_is_one():
    assert np.array_equal(
        numeric(pa.array(["1", "2.5", "x", None, "inf", "1e3", ""])),
        [1, 2.5, np.nan, np.nan, np.nan, 1000, np.nan],
        equal_nan=True,
    )
    encoded = pa.chunked_array(
        [pa.array(["1", "x"]).dictionary_encode(), pa.array(["2"]).dictionary_encode()]
    )
    assert np.array_equal(numeric(encoded), [1, np.nan, 2], equal_nan=True)
    assert len(numeric(pa.array([], pa.string()))) == 0


def test_arrow_types_of_every_kind_become_text():
    for array, expected in (
        (pa.array(["a", None], pa.large_string()), ["a", None]),
        (pa.array([1.0, None]), ["1", None]),
        (pa.array([{"a": 1}]), ['{"a":1}']),
        (pa.array([b"x"]), ["x"]),
        (pa.array([True]), ["true"]),
    ):
        assert as_text(array).to_pylist() == expected
    assert value_text(pd.NaT) is None


def test_the_one_row_that_is_repeated_among_very_many_persons_is_found():
    ids = [f"d{number}" for number in range(60_000)]
    persons = pd.DataFrame({"distinct_id": [*ids, "d7"], "person_id": [*ids, "d0"]})
    log = ck.EventLog(log_of().frame, persons=persons)
    assert len(log.persons) == 60_000
    assert log.identities["d7"] == "d0"
    assert {note.code: note.count for note in log.notes}["persons_repeated"] == 1
    once = ck.EventLog(log_of().frame, persons=persons[:-1])
    assert len(once.persons) == 60_000
    assert once.identities["d7"] == "d7"


@pytest.mark.parametrize("bad", [{"columns": "event"}, {"columns": ["x"], "events": "view"}])
def test_a_name_where_a_list_belongs_is_refused(bad):
    with pytest.raises(ck.DataError, match="expected a list of names"):
        log_of().select(**bad)


def test_a_table_that_is_none_is_refused():
    with pytest.raises(ck.DataError, match="is not a table of events"):
        ck.EventLog(object())
    with pytest.raises(ck.DataError, match="two columns 'event'"):
        ck.EventLog(
            pd.DataFrame([["a", "a", NINE, "d"]], columns=["event", "event", "timestamp", "distinct_id"])
        )


def test_one_repeat_among_many_uuids_of_one_length_is_found_in_any_chunk():
    uuids = [f"{number:036d}" for number in range(40_000)]
    uuids[39_999] = uuids[16_384]
    rows = {"event": "a", "timestamp": pd.Timestamp("2026-09-07T09:00Z"), "distinct_id": "x", "uuid": uuids}
    assert len(ck.EventLog(pd.DataFrame(rows))) == 39_999
    assert len(ck.EventLog(pd.DataFrame(rows | {"uuid": [*uuids[:-1], "other"]}))) == 40_000


def test_pieces_of_one_dictionary_are_put_together_without_reading_its_texts():
    texts = pa.array(["a", "b", None, "c"]).drop_null()
    codes = [pa.array([0, 1, None], pa.int32()), pa.array([2], pa.int32())]
    pieces = [pa.DictionaryArray.from_arrays(part, texts) for part in codes]
    joined = in_codes(pa.chunked_array(pieces))
    assert joined.to_pylist() == ["a", "b", None, "c"]
    assert joined.dictionary.buffers()[2].address == texts.buffers()[2].address
    other = pa.DictionaryArray.from_arrays(codes[1], pa.array(["x", "a", "y"]))
    assert in_codes(pa.chunked_array([pieces[0], other])).to_pylist() == ["a", "b", None, "y"]


def test_an_id_that_persons_do_not_list_is_whoever_the_ids_joined_to_it_are():
    rows = {
        "event": ["$identify", "$identify", "view"], "distinct_id": ["bob", "ada", "eve"],
        "$anon_distinct_id": ["anon-1", "anon-2", None], "alias": [None] * 3,
    }  # fmt: skip
    persons = pd.DataFrame({"distinct_id": ["anon-1", "ada", "anon-2"], "person_id": ["P1", "P2", "P3"]})
    log = ck.EventLog(pd.DataFrame(rows).assign(timestamp=pd.Timestamp("2026-09-07T09:00Z")), persons=persons)
    assert log.identities.to_dict() == {"anon-1": "P1", "ada": "P2", "anon-2": "P3", "bob": "P1"}
    assert {note.code: note.count for note in log.notes}["merged"] == 1
