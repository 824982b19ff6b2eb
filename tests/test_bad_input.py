"""Input that is broken or meant differently is answered with what is there and what was probably meant."""

import json
import re

import numpy as np
import pandas as pd
import pytest

import canarykit as ck

NINE = "2026-09-07T09:00:00Z"
PLAN = ck.RolloutPlan("f", (ck.Stage.for_share("ramp", 50),), starts_at="2026-09-07T00:00:00Z")


def export(n=6, **columns):
    frame = pd.DataFrame(
        {
            "uuid": [f"u{i}" for i in range(n)],
            "event": "$feature_flag_called",
            "distinct_id": [f"d{i}" for i in range(n)],
            "person_id": [f"p{i}" for i in range(n)],
            "properties": [
                json.dumps({"$feature_flag": "f", "$feature_flag_response": i % 2 == 0}) for i in range(n)
            ],
            "timestamp": NINE,
        }
    )
    return frame.assign(**columns)


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "json"])
def test_an_empty_export_is_a_log_without_events(kind, tmp_path):
    file = tmp_path / f"empty.{kind}"
    if kind == "parquet":
        export(0).to_parquet(file)
    elif kind == "csv":
        export(0).to_csv(file, index=False)
    else:
        file.write_text("" if kind == "jsonl" else '{"results": [], "columns": []}')
    log = ck.read_posthog(file)
    assert len(log) == 0
    assert [note.code for note in log.notes] == ["empty"]
    assert log.event_names() == {}
    assert log.time_range == (None, None)
    exposed = ck.exposures(log, "f", plan=PLAN)
    assert len(exposed.people) == 0
    assert list(exposed.by_stage.columns) == [
        "person_id", "stage", "variant", "exposed_at", "n_variants", "previous_variant",
    ]  # fmt: skip


def test_an_empty_file_on_disk_scans_as_no_events(tmp_path):
    export(0).astype({"event": str}).to_parquet(tmp_path / "empty.parquet")
    log = ck.scan_posthog(tmp_path / "empty.parquet")
    assert log.event_names() == {}
    assert log.time_range == (None, None)
    assert log.reduce(["person_id", "amount"], lambda table: table.num_rows) == [0]


@pytest.mark.parametrize("read", [ck.read_posthog, ck.scan_posthog])
@pytest.mark.parametrize("keep", [0, 3, 100, -20])
def test_a_parquet_file_cut_short_is_named_with_its_size(read, keep, tmp_path):
    file = tmp_path / "events.parquet"
    export().to_parquet(file)
    whole = file.read_bytes()
    file.write_bytes(whole[:keep])
    with pytest.raises(ck.ExportFormatError, match=r"events\.parquet cannot be read.*cut short or damaged"):
        read(file)


def test_a_file_that_is_not_there_is_named_with_its_neighbours(tmp_path):
    export().to_csv(tmp_path / "events.csv")
    with pytest.raises(ck.ExportFormatError, match=r"no file '.*event\.csv'; beside it: events\.csv"):
        ck.read_posthog(tmp_path / "event.csv")
    with pytest.raises(ck.ExportFormatError, match="no file matches"):
        ck.read_posthog(str(tmp_path / "*.parquet"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(ck.ExportFormatError, match="no export files"):
        ck.read_posthog(tmp_path / "folder")


@pytest.mark.parametrize("content", ["<html></html>", "", "plain words"])
def test_a_file_of_another_kind_is_refused(content, tmp_path):
    (tmp_path / "events.html").write_text(content)
    with pytest.raises(ck.ExportFormatError, match=r"not a Parquet, JSON or CSV file"):
        ck.read_posthog(tmp_path / "events.html")


def test_json_that_is_none_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text('{"detail": "Not found"}')
    with pytest.raises(ck.ExportFormatError, match=r"a\.json cannot be read as JSON"):
        ck.read_posthog(tmp_path / "a.json")
    with pytest.raises(ck.ExportFormatError, match=r"b\.json has no list of results; it has \['detail'\]"):
        ck.read_posthog(tmp_path / "b.json")


@pytest.mark.parametrize("read", ["frame", "parquet", "scan"])
def test_properties_that_are_no_json_in_one_row_leave_that_row_unknown(read, tmp_path):
    frame = export(4)
    frame.loc[1, "properties"] = '{"$feature_flag": "f", "$feature_flag_resp'
    frame.to_parquet(tmp_path / "events.parquet")
    source = frame if read == "frame" else tmp_path / "events.parquet"
    log = ck.scan_posthog(source) if read == "scan" else ck.read_posthog(source)
    assert {note.code: note.count for note in log.count_dropped()} == {"bad_json": 1}
    assert ck.exposures(log, "f").people["person_id"].tolist() == ["p0", "p2", "p3"]
    assert len(log.select(["person_id"])) == 4


def test_a_line_that_is_no_json_is_dropped_and_counted(tmp_path):
    lines = [json.dumps(row) for row in export(3).to_dict("records")]
    (tmp_path / "events.jsonl").write_text("\n".join([lines[0], '{"event": "a", ', lines[1], lines[2]]))
    log = ck.read_posthog(tmp_path / "events.jsonl")
    assert len(log) == 3
    assert {note.code: note.count for note in log.notes} == {"bad_lines": 1}


@pytest.mark.parametrize("read", ["frame", "scan"])
@pytest.mark.parametrize(
    "renamed, message",
    [
        ({"timestamp": "timestmp"}, "lack 'timestamp'; .*Did you mean ck.*timestamp=.timestmp."),
        ({"event": "evnt"}, "lack 'event'; .*Did you mean ck.*event=.evnt."),
        (
            {"distinct_id": "distinctid", "person_id": "person"},
            r"lack 'distinct_id' \(or 'person_id'\); .*distinct_id=.distinctid.",
        ),
    ],
)
def test_missing_columns_are_named_with_the_likely_slip(read, renamed, message, tmp_path):
    frame = export().rename(columns=renamed)
    frame.to_parquet(tmp_path / "events.parquet")
    with pytest.raises(ck.DataError, match=message):
        ck.read_posthog(frame) if read == "frame" else ck.scan_posthog(tmp_path / "events.parquet")


def test_times_without_a_zone_are_utc_only_where_the_format_says_so(tmp_path):
    naive = export(timestamp="2026-09-07T09:00:00")
    log = ck.read_posthog(naive)
    assert log.time_range[0] == pd.Timestamp(NINE)
    assert {note.code: note.count for note in log.notes} == {"naive_times": 6}
    with pytest.raises(ck.NaiveTimestampError, match=r"without a time zone \(row 0.*pass tz="):
        ck.read_posthog(naive.drop(columns=["uuid", "properties"]))
    with pytest.raises(ck.NaiveTimestampError, match="pass tz="):
        ck.EventLog(naive)
    with pytest.raises(ck.NaiveTimestampError, match="pass tz="):
        ck.EventLog(naive.assign(timestamp=pd.to_datetime(naive["timestamp"])))


@pytest.mark.parametrize("text", [True, False])
def test_a_scan_of_times_without_a_zone_needs_to_be_told(text, tmp_path):
    frame = export().drop(columns=["uuid", "properties"])
    frame["timestamp"] = "2026-09-07 09:00:00" if text else pd.Timestamp("2026-09-07 09:00:00")
    frame.to_parquet(tmp_path / "events.parquet")
    with pytest.raises(ck.NaiveTimestampError, match="pass tz="):
        ck.scan_posthog(tmp_path / "events.parquet")
    log = ck.scan_posthog(tmp_path / "events.parquet", tz="Europe/Berlin")
    assert log.time_range[0] == pd.Timestamp("2026-09-07T07:00Z")
    assert set(log.select(["timestamp"])["timestamp"]) == {pd.Timestamp("2026-09-07T07:00Z")}


def test_mixed_times_are_refused_until_the_zone_is_said():
    mixed = export(2).drop(columns="uuid")
    mixed["timestamp"] = ["2026-09-07T09:00:00", NINE]
    with pytest.raises(ck.NaiveTimestampError, match=r"mixes times with and without a time zone \(row 0"):
        ck.read_posthog(mixed)
    assert ck.read_posthog(mixed, tz="UTC").time_range[1] == pd.Timestamp(NINE)


def test_a_column_that_holds_no_times_is_refused():
    with pytest.raises(ck.DataError, match="holds no times, for example 'soon'"):
        ck.EventLog(export(timestamp="soon"))


def test_ids_that_became_floats_through_gaps_are_whole_numbers_again():
    log = ck.read_posthog(export(4, person_id=[1.0, np.nan, 3.0, 4.0]))
    assert log.select(["person_id"])["person_id"].tolist() == ["1", "d1", "3", "4"]
    assert {note.code: note.count for note in log.notes} == {"float_ids": 1, "distinct_id_used": 1}


def test_an_unknown_flag_is_answered_with_the_flags_of_the_log():
    carried = export(properties=json.dumps({"$feature/new-checkout": True, "$feature_flag": "new-checkout"}))
    with pytest.raises(
        ck.DataError, match=r"'new_checkout'; of flags there is \['new-checkout'\]. Did you mean"
    ):
        ck.exposures(ck.read_posthog(carried), "new_checkout")
    bare = export(properties="{}", event="view")
    with pytest.raises(ck.DataError, match="no event carries flag 'f'; of flags there is nothing"):
        ck.exposures(ck.read_posthog(bare), "f")


def test_a_stage_with_a_typo_is_answered_with_the_stage_that_was_meant():
    plan = ck.RolloutPlan.five_stages("f", owner="ada@acme.io", team_domain="acme.io")
    for ask in (plan.stage, plan.flag_at, plan.window, plan.share, plan.changes):
        with pytest.raises(
            ck.PlanError, match=r"no stage 'expanded beta 25'.*Did you mean 'expanded beta 25%'"
        ):
            ask("expanded beta 25")


def test_people_who_do_nothing_after_their_exposure_are_still_exposed():
    log = ck.read_posthog(export())
    exposed = ck.exposures(log, "f", plan=PLAN)
    assert len(exposed.people) == 6
    assert log.select(["event"], since="2026-09-07T09:00:01Z").empty


def test_an_arm_that_nobody_is_in_is_simply_not_there():
    only = export(properties=json.dumps({"$feature_flag": "f", "$feature_flag_response": True}))
    exposed = ck.exposures(ck.read_posthog(only), "f", plan=PLAN)
    assert exposed.variants == ("true",)
    assert exposed.to_frame()["people"].tolist() == [6]


def test_a_format_or_a_size_with_a_typo_is_answered(tmp_path):
    with pytest.raises(ck.ExportFormatError, match="Did you mean 'bigquery'"):
        ck.read_posthog(export(), format="bigqery")
    export().to_parquet(tmp_path / "events.parquet")
    with pytest.raises(ck.ExportFormatError, match="memory_limit is '2 gigs'"):
        ck.scan_posthog(tmp_path / "events.parquet", memory_limit="2 gigs")
    export().to_csv(tmp_path / "events.csv")
    with pytest.raises(ck.ExportFormatError, match="use read_posthog"):
        ck.scan_posthog(tmp_path / "events.csv")


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_scan_reads_times_of_any_resolution(unit, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    times = pa.array([pd.Timestamp(NINE)], pa.timestamp(unit, "UTC"))
    table = pa.table({"event": ["a"], "distinct_id": ["d"], "timestamp": times, "properties": ["{}"]})
    pq.write_table(table, tmp_path / "events.parquet")
    log = ck.scan_posthog(tmp_path / "events.parquet")
    for columns in (["timestamp"], ["timestamp", "amount"]):
        assert log.select(columns)["timestamp"].tolist() == [pd.Timestamp(NINE)]
    assert log.time_range == (pd.Timestamp(NINE), pd.Timestamp(NINE))


def test_a_scan_counts_the_same_faults_as_a_log_in_memory_when_asked(tmp_path):
    frame = export(8).drop(columns="uuid")
    frame.loc[0, "event"] = None
    frame.loc[1, "event"] = "$snapshot"
    frame.loc[2, "timestamp"] = None
    frame.loc[3, ["person_id", "distinct_id"]] = None
    frame.loc[4, "person_id"] = None
    frame.loc[5, "properties"] = "{"
    frame.to_parquet(tmp_path / "events.parquet")
    memory = {note.code: note.count for note in ck.read_posthog(tmp_path / "events.parquet").notes}
    scan = ck.scan_posthog(tmp_path / "events.parquet")
    assert {note.code: note.count for note in scan.count_dropped()} == memory
    assert set(memory.values()) == {1}
    assert len(memory) == 6


@pytest.mark.parametrize(
    "given, message",
    [
        ({"columns": 5}, "columns is 5; expected a list of names"),
        ({"columns": [1.0]}, "columns is a list; expected a list of names"),
        ({"events": object()}, "events is a object; expected a list of names"),
        ({"where": "paid"}, "where is 'paid'; expected a mapping"),
        ({"where": np.array([1.0, 2.0])}, "where is a ndarray; expected a mapping"),
        ({"actor": None}, "actor is None; expected the name of a column"),
        ({"fn": "count"}, "fn is 'count'; expected a function"),
        ({"finish": {"a": 1}}, "finish is a dict; expected a function"),
    ],
)
def test_what_a_log_is_asked_is_of_the_kind_it_can_answer(given, message):
    frame = pd.DataFrame({"event": ["a"], "distinct_id": ["x"], "timestamp": ["2026-09-07T09:00:00Z"]})
    asked = {"columns": ["event"], "fn": len, **given}
    with pytest.raises(ck.DataError, match=re.escape(message)):
        ck.EventLog(frame).reduce(**asked)
