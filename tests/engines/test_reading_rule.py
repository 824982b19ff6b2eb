"""What a cell is, is one rule: every engine is held to the same table of awkward columns."""

import datetime
import decimal
import json
import sys
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import canarykit as ck
from canarykit.commands.evaluate import evaluate
from canarykit.events.values import value_text
from canarykit.health.data.unusable import unusable_events

sys.path.insert(0, str(Path(__file__).parent))
from logs_everywhere import CHEAP, SLOW, answer, lines_of, log_of

pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet:FutureWarning")
NINE = "2026-09-07T09:00:00Z"
UTC = datetime.UTC
MOMENT = datetime.datetime(2026, 9, 7, 9, 0, 0, 500_000, UTC)
ADA = uuid.UUID("6f1c1de6-9c3d-4b4c-8f0e-0123456789ab")
MAP = pa.map_(pa.string(), pa.string())

PROPERTIES = {
    "whole numbers beside a gap": (pa.array([5, None, -1]), ["5", None, "-1"]),
    "whole numbers beyond a float": (pa.array([2**60 + 1, None, 0]), ["1152921504606846977", None, "0"]),
    "floats": (pa.array([95.0, 0.1, None]), ["95", "0.1", None]),
    "large and small floats": (pa.array([1e20, 1e-7, 1e15]), ["1e+20", "1e-07", "1000000000000000"]),
    "floats that are no number": (pa.array([np.nan, np.inf, -0.0]), [None, None, "0"]),
    "short floats": (pa.array([95.1, 5.0, None], pa.float32()), ["95.1", "5", None]),
    "booleans": (pa.array([True, False, None]), ["true", "false", None]),
    "texts": (pa.array(["pro", "", None]), ["pro", "", None]),
    "texts that look like numbers": (pa.array(["5.0", "007", "NaN"]), ["5.0", "007", "NaN"]),
    "lists": (pa.array([[1, 2], [], None]), ["[1,2]", "[]", None]),
    "lists of texts": (pa.array([["a", 'b"'], [None], None]), ['["a","b\\""]', "[null]", None]),
    "structs": (pa.array([{"a": 1, "b": "é"}, {"a": None, "b": "x"}, None]),
                ['{"a":1,"b":"é"}', '{"a":null,"b":"x"}', None]),
    "structs of floats": (pa.array([{"a": 1.0}, {"a": 0.5}, None]), ['{"a":1}', '{"a":0.5}', None]),
    "maps": (pa.array([[("k", "v")], [("k", None)], None], MAP), ['{"k":"v"}', '{"k":null}', None]),
    "moments": (pa.array([MOMENT, None, None], pa.timestamp("us", "UTC")),
                ["2026-09-07T09:00:00.500000+00:00", None, None]),
    "dates": (pa.array([datetime.date(2026, 9, 7), None, None]), ["2026-09-07", None, None]),
    "decimals": (pa.array([decimal.Decimal("95.50"), decimal.Decimal("100.00"), None]),
                 ["95.5", "100", None]),
    "nothing": (pa.array([None, None, None]), [None, None, None]),
    "few texts": (pa.array(["a", "b", None]).dictionary_encode(), ["a", "b", None]),
}  # fmt: skip
IDS = {
    "whole numbers beside a gap": (pa.array([2**60 + 1, None, 3]), ["1152921504606846977", "b", "3"]),
    "floats": (pa.array([1.0, None, 3.0]), ["1", "b", "3"]),
    "blank texts": (pa.array(["p", "", " "]), ["p", "b", "c"]),
    "nothing": (pa.array([None, None, None], pa.string()), ["a", "b", "c"]),
}
DOCUMENTS = {
    "numbers": ('{"x": 95.0}', "95"),
    "a large number": ('{"x": 1152921504606846977}', "1152921504606846977"),
    "a number with an exponent": ('{"x": 1e5}', "100000"),
    "a fraction": ('{"x": 0.30}', "0.3"),
    "a version is a text": ('{"x": "2.0"}', "2.0"),
    "an object": ('{"x": {"b": 1.0, "a": [true, null]}}', '{"b":1,"a":[true,null]}'),
    "null": ('{"x": null}', None),
    "absent": ('{"y": 1}', None),
    "encoded twice": (json.dumps('{"x": "twice"}'), "twice"),
    "half of an emoji elsewhere": ('{"bad": "\\ud83d", "x": "kept"}', "kept"),
    "half of an emoji": ('{"x": "a\\ud83d"}', "a\ufffd"),
    "a number beyond any float": ('{"x": 1e400, "y": 1}', None),
    "not a number elsewhere": ('{"bad": NaN, "x": "kept"}', "kept"),
    "very many digits": (f'{{"bad": {"9" * 5000}, "x": "kept"}}', "kept"),
    "a key that comes twice": ('{"x": "first", "x": "second"}', "first"),
    "a line break inside": ('{"x": "a\nb"}', "a\nb"),
    "very many digits in a text": (f'{{"bad": "{"9" * 5000}", "x": "kept"}}', "kept"),
    "very many places": (f'{{"bad": 1.{"9" * 5000}, "x": "kept"}}', "kept"),
    "cut": ('{"x": 1, "y": "cu', None),
    "no object": ("[1, 2]", None),
    "a comma before the end": ('{"x": [1, 2.0, ], }', "[1,2]"),
    "a comma without a value": ("{,}", None),
    "blank": ("", None),
}
TIMES = {
    "2026-09-07 11:00:00.000 +0200": NINE,
    "2026-09-07T09:00:00Z": NINE,
    "2026-09-07 09:00 UTC": NINE,
    "2026-09-07T09:00:00.000000999+00": NINE,
    " 2026-09-07t09:00:00z ": NINE,
    "2026-02-30T09:00:00Z": None,
    "2026-09-07T24:00:00Z": None,
    "2026-09-07 09:00:00 Europe/Berlin": None,
    "now": None,
    "epoch": None,
    "infinity": None,
    "": None,
    "0001-01-01T00:00:00Z": None,
    "2026-09-07T09:00:00.0+0000": NINE,
    "2026-09-07T18:00+09": NINE,
    "2026-09-07 09:00:00+00:00": NINE,
    "2026-09-07 04:30:00-04:30": NINE,
}


@pytest.fixture(params=[*CHEAP, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def engine(request):
    return request.param


@pytest.fixture
def opened(engine, tmp_path, request):
    spark = request.getfixturevalue("spark") if engine == "spark" else None

    def open_log(columns, **options):
        n = len(next(iter(columns.values())))
        stated = {
            "event": pa.array(["a"] * n),
            "timestamp": pa.array([MOMENT] * n, pa.timestamp("us", "UTC")),
            "distinct_id": pa.array(list("abcdefghijklmnopqrstuvwxyz")[:n]),
        }
        return log_of(engine, pa.table({**stated, **columns}), tmp_path, spark, **options)

    return open_log


def test_a_property_is_the_same_text_in_every_engine(opened, engine):
    columns = {f"p{at}": column for at, (column, _) in enumerate(PROPERTIES.values())}
    if engine in SLOW:  # neither takes a column without a type
        columns = {name: c for name, c in columns.items() if not pa.types.is_null(c.type)}
    rows = opened(columns).select(["distinct_id", *columns]).sort_values("distinct_id")
    for at, (name, (_, expected)) in enumerate(PROPERTIES.items()):
        if f"p{at}" in columns:
            values = rows[f"p{at}"].astype(object)
            assert values.where(values.notna(), None).tolist() == expected, name


@pytest.mark.parametrize("name", IDS)
def test_an_id_is_the_same_text_in_every_engine(opened, name):
    column, expected = IDS[name]
    log = opened({"person_id": column, "$feature/f": pa.array(["x"] * 3)})
    assert (
        log.select(["distinct_id", "person_id"]).sort_values("distinct_id")["person_id"].tolist() == expected
    )
    people = log.reduce(["person_id"], lambda t: t["person_id"].to_pylist(), native=["person_id"])
    assert sorted(str(who) for part in people for who in part) == sorted(expected)


def test_a_document_is_read_the_same_by_every_engine(opened):
    texts = [text for text, _ in DOCUMENTS.values()]
    log = opened({"properties": pa.array(texts)})
    values = log.select(["distinct_id", "x"]).sort_values("distinct_id")["x"].astype(object)
    for value, (name, (_, expected)) in zip(
        values.where(values.notna(), None), DOCUMENTS.items(), strict=True
    ):
        assert value == expected, name
    lost = {note.code: note.count for note in log.count_dropped()}
    assert lost["bad_json"] == 4  # cut, no object, a comma without a value, a number of very many digits
    assert len(log.select(["distinct_id"], where={"x": "kept"})) == 5
    assert set(log.property_names()) >= {"x", "y", "bad"}


def test_times_are_read_the_same_by_every_engine(opened):
    log = opened({"timestamp": pa.array(list(TIMES))})
    rows = log.select(["timestamp"])["timestamp"]
    assert set(rows) == {pd.Timestamp(NINE)}
    lost = {note.code: note.count for note in log.count_dropped()}
    assert (len(rows), lost["no_time"]) == (9, 8)


@pytest.mark.parametrize(
    "times, zone, message",
    [
        (pa.array([1788771600, 1788771601]), None, "say their unit"),
        (pa.array(["1788771600", "1788771601"]), None, "say their unit"),
        (pa.array(["soon", "later"]), None, "holds no times"),
        (pa.array(["2026-09-07T09:00:00", NINE]), None, "mixes times with and without a time zone"),
        (pa.array(["2026-10-25 02:30:00", NINE]), "Europe/Berlin", "occurs twice"),
        (pa.array(["2026-03-29 02:30:00", NINE]), "Europe/Berlin", "does not exist"),
        (pa.array([datetime.datetime(2026, 3, 29, 2, 30)] * 2), "Europe/Berlin", "does not exist"),
        (pa.array([datetime.datetime(2026, 9, 7, 9)] * 2), None, "without a time zone.*tz='Europe/Berlin'"),
        (pa.array([NINE, NINE]), "Europe/Berln", "Did you mean 'Europe/Berlin'"),
    ],
)
def test_times_that_cannot_be_told_are_refused_by_every_engine(opened, times, zone, message):
    with pytest.raises(ck.DataError, match=message):
        opened({"timestamp": times}, tz=zone)


def test_events_that_came_twice_count_once_in_every_engine(opened):
    uuids = pa.array(["1", "1", "", "", " ", None])
    log = opened({"uuid": uuids, "amount": pa.array([1, 1, 1, 1, 1, 1])})
    assert log.event_names() == {"a": 5}
    assert len(log.select(["amount"])) == 5
    assert {note.code: note.count for note in log.count_dropped()}["duplicates"] == 1


def test_blank_sessions_are_none_in_columns_and_documents(opened):
    log = opened({"properties": pa.array(['{"$session_id": ""}', '{"$session_id": "s"}', "{}"])})
    sessions = (
        log.select(["distinct_id", "session_id"]).sort_values("distinct_id")["session_id"].astype(object)
    )
    assert sessions.where(sessions.notna(), None).tolist() == [None, "s", None]


def test_columns_that_differ_in_capitals_are_told_apart_or_refused(opened, engine):
    if engine in {"relation", "ibis"}:
        pytest.skip("DuckDB has renamed one of them before it hands out the table")
    columns = {"amount": pa.array([1, 2]), "Amount": pa.array([3, 4])}
    try:
        log = opened(columns)
    except ck.DataError as problem:
        assert "'amount'" in str(problem)  # noqa: PT017
        assert "'Amount'" in str(problem)  # noqa: PT017
        return
    assert sorted(log.select(["Amount"])["Amount"]) == ["3", "4"]


@pytest.mark.parametrize(
    "value, text",
    [
        (ADA, str(ADA)), (b"abc", "abc"), (b"\xff", "\ufffd"), ("a\ud83d", "a\ufffd"),
        (decimal.Decimal("95.50"), "95.5"), (10**400, None), ({"a": {1, 2}}, '{"a":[1,2]}'),
        ([("k", 1.0), ("l", None)], '{"k":1,"l":null}'),
        (np.float32(95.1), "95.1"), (np.int64(5), "5"), (pd.NaT, None),
        (pd.Timestamp(NINE), "2026-09-07T09:00:00+00:00"),
        (datetime.datetime(2026, 9, 7, 9), "2026-09-07T09:00:00"), (float("inf"), None),
    ],
)  # fmt: skip
def test_a_value_of_python_has_one_text(value, text):
    assert value_text(value) == text


@pytest.mark.parametrize("made", [lambda v: pd.DataFrame({"v": v}), None], ids=["pandas", "polars"])
def test_uuids_of_python_are_ids(made):
    import polars

    ids = [ADA, uuid.UUID(int=5)]
    columns = {"event": ["a", "a"], "timestamp": [NINE, NINE], "distinct_id": ["x", "y"]}
    if made is None:
        frame = polars.DataFrame(columns).with_columns(polars.Series("person_id", ids, dtype=polars.Object))
    else:
        frame = pd.DataFrame(columns).assign(person_id=made(ids)["v"])
    assert set(ck.EventLog(frame).select(["person_id"])["person_id"]) == set(map(str, ids))


LINES = [
    {"event": "a", "distinct_id": "x", "timestamp": NINE, "properties": {"plan": "pro", "n": 95.0}},
    '{"event": "a", "distinct_id": "y", "timestamp": "2026-09-07T09:00:00Z", '
    '"properties": {"e": "\\ud83d", "plan": "free"}}',
    '{"event": "a", "distinct_id":',
    "[1, 2]",
    {"event": "a", "distinct_id": "z", "timestamp": NINE, "late": "here"},
]


@pytest.mark.parametrize("read", [ck.read_posthog, ck.scan_posthog])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_json_lines_keep_every_line_that_holds_an_object(read, mark, tmp_path):
    file = lines_of(LINES, tmp_path / "events.jsonl")
    file.write_bytes(mark + file.read_bytes())
    log = read(file)
    rows = log.select(["distinct_id", "plan", "n", "late"]).sort_values("distinct_id").astype(object)
    assert rows.where(rows.notna(), None).values.tolist() == [
        ["x", "pro", "95", None], ["y", "free", None, None], ["z", None, None, "here"],
    ]  # fmt: skip
    lost = {note.code: note.count for note in log.count_dropped()}
    assert lost["bad_lines"] == 2
    assert "no_event_name" not in lost


AWKWARD = (
    "1.0", "NaN", "1e400", "1e5", "-0.0", "-0", "1e16", "0.30", "1e-7", "Infinity", "1152921504606846977",
    "18446744073709551616", "9" * 5000, "[1.0,2]", '{"a": {"b": [1.0, "1.0"]}}', '"1.0"', '"[1.0]"', "true",
    "null", '"\\ud83d"', '["\\ud83d x", 3.0]',
)  # fmt: skip


@pytest.mark.parametrize("read", [ck.read_posthog, ck.scan_posthog])
def test_a_key_of_a_line_is_the_same_text_as_a_key_of_its_properties(read, tmp_path):
    fixed = f'"event": "a", "timestamp": "{NINE}"'
    lines = [
        f'{{{fixed}, "distinct_id": "{at:02}", "x": {value}, "properties": {{"y": {value}}}}}'
        for at, value in enumerate(AWKWARD)
    ]
    rows = read(lines_of(lines, tmp_path / "events.jsonl")).select(["distinct_id", "x", "y"])
    assert len(rows) == len(AWKWARD)
    pd.testing.assert_series_equal(rows["x"], rows["y"], check_names=False)


@pytest.mark.parametrize("read", [ck.read_posthog, ck.scan_posthog])
def test_ids_that_are_numbers_in_json_are_the_ids_of_their_digits(read, tmp_path):
    base = {"event": "a", "timestamp": NINE}
    file = lines_of([{**base, "distinct_id": who} for who in (7, 7.0, "7")], tmp_path / "events.jsonl")
    assert set(read(file).select(["person_id"])["person_id"]) == {"7"}


@pytest.mark.parametrize("read", [ck.read_posthog, ck.scan_posthog])
def test_a_key_that_first_appears_late_is_there(read, tmp_path):
    base = {"event": "a", "distinct_id": "x", "timestamp": NINE}
    file = lines_of([*[base] * 25_000, {**base, "late": "here"}], tmp_path / "events.jsonl")
    assert read(file).select(["late"])["late"].dropna().tolist() == ["here"]


@pytest.mark.parametrize("read", [ck.read_posthog, ck.scan_posthog])
def test_ids_of_other_types_in_other_files_are_the_same_ids(read, tmp_path):
    base = {"event": ["a"], "timestamp": [pd.Timestamp(NINE)]}
    for name, value in (("1", "2"), ("2", 2.0), ("3", 2)):
        pd.DataFrame({**base, "distinct_id": [value]}).to_parquet(tmp_path / f"{name}.parquet")
    assert set(read(tmp_path).select(["person_id"])["person_id"]) == {"2"}


@pytest.mark.parametrize("read", [ck.read_posthog, ck.scan_posthog])
def test_local_times_in_one_file_beside_moments_in_another_are_refused(read, tmp_path):
    for name, at in (("1", pd.Timestamp(NINE)), ("2", pd.Timestamp("2026-09-07 09:00"))):
        pd.DataFrame({"event": ["a"], "distinct_id": ["x"], "timestamp": [at]}).to_parquet(
            tmp_path / f"{name}.parquet"
        )
    with pytest.raises(ck.NaiveTimestampError, match=r"in 2\.parquet.*in 1\.parquet"):
        read(tmp_path, tz="Europe/Berlin")
    assert set(read(tmp_path, tz="UTC").select(["timestamp"])["timestamp"]) == {pd.Timestamp(NINE)}


@pytest.mark.parametrize("read", [ck.read_posthog, ck.scan_posthog])
def test_an_export_of_which_most_rows_are_nothing_known_is_refused(read, tmp_path):
    rows = [{"event": "a", "distinct_id": "x", "timestamp": NINE}, *[{"what": 1, "event": None}] * 3]
    with pytest.raises(ck.ExportFormatError, match="most rows of the export"):
        read(lines_of(rows, tmp_path / "events.jsonl"))


def test_two_engines_refuse_in_the_same_words(tmp_path):
    frame = pd.DataFrame({"event": ["a"], "distinct_id": ["x"], "timestamp": [1788771600]})
    frame.to_parquet(tmp_path / "e.parquet")
    assert answer(lambda: ck.EventLog(frame), ["event"]) == answer(
        lambda: ck.scan_posthog(tmp_path / "e.parquet"), ["event"]
    )


def test_an_export_that_says_it_lacks_pages_is_never_enough(tmp_path):
    rows = [["a", "x", NINE]] * 3
    page = {"columns": ["event", "distinct_id", "timestamp"], "results": rows}
    for more in (False, True):
        (tmp_path / "page.json").write_text(json.dumps({**page, "hasMore": more}))
        lost = unusable_events(ck.read_posthog(tmp_path / "page.json"))
        assert lost.is_too_much(1.0) is more
    assert "page.json is one page of several" in lost.words(1.0)


def test_the_command_line_says_how_much_may_be_unusable():
    given = ["e.parquet", "--plan", "p.json", "--as-of", NINE, "--max-unusable-share", "0.2"]
    assert evaluate.make_context("evaluate", given).params["max_unusable_share"] == 0.2


MANY_DIGITS = '{"n": %s, "plan": "pro"}' % ("9" * 5000)


def test_a_number_beyond_any_computer_leaves_the_other_properties_of_persons_groups_and_answers(tmp_path):
    events = pd.DataFrame({"event": ["a"], "distinct_id": ["x"], "timestamp": [NINE], "$group_0": ["g"]})
    log = ck.EventLog(
        events,
        persons=pd.DataFrame({"distinct_id": ["x", "y"], "properties": [MANY_DIGITS, '{"plan": "cu']}),
        groups=pd.DataFrame({"group_type_index": [0], "group_key": ["g"], "properties": [MANY_DIGITS]}),
    )
    assert log.select(["person.plan"])["person.plan"].tolist() == ["pro"]
    assert log.groups["plan"].tolist() == ["pro"]
    assert {note.code: note.count for note in log.notes}["persons_unreadable"] == 1
    (tmp_path / "answer.json").write_text(
        f'{{"columns": ["event", "distinct_id", "timestamp", "properties"], '
        f'"results": [["a", "x", "{NINE}", {MANY_DIGITS}]]}}'
    )
    read = ck.read_posthog(tmp_path / "answer.json").select(["plan", "n"])
    assert read.astype(object).where(read.notna(), None).values.tolist() == [["pro", None]]


def test_wrong_bytes_and_half_of_an_emoji_in_ids_and_properties_of_persons_stop_nobody():
    texts = lambda *values: pd.Series(values, dtype=object)  # noqa: E731
    persons = pd.DataFrame(
        {
            "distinct_id": texts("x\ud83d", b"y", b"\xff"),
            "person_id": texts("p\ud83d", b"q", "r"),
            "plan": texts("pro", "pro", "pro\ud83d"),
            "size": texts(10**400, 1, None),
        }
    )
    events = pd.DataFrame(
        {"event": "a", "distinct_id": texts("x\ud83d", "y", b"\xff"), "timestamp": [NINE] * 3}
    )
    rows = ck.EventLog(events, persons=persons).select(["person_id", "person.plan"])
    assert rows.values.tolist() == [["p\ufffd", "pro"], ["q", "pro"], ["r", "pro\ufffd"]]
    flag = ck.Flag("f", (ck.Condition((ck.PropertyFilter("plan", "pro"),)),))
    assert ck.evaluate_flag(flag, persons)["value"].tolist() == ["true", "true", "false"]


def test_naive_times_are_refused_only_where_there_are_any(opened):
    times = pa.array([], pa.timestamp("ns"))
    log = opened(
        {"timestamp": times, "event": pa.array([], pa.string()), "distinct_id": pa.array([], pa.string())}
    )
    assert len(log.select(["event"])) == 0


def test_keys_of_blanks_and_commas_before_the_end_are_read_alike(opened):
    documents = ['{" ": "blank", "v": "a"}', '{"v": 1,}', '{"\\t": "tab"}']
    log = opened({"properties": pa.array(documents)})
    rows = log.select(["distinct_id", "v", " ", "\t"]).sort_values("distinct_id").astype(object)
    assert rows.where(rows.notna(), None).values.tolist() == [
        ["a", "a", "blank", None], ["b", "1", None, None], ["c", None, None, "tab"],
    ]  # fmt: skip
    assert set(log.select(["distinct_id"], where={"v": None})["distinct_id"]) == {"c"}
