"""Events come over every road as they are, once, and only what is new; what may be missing is said."""

import json
import shutil
import tracemalloc
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

import canarykit as ck
from canarykit.posthog.fetch import fetch_events
from canarykit.posthog.file_exports import FileExports
from canarykit.posthog.hogql import HogQL
from canarykit.release import refusals
from canarykit.release.keys import Key
from canarykit.release.transport import Transport
from tests.posthog_server import MISSING

if MISSING:
    pytest.skip(f"the loopback server needs {MISSING}", allow_module_level=True)

from tests.posthog_server.model import KEY, Project
from tests.posthog_server.serve import Fault
from tests.posthog_server.warehouse import Warehouse

SAMPLE = Path(__file__).parents[1] / "sample_data"
SINCE, UNTIL = "2026-09-13T09:00:00Z", "2026-09-17T09:00:00Z"  # of the sample, for speed
GROUPS = [{"properties": [], "rollout_percentage": 5}]


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Four days of the sample, every fifth event, and the people in them."""
    folder = tmp_path_factory.mktemp("sample")
    events = pd.read_parquet(SAMPLE / "events.parquet")
    events = events[(events["timestamp"] >= SINCE) & (events["timestamp"] < UNTIL)][::5]
    events.to_parquet(folder / "events.parquet")
    persons = pd.read_parquet(SAMPLE / "persons.parquet")
    persons[persons["person_id"].isin(events["person_id"])].to_parquet(folder / "persons.parquet")
    shutil.copy(SAMPLE / "groups.parquet", folder)
    return folder


@pytest.fixture(scope="module")
def warehouse(sample):
    made = Warehouse()
    made.load(*(sample / f"{name}.parquet" for name in ("events", "persons", "groups")))
    return made


@pytest.fixture
def server(loopback, warehouse):
    """A newer one; an older one differs in its flags only."""
    project = Project("new")
    project.add_flag({"key": "new-checkout", "filters": {"groups": GROUPS}})
    warehouse.zone, warehouse.seen = "UTC", []
    return loopback.begin(project, warehouse)


@pytest.fixture
def no_waiting(monkeypatch):
    """Retries without their pauses."""
    monkeypatch.setattr("urllib3.util.retry.time.sleep", lambda seconds: None)


def connect(server, tmp_path, **options):
    return ck.PostHog(server.url, 7, KEY, record=tmp_path / "release.jsonl", **options)


def rows(log):
    """Every event of a log, in one order whatever road it came by."""
    frame = log.frame[["uuid", "event", "distinct_id", "person_id", "properties", "timestamp"]].copy()
    frame = frame.astype({"uuid": str, "event": str, "distinct_id": str, "person_id": str, "properties": str})
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], utc=True).dt.as_unit("us")
    return frame.sort_values("uuid", ignore_index=True)


def test_the_storage_of_files_never_sees_the_key(server, tmp_path):
    connect(server, tmp_path).events(into=tmp_path / "release", since=SINCE, until="2026-09-13T19:00:00Z")
    assert server.storage_headers
    assert all("Authorization" not in headers for headers in server.storage_headers)


def test_a_second_run_fetches_only_what_is_new(server, tmp_path):
    project = connect(server, tmp_path)
    options = {"into": tmp_path / "release", "since": SINCE}
    first = project.events(until="2026-09-15T09:00:00Z", **options)
    second = project.events(until="2026-09-15T09:00:00Z", **options)
    third = project.events(until="2026-09-16T09:00:00Z", **options)
    assert first.fetched > 2_000
    assert second.fetched == 0
    assert 0 < third.fetched < first.fetched
    assert third.log().time_range[1] >= pd.Timestamp("2026-09-16T08:00:00Z")
    with pytest.raises(ck.DataError, match="holds other events"):
        project.events(names=["paid"], **options)


def test_times_that_may_still_get_late_events_are_fetched_again(server, tmp_path, monkeypatch):
    project = connect(server, tmp_path)
    clock = pd.Timestamp("2026-09-16T12:00:00Z")
    monkeypatch.setattr(project._transport, "now", lambda: clock.to_pydatetime())
    first = project.events(into=tmp_path / "release", since=SINCE)
    assert [window["settled"] for window in first.windows] == [True, False]
    clock += timedelta(hours=1)
    second = project.events(into=tmp_path / "release", since=SINCE)
    assert second.windows[-1]["until"] == clock.isoformat()
    assert second.fetched < first.fetched
    assert second.log().frame["uuid"].is_unique


def test_only_the_properties_that_are_asked_for_are_fetched(server, tmp_path):
    options = {"names": ["paid"], "flag": "new-checkout", "properties": ["amount"]}
    until = "2026-09-15T09:00:00Z"
    fetched = connect(server, tmp_path).events(
        into=tmp_path / "release", since="2026-09-14T09:00:00Z", until=until, **options
    )
    log = fetched.log()
    assert {"paid", "$feature_flag_called"} <= set(log.event_names())
    keys = {key for text in log.frame["properties"] for key in json.loads(text)}
    assert "amount" in keys
    assert "$feature/new-checkout" in keys
    assert "$current_url" not in keys


def test_a_key_without_the_scope_for_files_takes_the_other_road_and_says_so(server, tmp_path):
    server.project.scopes[KEY] -= {"batch_export:write"}
    fetched = connect(server, tmp_path).events(
        into=tmp_path / "release", since="2026-09-14T09:00:00Z", until="2026-09-15T09:00:00Z"
    )
    assert {window["road"] for window in fetched.windows} == {"HogQL"}
    assert any("batch_export:write" in note.text for note in fetched.log().notes)


def test_a_query_that_is_too_heavy_is_asked_for_half_the_time(server, tmp_path):
    server.faults += [Fault(504, "query/", times=2), Fault(512, "query/")]
    options = {"since": "2026-09-14T09:00:00Z", "until": "2026-09-15T09:00:00Z"}
    fetched = connect(server, tmp_path).events(into=tmp_path / "a", road="hogql", **options)
    whole = connect(server, tmp_path).events(into=tmp_path / "b", road="file download", **options)
    pd.testing.assert_frame_equal(rows(fetched.log()), rows(whole.log()))


def test_a_line_that_breaks_in_a_part_or_a_page_leaves_no_half_file_and_the_next_run_goes_on(
    server, tmp_path, no_waiting
):
    project = connect(server, tmp_path)
    server.part_rows = 1000
    options = {"into": tmp_path / "release", "since": SINCE, "until": UNTIL}
    server.cut_parts = 2
    whole = rows(project.events(**options).log())
    server.cut_parts = 99
    shutil.rmtree(tmp_path / "release")
    with pytest.raises(refusals.UnreachableError, match="broke off"):
        project.events(**options)
    left = [file.name for file in (tmp_path / "release" / "events").iterdir()]
    assert not any(name.endswith(".unfinished") for name in left)
    started = len(server.exports)
    server.cut_parts = 0
    again = project.events(**options)
    assert len(server.exports) == started  # the export that was begun is taken up
    pd.testing.assert_frame_equal(rows(again.log()), whole)


def test_the_cache_folder_of_a_log_is_named_in_its_notes(server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    log = connect(server, tmp_path).log(
        "new-checkout", since="2026-09-14T09:00:00Z", until="2026-09-15T09:00:00Z"
    )
    notes = {note.code: note.text for note in log.notes}
    assert str(tmp_path / "canarykit") in notes["folder"]
    assert {"late_events", "persons_today", "blanked_groups"} <= set(notes)


class Endless:
    """A warehouse with as many events as one likes, made when they are asked for."""

    def __init__(self, pages):
        self.pages, self.asked = pages, 0

    def ask(self, path, body):
        self.asked += 1
        if self.asked > self.pages:
            return {"columns": [], "results": []}
        at = f"2026-09-07 09:{self.asked // 60:02d}:{self.asked % 60:02d}.000000"
        text = json.dumps({"$current_url": "https://shop.example/" + "x" * 500})
        ids = (f"{self.asked}-{number}" for number in range(200))
        return {"results": [[one, "paid", "a", "b", at, at, text] for one in ids]}


def test_ten_times_the_events_need_no_more_memory(tmp_path):
    def peak(pages):
        question = {"names": None, "properties": None}
        times = [pd.Timestamp(f"2026-09-{day}T09:00:00Z") for day in ("07", "08", "20")]
        tracemalloc.start()
        fetched = fetch_events(
            tmp_path / f"{pages}", None, HogQL(Endless(pages), 7, page=200),
            since=times[0], until=times[1], now=times[2], question=question,
        )  # fmt: skip
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert fetched.events == pages * 200
        return most

    peak(2)  # what is loaded when it is first needed
    texts_of_36_pages = 36 * 200 * 500
    assert peak(40) - peak(4) < texts_of_36_pages / 10


def test_a_part_of_an_export_is_never_in_memory(loopback, tmp_path):
    server = loopback.begin(Project("new"))
    server.exports["big"], server.blobs["part"] = (["part"], 0), bytes(40_000_000)
    exports = FileExports(Transport(server.url, Key(KEY)), 7)
    tracemalloc.start()
    exports.save("big", "part", tmp_path / "part.parquet")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "part.parquet").stat().st_size == 40_000_000
    assert most < 8_000_000
