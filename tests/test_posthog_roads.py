"""Files, pages of a query and the export itself are one log: on the whole sample, on ties, in every zone."""

from pathlib import Path

import pandas as pd
import pytest

import canarykit as ck
from tests.posthog_server import MISSING

if MISSING:
    pytest.skip(f"the loopback server needs {MISSING}", allow_module_level=True)

from tests.posthog_server.model import KEY, Project
from tests.posthog_server.serve import Fault
from tests.posthog_server.warehouse import Warehouse

SAMPLE = Path(__file__).parents[1] / "sample_data"
SINCE, UNTIL = "2026-09-04T09:00:00Z", "2026-09-28T09:00:00Z"
COLUMNS = ["uuid", "event", "distinct_id", "person_id", "properties", "timestamp", "created_at"]


def rows(frame):
    """Every event, in one order whatever road it came by."""
    texts = {name: frame[name].astype(str) for name in COLUMNS[:5]}
    times = {name: pd.to_datetime(frame[name], utc=True).dt.as_unit("us") for name in COLUMNS[5:]}
    return pd.DataFrame({**texts, **times}).sort_values("uuid", ignore_index=True)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """The whole sample, its times cut to the minute: seven events share one, so every page ends in a tie."""
    folder = tmp_path_factory.mktemp("sample")
    events = pd.read_parquet(SAMPLE / "events.parquet")
    events["timestamp"] = events["timestamp"].dt.floor("1min")
    assert events["timestamp"].nunique() < len(events) / 6
    events.to_parquet(folder / "events.parquet", index=False)
    return folder / "events.parquet"


@pytest.fixture(scope="module")
def log(sample):
    return ck.read_posthog(sample, persons=SAMPLE / "persons.parquet")


@pytest.fixture(scope="module")
def warehouse(sample):
    made = Warehouse()
    made.load(sample, SAMPLE / "persons.parquet", SAMPLE / "groups.parquet")
    return made


def connect(loopback, warehouse, tmp_path, zone="UTC"):
    warehouse.zone = zone
    server = loopback.begin(Project("new"), warehouse)
    server.project.add_flag({"key": "new-checkout", "filters": {"groups": []}})
    return ck.PostHog(server.url, 7, KEY, record=tmp_path / "release.jsonl")


WHOLE, HALF_A_DAY = (SINCE, UNTIL), ("2026-09-13T09:00:00Z", "2026-09-13T21:00:00Z")


@pytest.mark.parametrize(
    "road, zone, page, time",
    [
        ("file download", "UTC", 24_999, WHOLE),
        ("hogql", "US/Pacific", 24_999, WHOLE),
        ("hogql", "UTC", 977, HALF_A_DAY),
        ("hogql", "Asia/Kathmandu", 977, HALF_A_DAY),
    ],
)
def test_every_road_gives_the_log_of_the_sample_row_for_row(
    loopback, warehouse, log, tmp_path, road, zone, page, time
):
    project = connect(loopback, warehouse, tmp_path, zone)
    project._hogql.page = page
    fetched = project.events(into=tmp_path / "release", since=time[0], until=time[1], road=road)
    assert {window["road"].lower() for window in fetched.windows} == {road}
    same = log.frame["timestamp"].between(*map(pd.Timestamp, time), inclusive="left")
    pd.testing.assert_frame_equal(rows(fetched.log().frame), rows(log.frame[same]))
    assert fetched.fetched == fetched.events == same.sum()
    persons = pd.read_parquet(fetched.persons).set_index("distinct_id")["person_id"]
    theirs = pd.read_parquet(SAMPLE / "persons.parquet").set_index("distinct_id")["person_id"]
    pd.testing.assert_series_equal(persons.astype(str).sort_index(), theirs.astype(str).sort_index())


@pytest.mark.parametrize("road", ["file download", "hogql"])
def test_events_that_come_late_are_in_the_log_of_the_next_run(
    loopback, warehouse, tmp_path, monkeypatch, road
):
    """Late for a page that is behind already, for a window that was fetched, and with the time of others."""
    project = connect(loopback, warehouse, tmp_path, "US/Pacific")
    project._hogql.page = 977
    clock = pd.Timestamp("2026-09-14T12:00:00Z")
    monkeypatch.setattr(project._transport, "now", lambda: clock.to_pydatetime())

    def late(number, at):
        uuid = f"toUUID('00000000-0000-4000-8000-{number:012d}')"
        warehouse.run(
            f"insert into stored_events values ({uuid}, 'late', 'a', generateUUIDv4(), '{{}}', "
            f"toDateTime64('{at}', 6, 'UTC'), toDateTime64('{at}', 6, 'UTC'))"
        )

    options = {"into": tmp_path / "release", "since": "2026-09-13T14:00:00Z", "road": road}
    path, before = ("query/", 3) if road == "hogql" else ("download/", 0)
    behind = Fault("edit", path, then=lambda: late(1, "2026-09-13 14:00:30"))
    loopback.faults += [Fault("edit", path, times=before), behind]
    try:
        first = project.events(**options)
        late(2, "2026-09-14 09:00:00")
        late(3, "2026-09-14 11:59:00")
        clock += pd.Timedelta("1h")
        second = project.events(**options)
        export = tmp_path / "export.parquet"
        export.write_bytes(warehouse.parquet(options["since"], clock.isoformat()))
    finally:
        warehouse.run("alter table stored_events delete where event = 'late' settings mutations_sync = 1")
    assert behind.times == 0
    assert first.events < second.events
    pd.testing.assert_frame_equal(rows(second.log().frame), rows(ck.read_posthog(export).frame))
    assert {"late"} <= set(second.log().event_names())
