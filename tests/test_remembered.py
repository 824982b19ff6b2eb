"""A log on disk remembers what was taken out of it: never an older answer, whatever happens to the cache."""

import errno
import json
import os
import pickle
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import canarykit as ck
from canarykit.events.engines import parquet
from canarykit.events.remembered import folder
from canarykit.events.remembered.repeated import repeated_hashes

COLUMNS = ["person_id", "event", "timestamp", "$browser", "plan", "$group_0"]
ROWS, GROUP = 600, 200


def events(day, rows=ROWS, browser="Edge"):
    rng = random.Random(day)
    documents = [
        json.dumps({"$browser": rng.choice([browser, "é\n漢"]), "plan": rng.choice(["pro", 3, None, 2.50]),
                    "$groups": {"organization": f"org-{rng.randrange(9)}"}, "n": at})
        if rng.random() < 0.97 else rng.choice(["{broken", "", "null", None])
        for at in range(rows)
    ]  # fmt: skip
    start = pd.Timestamp("2026-09-07T00:00Z") + pd.Timedelta(days=day)
    return pa.table(
        {
            "uuid": [f"{day}-{at}" for at in range(rows)],
            "event": [rng.choice(["paid", "$pageview", "$snapshot"]) for _ in range(rows)],
            "distinct_id": [f"user-{rng.randrange(50)}" for _ in range(rows)],
            "person_id": [rng.choice([None, "", f"person-{rng.randrange(40)}"]) for _ in range(rows)],
            "properties": documents,
            "timestamp": pa.array(pd.date_range(start, periods=rows, freq="1min").as_unit("us")),
        }
    )


PERSONS = pd.DataFrame(
    {"distinct_id": [f"user-{k}" for k in range(30)], "person_id": [f"p{k}" for k in range(30)]}
)


@pytest.fixture
def export(tmp_path, monkeypatch):
    """Three days of events, and a cache for logs however small and young."""
    monkeypatch.setattr(parquet, "KEPT_FROM", 0)
    monkeypatch.setattr(folder, "YOUNG", 0)
    (tmp_path / "export").mkdir()
    for day in range(3):
        pq.write_table(events(day), tmp_path / f"export/{day}.parquet", row_group_size=GROUP)
    return tmp_path / "export"


def opened(export, cache):
    return ck.scan_posthog(export, persons=PERSONS, cache=cache)


def answer(log, columns=COLUMNS):
    rows = log.select(columns).astype(str).sort_values(columns, ignore_index=True)
    return rows.to_dict("list"), log.property_names(), log.event_names(), log.count_dropped(), log.time_range


def rows_read(log):
    """Rows whose cells were read, column by column."""
    return dict(log._engine._narrow.rows_read)


def by_duckdb(export):
    """The answer without anything remembered, through SQL."""
    log = opened(export, False)
    log._engine._narrow = None
    return answer(log)


def kept(cache):
    return sorted(cache.rglob("*.arrow"))


def test_the_second_look_reads_no_row_and_says_the_same(export, tmp_path):
    cache = tmp_path / "cache"
    first = opened(export, cache)
    expected = by_duckdb(export)
    assert answer(first) == expected
    assert set(rows_read(first).values()) == {3 * ROWS}
    again = opened(export, cache)
    assert answer(again) == expected
    assert rows_read(again) == {}


def test_another_key_is_added_beside_what_is_there(export, tmp_path):
    cache = tmp_path / "cache"
    answer(opened(export, cache))
    before = {path: path.stat().st_mtime_ns for path in kept(cache)}
    log = opened(export, cache)
    log.select(["n", "$browser"])
    assert rows_read(log) == {"properties": 3 * ROWS}
    assert {path: path.stat().st_mtime_ns for path in kept(cache) if path in before} == before
    new = [path for path in kept(cache) if path not in before]
    columns = [pa.ipc.open_stream(path.read_bytes()[64:]).schema.names for path in new]
    assert columns == [['["properties", "n"]']] * len(new) != []


def test_a_stage_announces_its_columns_and_every_row_is_read_once(export):
    log = opened(export, False)
    log.expect(COLUMNS)
    log.select(["event", "plan"])
    read = rows_read(log)
    answer(log)
    assert rows_read(log) == read
    assert set(read.values()) == {3 * ROWS}


def test_row_groups_outside_the_window_are_not_touched(export):
    log = ck.scan_posthog(export, persons=PERSONS, cache=False, deduplicate=False)
    log.select(["person_id", "plan"], since="2026-09-08T00:00Z", until="2026-09-08T03:00Z")
    assert set(rows_read(log).values()) == {GROUP}


def test_an_hourly_look_reads_only_what_is_new(export, tmp_path):
    cache = tmp_path / "cache"
    answer(opened(export, cache))
    for day in (3, 4):
        pq.write_table(events(day, rows=50), export / f"{day}.parquet")
        log = opened(export, cache)
        assert answer(log) == by_duckdb(export)
        assert set(rows_read(log).values()) == {50}


@pytest.mark.parametrize("keep_times", [False, True])
def test_a_changed_file_is_read_anew_even_with_its_size_and_time_as_before(export, tmp_path, keep_times):
    cache = tmp_path / "cache"
    answer(opened(export, cache))
    file = export / "1.parquet"
    before = file.stat()
    pq.write_table(events(1, browser="Brve"), file, row_group_size=GROUP)
    if keep_times:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    changed = opened(export, cache)
    assert answer(changed) == by_duckdb(export)
    assert "Brve" in answer(changed)[0]["$browser"]


def test_a_log_whose_file_changes_under_it_does_not_answer_from_memory(export, tmp_path):
    log = opened(export, tmp_path / "cache")
    log.select(COLUMNS)
    pq.write_table(events(1, browser="Brave"), export / "1.parquet", row_group_size=GROUP)
    assert "Brave" in log.select(COLUMNS)["$browser"].tolist()


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "other"])
def test_a_damaged_file_of_the_cache_is_passed_over_and_written_again(export, tmp_path, damage):
    cache = tmp_path / "cache"
    expected = answer(opened(export, cache))
    whole = {path: path.read_bytes() for path in kept(cache)}
    for path, content in whole.items():
        flipped = bytearray(content)
        flipped[random.Random(path.name).randrange(64, len(content))] ^= 4
        damaged = {
            "cut": content[: len(content) // 2],
            "bit": bytes(flipped),
            "empty": b"",
            "other": b"x" * 999,
        }
        path.unlink()
        path.write_bytes(damaged[damage])
    log = opened(export, cache)
    assert answer(log) == expected
    assert set(rows_read(log).values()) == {3 * ROWS}
    last = opened(export, cache)
    assert answer(last) == expected
    assert rows_read(last) == {}


def test_a_full_disk_costs_speed_and_says_so(export, tmp_path, monkeypatch):
    def full(path, taken):
        path.write_bytes(b"a part")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folder, "_write", full)
    log = opened(export, tmp_path / "cache")
    assert answer(log) == by_duckdb(export)
    assert not list((tmp_path / "cache").rglob("*.*"))
    assert "No space left" in repr(log)


def test_a_cache_that_cannot_be_made_is_gone_without(export, tmp_path):
    (tmp_path / "file").write_text("")
    log = opened(export, tmp_path / "file/cache")
    assert answer(log) == by_duckdb(export)


def test_the_cache_holds_no_more_than_it_may_and_the_oldest_go(export, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    answer(opened(export, cache))
    total = sum(path.stat().st_size for path in kept(cache))
    for path in kept(cache):
        os.utime(path, (1, 1))
    old = set(kept(cache))
    monkeypatch.setattr(folder, "MOST_BYTES", total // 2)
    log = opened(export, cache)
    log.select(["n"])
    assert sum(path.stat().st_size for path in kept(cache)) <= total // 2
    assert set(kept(cache)) - old
    assert answer(opened(export, cache)) == by_duckdb(export)


def uneven(rows=1800):
    """A third of the rows has one value where another has hundreds, or none: coded otherwise each."""
    third = rows // 3

    def document(at):
        values = {
            "few or many": "a" if at < third else f"v{at % 300}",
            "one, each its own, none": "a" if at < third else f"u{at}" if at < 2 * third else None,
            "numbers": at if at < third else 1,
            "a hundred a group": f"w{at % 100} of {at // 300}",
            "$session_id": None if at < third else f"s{at}",
            "$feature/f": bool(at % 2),
        }
        return json.dumps({name: value for name, value in values.items() if value is not None})

    return pa.table(
        {
            "event": ["view" if at % 3 else "paid" for at in range(rows)],
            "distinct_id": [f"u{at % 200}" for at in range(rows)],
            "person_id": [f"p{at % 200}" for at in range(rows)],
            "timestamp": pd.date_range("2026-09-01T00:00Z", periods=rows, freq="min").as_unit("us"),
            "properties": [document(at) for at in range(rows)],
            "uuid": [f"id{at}" for at in range(rows)],
        }
    )


@pytest.mark.parametrize("memory_limit", ["1GB", "40KB"])
def test_row_groups_that_code_a_column_each_in_its_own_way_are_one_log(export, tmp_path, memory_limit):
    pq.write_table(uneven(), tmp_path / "uneven.parquet", row_group_size=300)
    scanned = ck.scan_posthog(
        tmp_path / "uneven.parquet", cache=tmp_path / "cache", memory_limit=memory_limit
    )
    frame = ck.EventLog(uneven().to_pandas())
    for name in ("few or many", "one, each its own, none", "numbers", "a hundred a group"):
        broken = [ck.funnel_by_flag(log, ["view", "paid"], breakdown=name) for log in (scanned, frame)]
        assert broken[0].to_json() == broken[1].to_json()
    funnels = [ck.funnel_by_flag(log, ["view", "paid"], flag="f") for log in (scanned, frame)]
    people, expected = (funnel.people(2).to_frame().astype(str) for funnel in funnels)
    pd.testing.assert_frame_equal(people, expected)
    assert str(ck.sessions_by_flag(scanned, "f")) == str(ck.sessions_by_flag(frame, "f"))


def test_what_this_log_is_about_to_read_goes_after_what_others_left(export, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    answer(opened(export, cache))
    others = set(kept(cache))
    for path in others:
        os.utime(path, (time.time() + 999,) * 2)  # newer than what is written next
    monkeypatch.setattr(folder, "MOST_BYTES", sum(path.stat().st_size for path in others))
    (tmp_path / "fourth").mkdir()
    pq.write_table(events(4), tmp_path / "fourth/4.parquet", row_group_size=GROUP)
    log = opened(tmp_path / "fourth", cache)
    answer(log)
    assert set(kept(cache)) & others < others
    mine = set(kept(cache)) - others
    assert all(
        shelf in {path.parent for path in mine} for shelf in log._engine._narrow.folder._shelves.values()
    )


def test_without_a_cache_nothing_is_written(export, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    answer(opened(export, False))
    monkeypatch.setenv(folder.CACHE_ENV, "off")
    answer(opened(export, True))
    assert not (tmp_path / "home").exists()
    monkeypatch.setenv(folder.CACHE_ENV, str(tmp_path / "named"))
    answer(opened(export, True))
    assert kept(tmp_path / "named")


def test_a_file_written_a_moment_ago_is_not_kept_yet(export, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "YOUNG", 3600)
    answer(opened(export, tmp_path / "cache"))
    assert not kept(tmp_path / "cache")


def test_little_memory_costs_reading_again_and_changes_nothing(export):
    log = opened(export, False)
    log._engine._narrow.room = 1
    assert answer(log) == by_duckdb(export)
    assert answer(log) == by_duckdb(export)


@pytest.mark.parametrize("count", [1, 2, 7, 300])
def test_a_question_cut_by_person_has_every_row_once_and_every_person_whole(export, tmp_path, count):
    log = opened(export, tmp_path / "cache")
    narrow = log._engine._narrow
    query = log._query(COLUMNS, ["paid"], None, None, None, "person_id", ())
    parts = narrow.layout.parts(query, narrow.schema)
    whole = next(narrow.shards(query, parts, 1)).select(COLUMNS).to_pandas().astype(str)
    shards = [shard.select(COLUMNS).to_pandas().astype(str) for shard in narrow.shards(query, parts, count)]
    people = [set(shard["person_id"]) for shard in shards]
    assert sum(map(len, people)) == len(set.union(*people)) == whole["person_id"].nunique()
    assert len(shards) == min(count, len(shards)) > 1 or count == 1
    together = pd.concat(shards).sort_values(COLUMNS, ignore_index=True)
    pd.testing.assert_frame_equal(together, whole.sort_values(COLUMNS, ignore_index=True))


@pytest.mark.parametrize("seed", range(4))
def test_hashes_that_come_twice_are_found_in_one_go_or_by_parts(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    pool = rng.integers(1, 2**64, 400, dtype=np.uint64)
    blocks = [np.where(rng.random(100) < 0.2, 0, rng.choice(pool, 100)).astype(np.uint64) for _ in range(4)]
    values, counts = np.unique(np.concatenate(blocks), return_counts=True)
    expected = values[(counts > 1) & (values != 0)]
    assert repeated_hashes(lambda: blocks, 400).tolist() == expected.tolist()
    monkeypatch.setattr("canarykit.events.remembered.repeated.AT_ONCE", 30)
    assert repeated_hashes(lambda: blocks, 400).tolist() == expected.tolist()


def repeated(export, seed):
    """Events that came again: the same, later, or with other properties, in any file; some of no use."""
    rng = random.Random(seed)
    tables = [pq.read_table(path) for path in sorted(export.iterdir())]
    for path, table in zip(sorted(export.iterdir()), tables, strict=True):
        rows = [{**row} for source in tables for row in rng.sample(source.to_pylist(), 15)]
        for row in rows:
            if rng.random() < 0.4:
                row["properties"] = rng.choice(
                    [None, "{broken", '{"again":1,"plan":"late"}', row["properties"]]
                )
            if rng.random() < 0.3:
                row["timestamp"] += pd.Timedelta(minutes=rng.choice([-90, 5]))
            if rng.random() < 0.1:
                row["uuid"] = rng.choice([None, "", " "])
            if rng.random() < 0.1:
                row["event"] = None
        pq.write_table(
            pa.concat_tables([table, pa.Table.from_pylist(rows, table.schema)]), path, row_group_size=GROUP
        )


@pytest.mark.parametrize("seed", range(4))
def test_a_log_with_repeated_events_is_remembered_and_says_what_duckdb_says(export, tmp_path, seed):
    repeated(export, seed)
    first = answer(opened(export, tmp_path / "cache"))
    assert first == by_duckdb(export)
    assert any(note.code == "duplicates" and note.count > 50 for note in first[3])
    again = opened(export, tmp_path / "cache")
    assert answer(again) == first
    assert "properties" not in rows_read(again)
    assert rows_read(again) == {}
    copy = pickle.loads(pickle.dumps(again._engine._narrow))
    assert copy.event_names() == again.event_names()


LOOK = """
import sys, random, pathlib
sys.path.insert(0, {tests!r})
import test_remembered as t
t.parquet.KEPT_FROM = 0
t.folder.YOUNG = 0
rng = random.Random({seed})
export, cache = map(pathlib.Path, sys.argv[1:])
print("ready", flush=True)
for _ in range({looks}):
    for path in t.kept(cache):
        if rng.random() < 0.5:
            path.unlink(missing_ok=True)
    assert t.answer(t.opened(export, cache))[0] == t.answer(t.opened(export, False))[0]
print("done", flush=True)
"""


def looking(export, cache, seed, looks):
    code = LOOK.format(tests=str(Path(__file__).parent), seed=seed, looks=looks)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", code, str(export), str(cache)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


KILL = """
import os, pathlib, random, signal, sys, time
sys.path.insert(0, {tests!r})
import duckdb
import test_remembered as t
import canarykit.events.engines.duckdb, canarykit.events.exports.files
t.parquet.KEPT_FROM = 0
t.folder.YOUNG = 0
rng = random.Random({seed})
export, cache = map(pathlib.Path, sys.argv[1:])
write = t.folder._write

def on_a_slow_disk(path, taken):
    write(path, taken)
    content = path.read_bytes()
    for end in range(0, len(content), 1 + len(content) // 8):
        path.write_bytes(content[:end])
        time.sleep(0.0005)
    path.write_bytes(content)

t.folder._write = on_a_slow_disk
broken = halves = 0
for number in range({kills}):
    look = os.fork()
    if not look:
        while True:
            for path in t.kept(cache):
                path.unlink(missing_ok=True)
            t.opened(export, cache).select(t.COLUMNS)
    time.sleep({longest} * rng.random())
    os.kill(look, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(look, 0)[1]), "the look came to an end by itself"
    broken += sum(t.folder._read_batch(path) is None for path in t.kept(cache))
    left = list(cache.rglob("*.tmp"))
    halves += len(left)
    for path in left:
        path.unlink()
print(broken, halves, flush=True)
"""


def kill_often(export, cache, kills, longest, seed=0):
    """Kill looks that write the cache, each at a random moment: files found broken, and left half written."""
    code = KILL.format(tests=str(Path(__file__).parent), seed=seed, kills=kills, longest=longest)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", code, str(export), str(cache)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        check=True,
    )
    return tuple(map(int, run.stdout.split()))


@pytest.mark.slow
def test_two_processes_may_write_the_same_cache(export, tmp_path):
    cache = tmp_path / "cache"
    both = [looking(export, cache, seed, 2) for seed in range(2)]
    assert [process.communicate()[0] for process in both] == ["ready\ndone\n"] * 2
    assert answer(opened(export, cache)) == by_duckdb(export)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_process_killed_at_any_moment_leaves_no_broken_file(export, tmp_path):
    cache = tmp_path / "cache"
    broken, _ = kill_often(export, cache, kills=12, longest=0.5)
    assert broken == 0
    assert answer(opened(export, cache)) == by_duckdb(export)
