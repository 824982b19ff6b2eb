"""Which column is which: what others call it, what the message tells to write, and the ways to say it."""

import copy
import json
import pickle

import pandas as pd
import pytest

import canarykit as ck
from canarykit import walk
from canarykit.__main__ import main
from canarykit.events.mapping import columns_of

NAMES = {
    "event": "event_name", "timestamp": "ts", "distinct_id": "user", "properties": "props",
    "uuid": "event_id",
}  # fmt: skip


def frame(columns):
    return pd.DataFrame({name: pd.Series(dtype="str") for name in columns})


def refusal(columns, **given):
    with pytest.raises(ck.DataError) as refused:
        ck.EventLog(frame(columns), **given)
    return str(refused.value)


def export(folder, **changed):
    """One event twice, in columns that are called otherwise."""
    rows = {
        "event_name": ["paid", "paid"], "ts": ["2026-09-07T09:00:00Z"] * 2, "user": ["ada"] * 2,
        "props": ['{"$feature/f": "test"}'] * 2, "event_id": ["1", "1"],
    }  # fmt: skip
    pd.DataFrame(rows | changed).to_parquet(folder / "events.parquet")
    return folder / "events.parquet"


@pytest.mark.parametrize(
    "columns, line",
    [
        (  # Amplitude
            "event_type event_time user_id event_properties $insert_id",
            'event="event_type", timestamp="event_time", distinct_id="user_id", '
            'properties="event_properties", uuid="$insert_id"',
        ),
        (  # GA4
            "event_name event_timestamp user_pseudo_id event_params",
            'event="event_name", timestamp="event_timestamp", distinct_id="user_pseudo_id", '
            'properties="event_params"',
        ),
        ("event time distinct_id $insert_id properties", 'timestamp="time", uuid="$insert_id"'),  # Mixpanel
        (  # Segment
            "event timestamp anonymousId messageId properties",
            'distinct_id="anonymousId", uuid="messageId"',
        ),
        (  # Snowplow, in Snowflake
            "EVENT_NAME DERIVED_TSTAMP DOMAIN_USERID EVENT_ID",
            'event="EVENT_NAME", timestamp="DERIVED_TSTAMP", distinct_id="DOMAIN_USERID", uuid="EVENT_ID"',
        ),
    ],
)
def test_columns_are_known_by_what_other_systems_call_them(columns, line):
    assert refusal(columns.split()).endswith(f"Did you mean ck.EventLog(..., {line})?")


def test_two_columns_that_may_be_meant_are_both_named_and_none_is_chosen():
    said = refusal(["event", "timestamp", "user_id", "anonymous_id"])
    assert "'distinct_id' may be 'user_id' or 'anonymous_id': choose." in said
    assert "distinct_id=..." in said


def test_a_time_of_the_event_goes_before_times_of_its_arrival():
    assert 'timestamp="ts"' in refusal(["event", "user_id", "received_at", "ts", "created_at"])


def test_a_column_that_was_named_and_is_not_there_is_refused_not_passed_over():
    there = ["event", "timestamp", "distinct_id", "props", "event_id"]
    assert "lack 'prosp'; " in refusal(there, properties="prosp")
    assert 'uuid="event_id"' in refusal(there, uuid="eventid")
    assert "lack 'who'" in refusal(there, person_id="who")


def test_what_is_said_already_stays_in_the_line_to_write():
    said = refusal(["name_of_event", "ts", "user"], event="name_of_event")
    assert 'ck.EventLog(..., event="name_of_event", timestamp="ts", distinct_id="user")' in said


def test_a_column_is_named_by_a_text():
    with pytest.raises(ck.DataError, match="event is 7; expected the name of a column"):
        ck.EventLog(frame(["event"]), event=7)


def test_properties_that_nobody_named_are_said_not_to_be_read():
    notes = ck.EventLog(frame(["event", "timestamp", "distinct_id", "props"])).notes
    assert [note.text for note in notes] == [
        'no properties are read out of JSON: no properties column (write properties="props" if that is one)'
    ]


@pytest.mark.parametrize("read", [ck.read_posthog, ck.scan_posthog])
def test_the_line_to_write_is_that_of_the_reader_and_it_reads(read, tmp_path):
    file = export(tmp_path)
    with pytest.raises(ck.ExportFormatError) as refused:
        read(file)
    line = str(refused.value).partition("Did you mean ")[2].rstrip("?")
    assert line.startswith(f"ck.{read.__name__}(")
    log = eval(line.replace("...", "file"), {"ck": ck, "file": file})
    assert log.event_names() == {"paid": 1}
    for other in (copy.copy(refused.value), pickle.loads(pickle.dumps(refused.value))):
        assert (str(other), other.columns) == (str(refused.value), NAMES)


@pytest.mark.parametrize("read", [ck.read_posthog, ck.scan_posthog])
@pytest.mark.parametrize("spelled", [str.upper, str.lower])
def test_columns_of_a_warehouse_that_shouts_are_named_in_either_way(read, spelled, tmp_path):
    file = tmp_path / "events.parquet"
    pd.read_parquet(export(tmp_path)).rename(columns=str.upper).to_parquet(file)
    log = read(file, **{name: spelled(column) for name, column in NAMES.items()})
    assert log.select(["$feature/f", "uuid"]).values.tolist() == [["test", "1"]]


@pytest.mark.parametrize("read", [ck.read_posthog, ck.scan_posthog])
def test_a_column_that_exports_of_posthog_leave_out_or_rename_is_read_where_it_is_named(read, tmp_path):
    file = tmp_path / "events.parquet"
    table = pd.read_parquet(export(tmp_path)).rename(columns={"ts": "_inserted_at", "event_id": "id"})
    table.to_parquet(file)
    log = read(file, **{**NAMES, "timestamp": "_inserted_at", "uuid": "id"})
    assert log.event_names() == {"paid": 1}


@pytest.mark.parametrize("read", [ck.read_posthog, ck.scan_posthog])
def test_one_file_of_several_that_lacks_a_column_is_named_with_the_line_to_write(read, tmp_path):
    for name in "ab":
        pd.read_parquet(export(tmp_path)).to_parquet(tmp_path / f"{name}.parquet")
    with pytest.raises(
        ck.ExportFormatError, match=rf"a.parquet lacks 'event', .*ck.{read.__name__}\(.*\"ts\""
    ):
        read([tmp_path / "a.parquet", tmp_path / "b.parquet"])


def test_what_was_remembered_of_one_id_is_not_told_of_another(tmp_path, monkeypatch):
    from canarykit.events.engines import parquet
    from canarykit.events.remembered import folder

    monkeypatch.setattr(parquet, "KEPT_FROM", 0)
    monkeypatch.setattr(folder, "YOUNG", 0.0)
    moment = pd.to_datetime(["2026-09-07T09:00:00Z"] * 2).as_unit("us")
    file = export(tmp_path, ts=moment, row=["x", "y"])
    counts = []
    for uuid in ("event_id", "row", "event_id"):
        log = ck.scan_posthog(file, cache=tmp_path / "kept", **{**NAMES, "uuid": uuid})
        counts.append(log.event_names())
    assert counts == [{"paid": 1}, {"paid": 2}, {"paid": 1}]


def test_columns_on_the_command_line(tmp_path, capsys):
    file = str(export(tmp_path))
    asked = ["funnel", file, "--flag", "f", "--step", "paid", "--step", "paid", "--json"]
    assert main(asked) == 1
    hint = capsys.readouterr().err.partition("did you mean: ")[2].split()
    assert hint[:4] == ["--column", "event=event_name", "--column", "timestamp=ts"]
    assert main([*asked, *hint]) == 0
    assert json.loads(capsys.readouterr().out)
    assert main([*asked, "--column", "evnt=event_name"]) == 1
    assert "Did you mean 'event'?" in capsys.readouterr().err


def test_columns_as_texts_say_what_is_wrong_with_them():
    assert columns_of(["event = event_name", "uuid=a=b"]) == {"event": "event_name", "uuid": "a=b"}
    with pytest.raises(ck.DataError, match="given as 'event'; expected name=column"):
        columns_of(["event"])
    with pytest.raises(ck.DataError, match="'event' is given two columns, 'a' and 'b'"):
        columns_of(["event=a", "event=b"])


@pytest.mark.slow
def test_a_walk_that_stops_at_the_columns_says_what_to_give_it_and_then_reads(tmp_path, capsys):
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.v4.new_notebook()
    cells = [
        "EXPORT = COLUMN = ZONE = ''",
        "import canarykit as ck",
        "from canarykit.events.mapping import columns_of",
        "columns = columns_of(COLUMN.split(',')) if COLUMN else {}",
        "log = ck.read_posthog(EXPORT, tz=ZONE or None, **columns)",
        "raise RuntimeError(log.event_names())",
    ]
    notebook.cells = [nbformat.v4.new_code_cell(cells[0]), nbformat.v4.new_code_cell("\n".join(cells[1:]))]
    notebook.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(notebook, tmp_path / "90_your_release.ipynb")
    file = export(tmp_path, ts=["2026-09-07T09:00:00"] * 2)
    asked = ["--notebooks", str(tmp_path), "--build", str(tmp_path / "build"), "--export", str(file)]
    said = []
    for more in ([], ["--column", "{}"], ["--column", "{}", "--zone", "UTC"]):
        listed = said[0].partition("COLUMN=")[2].partition(")")[0] if said else ""
        assert walk.main([*asked, "--flag", "f", *(text.format(listed) for text in more)]) == 1
        said.append(capsys.readouterr().err)
    assert "COLUMN=event=event_name,timestamp=ts,distinct_id=user,properties=props,uuid=event_id)" in said[0]
    assert "ZONE=UTC" in said[1]
    assert "{'paid': 1}" in said[2]
