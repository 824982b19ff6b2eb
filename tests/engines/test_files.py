"""Where exports lie: folders, globs, URLs, open files, tables with a log; and who may read at once."""

import io
import json
import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import canarykit as ck
from canarykit.errors import DataError, ExportFormatError

NINE = pd.Timestamp("2026-09-07T09:00:00Z")
READ = [ck.read_posthog, ck.scan_posthog]


def events(*people, **columns):
    frame = pd.DataFrame({"event": "paid", "distinct_id": list(people), "timestamp": NINE})
    return frame.assign(**columns)


def people_of(log):
    return sorted(log.select(["person_id"])["person_id"])


@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("name", ["events[1].parquet", "all*.parquet", "what?.parquet", "a b.parquet"])
def test_a_file_whose_name_looks_like_a_pattern_is_the_file_named(read, name, tmp_path):
    events("right").to_parquet(tmp_path / name)
    for other in ("events1.parquet", "allofthem.parquet", "whatx.parquet"):
        events("wrong").to_parquet(tmp_path / other)
    assert people_of(read(tmp_path / name)) == ["right"]


@pytest.mark.parametrize("read", READ)
def test_hidden_files_and_what_a_writer_has_not_finished_are_left_out(read, tmp_path):
    events("done").to_parquet(tmp_path / "part-0.parquet")
    for name in (
        "_temporary/0/part-1.parquet",
        ".hidden/part-2.parquet",
        "_part-3.parquet",
        ".part-4.parquet",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        events("not done").to_parquet(tmp_path / name)
    (tmp_path / ".part-0.parquet.crc").write_bytes(b"crc")
    (tmp_path / "_SUCCESS").write_bytes(b"")
    assert people_of(read(tmp_path)) == ["done"]
    assert people_of(read(str(tmp_path / "**/*.parquet"))) == ["done"]


@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("where", ["", "*.parquet", "**/*.parquet", "part-0.parquet"])
@pytest.mark.parametrize("log", ["_delta_log/0.json", "metadata/v1.metadata.json", ".hoodie/x"])
def test_files_of_a_table_with_a_log_of_its_own_are_refused_with_the_call_that_reads_it(
    read, where, log, tmp_path
):
    events("deleted").to_parquet(tmp_path / "part-0.parquet")
    (tmp_path / log).parent.mkdir()
    (tmp_path / log).write_text("{}")
    with pytest.raises(
        ExportFormatError, match=r"is a table of (Delta|Iceberg|Hudi).*has deleted; read it with"
    ):
        read(str(tmp_path / where) if where else tmp_path)


def test_rows_deleted_from_a_delta_table_stay_deleted(tmp_path):
    deltalake = pytest.importorskip("deltalake")
    deltalake.write_deltalake(str(tmp_path), pa.Table.from_pandas(events("kept", "gone")))
    table = deltalake.DeltaTable(str(tmp_path))
    table.delete("distinct_id = 'gone'")
    assert people_of(ck.read_posthog(table)) == ["kept"]
    assert people_of(ck.EventLog(table)) == ["kept"]


@pytest.mark.filterwarnings("ignore")  # of the catalogue's own
def test_rows_deleted_from_an_iceberg_table_stay_deleted(tmp_path):
    memory = pytest.importorskip("pyiceberg.catalog.memory")
    catalogue = memory.InMemoryCatalog("test", warehouse=tmp_path.as_uri())
    catalogue.create_namespace("n")
    rows = pa.Table.from_pandas(events("kept", "gone"), preserve_index=False)
    rows = rows.set_column(2, "timestamp", rows.column("timestamp").cast(pa.timestamp("us", "UTC")))
    table = catalogue.create_table("n.events", schema=rows.schema)
    table.append(rows)
    table.delete("distinct_id = 'gone'")
    assert people_of(ck.read_posthog(table)) == ["kept"]
    assert people_of(ck.EventLog(table)) == ["kept"]
    with pytest.raises(ExportFormatError, match="is a table of Iceberg"):
        ck.read_posthog(str(next(tmp_path.glob("**/metadata")).parent))


@pytest.mark.parametrize("read", READ)
def test_the_home_folder_may_be_written_short(read, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    events("ada").to_parquet(tmp_path / "events.parquet")
    assert people_of(read("~/events.parquet")) == ["ada"]
    assert people_of(read(f"file://{tmp_path}/events.parquet")) == ["ada"]


@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_urls_are_read_one_by_one_by_folder_and_by_pattern(read, kind):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    for number, who in enumerate(("ada", "bob")):
        with memory.open(f"/bucket/day=2026-09-0{number + 1}/events.{kind}", "wb") as stream:
            if kind == "parquet":
                events(who).to_parquet(stream)
            else:
                stream.write(events(who).to_json(orient="records", lines=True, date_format="iso").encode())
    memory.pipe("/bucket/_temporary/half.parquet", b"half")
    url = f"memory://bucket/day=2026-09-01/events.{kind}"
    assert people_of(read(url)) == ["ada"]
    assert people_of(read("memory://bucket")) == ["ada", "bob"]
    assert people_of(read(f"memory://bucket/*/events.{kind}")) == ["ada", "bob"]
    if kind == "parquet":
        days = read("memory://bucket/**/*.parquet").select(["day"])["day"]
        assert set(days) == {"2026-09-01", "2026-09-02"}
    with pytest.raises(ExportFormatError, match="memory://bucket/none"):
        read("memory://bucket/none.parquet")
    with fsspec.open(url) as stream:
        assert people_of(read(stream)) == ["ada"]
    assert people_of(read(fsspec.open(url))) == ["ada"]


def test_an_open_file_is_read(tmp_path):
    events("ada").to_csv(tmp_path / "events.csv", index=False)
    with (tmp_path / "events.csv").open("rb") as stream:
        assert people_of(ck.read_posthog(stream)) == ["ada"]
    content = io.BytesIO((tmp_path / "events.csv").read_bytes())
    assert people_of(ck.read_posthog(content)) == ["ada"]


@pytest.mark.parametrize("read", READ)
def test_folders_of_the_hive_way_are_columns(read, tmp_path):
    for name, who in (("event=paid/day=01", "ada"), ("event=view/day=02", "bob")):
        (tmp_path / name).mkdir(parents=True)
        events(who).drop(columns="event").to_parquet(tmp_path / name / "0.parquet")
    log = read(tmp_path)
    assert log.event_names() == {"paid": 1, "view": 1}
    assert sorted(log.select(["event", "day"]).itertuples(index=False, name=None)) == [
        ("paid", "01"),
        ("view", "02"),
    ]


def test_a_path_given_to_an_event_log_names_the_call_that_reads_it():
    with pytest.raises(DataError, match=r"use read_posthog\('events.parquet'\)"):
        ck.EventLog("events.parquet")


@pytest.mark.parametrize("sign", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["", "sign"])
def test_a_csv_of_any_sign_and_with_signs_at_the_end_of_its_lines_is_read(sign, end, tmp_path):
    end = sign if end else ""
    lines = [["event", "distinct_id", "timestamp"], ["paid", '"a, ""b"""', "2026-09-07T09:00:00Z"]]
    text = "\n".join(sign.join(line) + (end if at else "") for at, line in enumerate(lines))
    (tmp_path / "events.csv").write_text(text)
    assert people_of(ck.read_posthog(tmp_path / "events.csv")) == ['a, "b"']


def test_a_csv_line_with_a_value_too_many_is_named(tmp_path):
    text = "event,distinct_id,timestamp\npaid,ada,2026-09-07T09:00:00Z\npaid,bob,2026-09-07T09:00:00Z,more\n"
    (tmp_path / "events.csv").write_text(text)
    with pytest.raises(ExportFormatError, match=r"4 values in line 3.*'more' stands beyond"):
        ck.read_posthog(tmp_path / "events.csv")


def test_the_csv_of_the_events_tab_is_read(tmp_path):
    header = "*.uuid,*.event,*.properties.$os,*.timestamp,*.distinct_id,event,person.uuid,timestamp"
    row = "1,$pageview,iOS,2026-09-07T09:00:00+01:00,ada,Pageview,p1,9 days ago"
    (tmp_path / "events.csv").write_text(f"{header}\n{row}\n")
    log = ck.read_posthog(tmp_path / "events.csv")
    rows = log.select(["event", "person_id", "$os", "timestamp"]).values.tolist()
    assert rows == [["$pageview", "p1", "iOS", pd.Timestamp("2026-09-07T08:00Z")]]


@pytest.mark.parametrize("read", READ)
def test_a_file_of_another_kind_among_the_events_is_named(read, tmp_path):
    events("ada").to_parquet(tmp_path / "1.parquet")
    pd.DataFrame({"person_id": ["p"], "email": ["e"]}).to_parquet(tmp_path / "persons.parquet")
    with pytest.raises(ExportFormatError, match=r"persons\.parquet lacks 'event'"):
        read(tmp_path)


@pytest.mark.parametrize("read", READ)
def test_replay_data_is_counted_where_no_row_lacks_anything(read, tmp_path):
    rows = events("ada", "bob", "cyd").assign(
        event=["paid", "$snapshot", "$snapshot"], person_id=["a", "b", "c"]
    )
    rows.to_parquet(tmp_path / "events.parquet")
    log = read(tmp_path / "events.parquet")
    assert {note.code: note.count for note in log.count_dropped()} == {"snapshots": 2}
    assert log.event_names() == {"paid": 1}


@pytest.mark.parametrize("read", READ)
def test_shouted_columns_are_read(read, tmp_path):
    events("ada", plan="pro").rename(columns=str.upper).to_parquet(tmp_path / "events.parquet")
    assert read(tmp_path / "events.parquet").select(["person_id", "plan"]).values.tolist() == [["ada", "pro"]]


def test_frames_that_are_lazy_are_collected():
    polars = pytest.importorskip("polars")
    frame = polars.from_pandas(events("ada")).lazy()
    persons = polars.DataFrame({"distinct_id": ["ada"], "person_id": ["p"]}).lazy()
    groups = polars.DataFrame({"group_type_index": [0], "group_key": ["acme"], "plan": ["pro"]}).lazy()
    log = ck.read_posthog(frame, persons=persons, groups=groups)
    assert people_of(log) == ["p"]
    assert log.groups["plan"].tolist() == ["pro"]


def scanned(folder, n=2_000):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "event": rng.choice(["a", "b"], n),
            "person_id": rng.integers(50, size=n).astype(str),
            "distinct_id": "d",
            "timestamp": NINE + pd.to_timedelta(rng.integers(10**6, size=n), unit="s"),
            "properties": [json.dumps({"$feature/f": bool(x)}) for x in rng.integers(2, size=n)],
        }
    )
    frame.to_parquet(Path(folder) / "events.parquet")
    return ck.scan_posthog(Path(folder) / "events.parquet")


def counts_of(log):
    return ck.funnel_by_flag(log, ["a", "b"], flag="f").counts


def test_one_log_answers_several_threads_at_once(tmp_path):
    import duckdb

    log = scanned(tmp_path)
    connection = duckdb.connect()  # older versions close one that nobody holds
    relation = ck.EventLog(connection.read_parquet(str(tmp_path / "events.parquet")))
    expected = counts_of(log)
    for asked in (log, relation):
        with ThreadPoolExecutor(6) as pool:
            assert all(counts == expected for counts in pool.map(counts_of, [asked] * 12))


def test_a_scan_can_be_pickled_and_a_relation_says_that_it_cannot(tmp_path):
    import duckdb

    log = scanned(tmp_path)
    assert counts_of(pickle.loads(pickle.dumps(log))) == counts_of(log)
    connection = duckdb.connect()  # older versions close one that nobody holds
    relation = ck.EventLog(connection.read_parquet(str(tmp_path / "events.parquet")))
    with pytest.raises(DataError, match="cannot be pickled"):
        pickle.dumps(relation)


def _in_child(log, pipe):
    try:
        pipe.send(counts_of(log))
    except DataError as problem:
        pipe.send(str(problem))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_after_a_fork_a_scan_answers_and_a_relation_says_why_not(tmp_path):
    import duckdb

    log = scanned(tmp_path)
    expected = counts_of(log)
    connection = duckdb.connect()  # older versions close one that nobody holds
    relation = ck.EventLog(connection.read_parquet(str(tmp_path / "events.parquet")))
    fork = multiprocessing.get_context("fork")
    for asked, answer in ((log, expected), (relation, "does not survive a fork")):
        here, there = fork.Pipe()
        child = fork.Process(target=_in_child, args=(asked, there))
        child.start()
        received = here.recv() if here.poll(30) else "no answer"
        child.join(5)
        child.kill()
        assert received == answer or answer in received
