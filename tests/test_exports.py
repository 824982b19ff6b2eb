"""Exports in the shapes PostHog and its destinations write them."""

import gzip
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import canarykit as ck

NINE = pd.Timestamp("2026-09-07T09:00Z")


def batch_rows(n=3):
    """Rows of a batch export: properties nested, times in ISO text."""
    return [
        {
            "uuid": f"0191-{i}",
            "event": ["$feature_flag_called", "paid", "$pageview"][i % 3],
            "distinct_id": f"{i:03d}",
            "person_id": f"p{i}",
            "properties": {
                "$feature_flag": "f",
                "$feature_flag_response": bool(i % 2),
                "$feature/f": bool(i % 2),
                "amount": 9.5,
            },
            "person_properties": {"email": f"{i}@acme.io"},
            "elements_chain": "",
            "timestamp": "2026-09-07T09:00:00.000000Z",
            "created_at": "2026-09-07T09:00:05.000000Z",
            "_inserted_at": "2026-09-07T09:01:00.000000Z",
            "column_of_next_year": 1,
        }
        for i in range(n)
    ]


def batch_frame(rows):
    frame = pd.DataFrame(rows)
    for name in ("properties", "person_properties"):
        frame[name] = frame[name].map(json.dumps)
    for name in ("timestamp", "created_at", "_inserted_at"):
        frame[name] = pd.to_datetime(frame[name])
    return frame


def written(kind, folder, rows):
    """The rows as one of the files that a batch export writes."""
    if kind.startswith("parquet"):
        file = folder / f"2026-09-07.{kind}"
        frame = batch_frame(rows)
        if "naive" in kind:
            file = folder / "naive.parquet"
            for name in ("timestamp", "created_at", "_inserted_at"):
                frame[name] = frame[name].dt.tz_localize(None)
        frame.to_parquet(file)
        return file
    text = "".join(json.dumps(row) + "\n" for row in rows)
    file = folder / f"2026-09-07.{kind}"
    if kind.endswith(".gz"):
        file.write_bytes(gzip.compress(text.encode()))
    else:
        file.write_text(text)
    return file


KINDS = ("parquet", "parquet.zst", "parquet naive", "jsonl", "jsonl.gz")


@pytest.mark.parametrize("read", [ck.read_posthog, ck.scan_posthog])
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_export_reads_the_same_from_every_kind_of_file(kind, read, tmp_path):
    log = read(written(kind, tmp_path, batch_rows()))
    columns = ["event", "timestamp", "distinct_id", "person_id", "amount", "$feature/f", "person.email"]
    rows = log.select([*columns, "created_at"]).sort_values("distinct_id").reset_index(drop=True)
    assert rows["distinct_id"].tolist() == ["000", "001", "002"]
    assert rows["$feature/f"].tolist() == ["false", "true", "false"]
    assert rows["amount"].tolist() == ["9.5"] * 3
    assert rows["person.email"].tolist() == ["0@acme.io", "1@acme.io", "2@acme.io"]
    assert set(rows["timestamp"]) == {NINE}
    assert set(rows["created_at"]) == {NINE + pd.Timedelta("5s")}


@pytest.mark.parametrize("read", [ck.read_posthog, ck.scan_posthog])
def test_files_of_a_folder_a_glob_and_a_list_are_read_together_without_the_manifest(read, tmp_path):
    rows = batch_rows(6)
    for number in range(3):
        part = batch_frame(rows[2 * number : 2 * number + 2])
        part.to_parquet(tmp_path / f"part-{number}.parquet")
    (tmp_path / "part_manifest.json").write_text("{}")
    parts = sorted(tmp_path.glob("*.parquet"))
    for path in (tmp_path, str(tmp_path / "*.parquet"), parts):
        assert len(read(path).select(["uuid"])) == 6


@pytest.mark.parametrize("read", [ck.read_posthog, ck.scan_posthog])
def test_events_that_came_twice_are_removed_by_their_uuid_and_counted(read, tmp_path):
    rows = batch_rows(4)
    batch_frame(rows[:3]).to_parquet(tmp_path / "a.parquet")
    batch_frame(rows[1:]).to_parquet(tmp_path / "b.parquet")
    log = read(tmp_path)
    assert sorted(log.select(["uuid"])["uuid"]) == ["0191-0", "0191-1", "0191-2", "0191-3"]
    assert {note.code: note.count for note in log.count_dropped()}["duplicates"] == 2


def test_uuids_are_compared_once_and_by_every_question_only_where_some_came_twice(tmp_path):
    rows = batch_rows(4)
    batch_frame(rows).to_parquet(tmp_path / "once.parquet")
    batch_frame([*rows, rows[0]]).to_parquet(tmp_path / "twice.parquet")
    questions = [
        ck.scan_posthog(tmp_path / f"{name}.parquet").explain(["event"]) for name in ("once", "twice")
    ]
    assert ["QUALIFY" in question for question in questions] == [False, True]


def test_events_without_a_uuid_are_no_duplicates_of_each_other(tmp_path):
    frame = batch_frame(batch_rows(3)).assign(uuid=None)
    frame.to_parquet(tmp_path / "a.parquet")
    assert len(ck.read_posthog(tmp_path / "a.parquet")) == 3
    assert len(ck.scan_posthog(tmp_path / "a.parquet").select(["event"])) == 3


def test_replay_data_is_dropped_and_counted(tmp_path):
    rows = batch_rows(3)
    rows[0]["event"] = "$snapshot"
    for read in (ck.read_posthog, ck.scan_posthog):
        log = read(written("jsonl", tmp_path, rows))
        assert len(log.select(["event"])) == 2
        assert {note.code: note.count for note in log.count_dropped()} == {"snapshots": 1}


def test_the_persons_export_replaces_person_ids_frozen_at_ingestion(tmp_path):
    persons = pd.DataFrame(
        {
            "team_id": 1,
            "distinct_id": ["000", "001"],
            "person_id": ["merged", "merged"],
            "properties": ['{"plan": "pro"}', '{"plan": "pro"}'],
            "person_version": 1,
            "person_distinct_id_version": 1,
            "created_at": NINE,
        }
    )
    persons.to_parquet(tmp_path / "persons.parquet")
    file = written("jsonl", tmp_path, batch_rows())
    for read in (ck.read_posthog, ck.scan_posthog):
        log = read(file, persons=tmp_path / "persons.parquet")
        rows = log.select(["person_id", "person.plan"]).sort_values("person_id")
        assert rows["person_id"].tolist() == ["merged", "merged", "p2"]
        assert rows["person.plan"].tolist()[:2] == ["pro", "pro"]


WAREHOUSES = {
    "bigquery": {
        "uuid": "1", "event": "paid", "properties": '{"amount": 1}', "elements": "[]", "set": "{}",
        "set_once": "{}", "distinct_id": "ada", "team_id": 1, "ip": "", "site_url": "",
        "timestamp": "2026-09-07 09:00:00 UTC", "bq_ingested_timestamp": "2026-09-07 09:00:00 UTC",
    },
    "snowflake": {
        "UUID": "1", "EVENT": "paid", "PROPERTIES": '{"amount": 1}', "ELEMENTS": "[]", "PEOPLE_SET": "{}",
        "PEOPLE_SET_ONCE": "{}", "DISTINCT_ID": "ada", "TEAM_ID": 1, "IP": "", "SITE_URL": "",
        "TIMESTAMP": "2026-09-07 09:00:00.000",
    },
    "postgres": {
        "uuid": "1", "event": "paid", "properties": '{"amount": 1}', "elements": "[]", "set": "{}",
        "set_once": "{}", "distinct_id": "ada", "team_id": 1, "ip": "", "site_url": "",
        "timestamp": "2026-09-07 09:00:00+00",
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", WAREHOUSES)
def test_warehouse_tables_have_no_person_ids_and_get_them_from_the_persons_table(kind, tmp_path):
    frame = pd.DataFrame([WAREHOUSES[kind]])
    persons = pd.DataFrame({"team_id": [1], "distinct_id": ["ada"], "person_id": ["P"]})
    columns = ["person_id", "amount", "timestamp"]
    frame.to_csv(tmp_path / "events.csv", index=False)
    for source in (frame, tmp_path / "events.csv"):
        log = ck.read_posthog(source, persons=persons, format=kind)
        assert log.select(columns).values.tolist() == [["P", "1", NINE]]
    without = ck.read_posthog(frame, format=kind)
    assert without.select(["person_id"])["person_id"].tolist() == ["ada"]
    assert "distinct_id_used" in {note.code for note in without.notes}


def test_a_query_answer_reads_with_its_dotted_columns(tmp_path):
    answer = {
        "columns": [
            "uuid", "event", "timestamp", "distinct_id", "person_id", "properties.$feature/f",
            "person.properties.email", "properties",
        ],
        "types": ["UUID", "String", "DateTime", "String", "UUID", "String", "String", "String"],
        "results": [["1", "paid", "2026-09-07T09:00:00Z", "7", "P", "true", "a@b.io", '{"amount": 3}']],
        "hasMore": True,
    }  # fmt: skip
    (tmp_path / "answer.json").write_text(json.dumps(answer))
    log = ck.read_posthog(tmp_path / "answer.json")
    rows = log.select(["person_id", "$feature/f", "person.email", "amount", "distinct_id"])
    assert rows.values.tolist() == [["P", "true", "a@b.io", "3", "7"]]
    assert log.notes[0].code == "more_pages"


def test_the_older_events_api_reads_with_its_nested_person(tmp_path):
    rows = {
        "next": None,
        "results": [
            {
                "id": "1",
                "distinct_id": 7,
                "properties": {"amount": 3, "$feature/f": True},
                "event": "paid",
                "timestamp": "2026-09-07T09:00:00+00:00",
                "person": {"uuid": "P", "distinct_ids": ["7"], "properties": {"email": "a@b.io"}},
                "elements": [],
                "elements_chain": "",
            }
        ],
    }
    (tmp_path / "events.json").write_text(json.dumps(rows))
    log = ck.read_posthog(tmp_path / "events.json")
    selected = log.select(["uuid", "person_id", "$feature/f", "person.email", "amount", "distinct_id"])
    assert selected.values.tolist() == [["1", "P", "true", "a@b.io", "3", "7"]]


def test_the_csv_of_the_user_interface_reads_with_flattened_columns_and_python_booleans(tmp_path):
    (tmp_path / "events.csv").write_text(
        "event,distinct_id,timestamp,properties.$feature/f,properties.amount,person.properties.email\n"
        "paid,007,2026-09-07T09:00:00.000Z,True,3,a@b.io\n"
        "paid,008,2026-09-07T09:00:00.000Z,False,,\n"
    )
    log = ck.read_posthog(tmp_path / "events.csv")
    rows = log.select(["distinct_id", "$feature/f", "amount", "person.email"])
    assert rows["distinct_id"].tolist() == ["007", "008"]
    assert rows["$feature/f"].tolist() == ["true", "false"]
    assert rows["amount"].isna().tolist() == [False, True]


def test_a_csv_with_json_properties_reads_them(tmp_path):
    frame = pd.DataFrame([{**row, "properties": json.dumps(row["properties"])} for row in batch_rows()])
    frame.to_csv(tmp_path / "events.csv.gz", index=False)
    assert ck.read_posthog(tmp_path / "events.csv.gz").select(["amount"])["amount"].tolist() == ["9.5"] * 3


def test_hive_folders_are_scanned_and_their_keys_are_columns(tmp_path):
    for day in (7, 8):
        folder = tmp_path / f"day=2026-09-0{day}"
        folder.mkdir()
        batch_frame(batch_rows(2)).assign(uuid=[f"{day}a", f"{day}b"]).to_parquet(folder / "part.parquet")
    log = ck.scan_posthog(tmp_path)
    rows = log.select(["uuid", "day"], where={"day": "2026-09-08"})
    assert sorted(rows["uuid"]) == ["8a", "8b"]


def test_files_whose_columns_differ_are_scanned_together(tmp_path):
    batch_frame(batch_rows(1)).to_parquet(tmp_path / "old.parquet")
    newer = batch_frame(batch_rows(2)).iloc[1:].assign(extra="x")
    newer[["extra", *newer.columns[:-1]]].to_parquet(tmp_path / "new.parquet")
    selected = ck.scan_posthog(tmp_path).select(["uuid", "extra"]).sort_values("uuid")
    assert selected["uuid"].tolist() == ["0191-0", "0191-1"]
    assert selected["extra"].isna().tolist() == [True, False]


def test_a_scan_reads_plain_columns_by_row_group_and_the_rest_through_sql(tmp_path):
    n = 1000
    table = pa.table(
        {
            "person_id": pa.array(range(n)),
            "timestamp": pa.array(range(n), pa.timestamp("us", "UTC")),
            "event": pa.array(["a", "b"] * (n // 2)),
            "$feature/f": pa.array([True, None] * (n // 2)),
            "amount": pa.array([1.0, 1.5] * (n // 2)),
        }
    )
    pq.write_table(table, tmp_path / "flat.parquet", row_group_size=100)
    log = ck.scan_posthog(tmp_path / "flat.parquet")
    columns = ["person_id", "timestamp", "event", "$feature/f", "amount"]
    question = {"events": ["b"], "since": "1970-01-01T00:00:00.000250Z"}
    (read,) = log.reduce(columns, lambda part: part, native=["person_id"], **question)
    assert read.schema.field("person_id").type == pa.int64()
    assert pa.types.is_dictionary(read.schema.field("event").type)
    assert read.num_rows == 375
    plain = ck.EventLog(table.to_pandas())
    left, right = (
        part.select(columns, **question).sort_values("timestamp").reset_index(drop=True)
        for part in (log, plain)
    )
    pd.testing.assert_frame_equal(left, right)
    assert log.time_range == plain.time_range


def test_a_scan_larger_than_its_memory_hands_out_several_shards_with_whole_people(tmp_path):
    rows = batch_rows(300)
    for i, row in enumerate(rows):
        row["person_id"] = f"p{i % 50}"
    written("jsonl", tmp_path, rows)
    batch_frame(rows).to_parquet(tmp_path / "big.parquet")
    for file in ("2026-09-07.jsonl", "big.parquet"):
        log = ck.scan_posthog(tmp_path / file, memory_limit="5KB")
        parts = log.reduce(["person_id", "uuid"], lambda part: part.to_pydict())
        assert len(parts) > 3
        people = [set(part["person_id"]) for part in parts]
        assert sum(map(len, people)) == len(set().union(*people)) == 50
        assert sum(len(part["uuid"]) for part in parts) == 300


def test_shards_follow_the_actor_that_is_asked_for(tmp_path):
    rows = batch_rows(200)
    for i, row in enumerate(rows):
        row["properties"]["$session_id"] = f"s{i % 20}"
    batch_frame(rows).to_parquet(tmp_path / "big.parquet")
    log = ck.scan_posthog(tmp_path / "big.parquet", memory_limit="5KB")
    parts = log.reduce(
        ["uuid", "session_id"], lambda part: set(part["session_id"].to_pylist()), actor="session_id"
    )
    assert len(parts) > 1
    assert sum(map(len, parts)) == 20


def test_the_query_that_is_sent_can_be_read(tmp_path):
    log = ck.scan_posthog(written("parquet", tmp_path, batch_rows()))
    sql = log.explain(["amount"], events=["paid"], since=NINE)
    assert "json_extract_string" in sql
    assert "IN ('paid')" in sql
    with pytest.raises(ck.DataError, match="read by DuckDB, not by 'bigquery'"):
        log.explain(["amount"], dialect="bigquery")
    with pytest.raises(TypeError, match="filters in this process"):
        ck.read_posthog(written("parquet", tmp_path, batch_rows())).explain(["amount"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "dialect",
    ["bigquery", "snowflake", "duckdb", "trino", "athena", "clickhouse", "mysql", "mssql", "postgres"],
)
def test_a_warehouse_is_asked_to_filter_project_and_read_json_itself(dialect):
    ibis = pytest.importorskip("ibis")

    schema = {
        "event": "string",
        "timestamp": "timestamp('UTC')",
        "distinct_id": "string",
        "properties": "jsonb" if dialect == "postgres" else "string",
    }
    log = ck.EventLog(ibis.table({**schema, "elements": "string"}, name="events"))
    window = {"since": NINE, "until": NINE + pd.Timedelta("1d")}
    columns = ["person_id", "timestamp", "$feature/f"]
    sql = log.explain(columns, events=["paid"], **window, dialect=dialect)
    flat = " ".join(sql.split())
    assert "IN ('paid')" in flat
    assert flat.count("2026") == 2
    assert "$feature" in flat.partition("FROM")[0]
    assert "JSON" in flat.partition("FROM")[0].upper()
    assert "elements" not in flat
    sql = log.explain(["person_id"], where={"$feature_flag": "f"}, dialect=dialect)
    assert "IN ('f')" in " ".join(sql.split())


def test_where_people_cannot_be_told_apart_merges_are_read_from_a_scan_too(tmp_path):
    rows = batch_rows(2)
    for row in rows:
        del row["person_id"]
    rows[0] |= {"event": "$identify", "distinct_id": "ada", "properties": {"$anon_distinct_id": "001"}}
    log = ck.scan_posthog(written("jsonl", tmp_path, rows))
    assert set(log.select(["person_id"])["person_id"]) == {"ada"}
    assert {note.code: note.count for note in log.notes}["merged"] == 1


def test_other_questions_may_be_asked_while_events_are_streamed(tmp_path):
    persons = pd.DataFrame({"distinct_id": ["001"], "person_id": ["P"]})
    log = ck.scan_posthog(written("jsonl", tmp_path, batch_rows(9)), persons=persons)
    one, two = log.batches(["person_id"]), log.batches(["amount"])
    first = next(one)
    assert sum(log.event_names().values()) == 9
    assert next(two).num_rows + sum(part.num_rows for part in two) == 9
    assert first.num_rows + sum(part.num_rows for part in one) == 9
