"""What a project answers is read whole, faults are survived or said, and the key stays with its host."""

import json
import pickle
import shutil
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

import canarykit as ck
from canarykit.posthog.hogql import HogQL
from canarykit.release import refusals
from canarykit.release.keys import Key
from canarykit.release.transport import Transport, check_host
from tests.posthog_server import MISSING

if MISSING:
    pytest.skip(f"the loopback server needs {MISSING}", allow_module_level=True)

from tests.posthog_server.model import KEY, Project
from tests.posthog_server.serve import Fault, serving
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


@pytest.fixture(params=["old", "new"])
def server(request, warehouse):
    project = Project(request.param)
    project.add_flag({"key": "new-checkout", "filters": {"groups": GROUPS}})
    warehouse.zone, warehouse.seen = "UTC", []
    with serving(project, warehouse) as running:
        yield running


@pytest.fixture
def no_waiting(monkeypatch):
    """Retries without their pauses."""
    monkeypatch.setattr("urllib3.util.retry.time.sleep", lambda seconds: None)


def connect(server, tmp_path, **options):
    return ck.PostHog(server.url, 7, KEY, record=tmp_path / "release.jsonl", **options)


# ---- the key and the host -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host, key, words",
    [
        ("https://us.posthog.com", "phc_abc", "project key"),
        ("https://us.posthog.com", "phs_abc", "secure flags key"),
        ("https://us.posthog.com", "phx_a b", "blanks"),
        ("http://posthog.acme.io", "phx_abc", "in the clear"),
        ("ftp://posthog.acme.io", "phx_abc", "expected an address"),
        ("https://me:pw@posthog.acme.io", "phx_abc", "user name or password"),
    ],
)
def test_a_key_or_host_that_cannot_work_is_refused_with_a_sentence_and_not_shown(host, key, words):
    with pytest.raises(refusals.KeyRefusedError, match=words) as caught:
        ck.PostHog(host, 7, key)
    assert key not in str(caught.value)


def test_without_a_key_the_message_names_the_variable(monkeypatch):
    monkeypatch.delenv("POSTHOG_PERSONAL_API_KEY", raising=False)
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(refusals.KeyRefusedError, match="POSTHOG_PERSONAL_API_KEY"):
        ck.PostHog(project=7)
    monkeypatch.setenv("POSTHOG_PERSONAL_API_KEY", "phx_from_the_environment")
    assert repr(ck.PostHog(project=7)) == "PostHog('https://us.posthog.com', project=7)"


@pytest.mark.parametrize(
    "given, used",
    [
        ("us.i.posthog.com", "https://us.posthog.com"),
        ("https://eu.i.posthog.com/", "https://eu.posthog.com"),
        ("https://app.posthog.com", "https://us.posthog.com"),
    ],
)
def test_the_addresses_of_ingestion_are_mended_and_it_is_said(given, used):
    project = ck.PostHog(given, 7, "phx_abc")
    assert project.host == used
    assert used in project.notes[0].text


def test_the_current_project_is_resolved_once_and_pinned(server, tmp_path):
    project = ck.PostHog(server.url, key=KEY, record=tmp_path / "release.jsonl")
    assert project.project == 7
    project.flag("new-checkout")
    assert [path for _, path, _ in server.asked if "@current" in path] == ["/api/projects/@current/"]


def test_a_connection_and_a_key_are_not_pickled(server, tmp_path):
    for secret in (connect(server, tmp_path), Key(KEY)):
        with pytest.raises(TypeError, match="not"):
            pickle.dumps(secret)


def test_the_key_goes_to_its_own_host_only(server, tmp_path, no_waiting):
    project = connect(server, tmp_path)
    server.faults.append(Fault("elsewhere", "feature_flags/101"))
    with pytest.raises(refusals.ServerError, match="the key goes to its own host only"):
        project.flag("new-checkout")
    project.events(into=tmp_path / "release", since=SINCE, until="2026-09-14T09:00:00Z")
    assert server.storage_headers
    assert all("Authorization" not in headers for headers in server.storage_headers)
    assert {key for _, _, key in server.asked} == {f"Bearer {KEY}"}


def test_a_next_link_to_another_host_is_not_followed(server, tmp_path):
    for number in range(120):
        server.project.add_flag({"id": 200 + number, "key": f"flag-{number}", "filters": {"groups": GROUPS}})
    project = connect(server, tmp_path)
    assert len(project.flags()) == 121
    server.url = server.storage_url
    with pytest.raises(refusals.ServerError, match="sends us on to"):
        project.flags()
    assert server.storage_headers == []


def test_hosts_keep_their_port_and_path():
    assert check_host("https://acme.io:8443/posthog/") == "https://acme.io:8443/posthog"
    assert check_host("http://[::1]:8000") == "http://[::1]:8000"


# ---- errors ---------------------------------------------------------------------------------------------


def test_every_refusal_names_the_scope_the_limit_or_the_field(server, tmp_path):
    project = connect(server, tmp_path)
    server.project.scopes[KEY] = {"query:read"}
    with pytest.raises(refusals.MissingScopeError, match="'feature_flag:read'") as caught:
        project.flag("new-checkout")
    assert caught.value.scope == "feature_flag:read"
    del server.project.scopes[KEY]
    with pytest.raises(refusals.AuthenticationError, match="of this region"):
        project.flag("new-checkout")


def test_a_limit_that_is_too_far_away_is_said_in_minutes(server, tmp_path):
    server.faults.append(Fault(429, wait=2400, times=9))
    with pytest.raises(refusals.RateLimitError, match="wait 40 minutes") as caught:
        connect(server, tmp_path).flag("new-checkout")
    assert caught.value.wait == 2400


def test_a_wrong_query_is_a_refusal_in_the_servers_words(server, tmp_path):
    hogql = connect(server, tmp_path)._hogql
    with pytest.raises(refusals.FieldRefusedError, match="OFFSET is not supported"):
        hogql.query("select event from events limit 5 offset 5")
    with pytest.raises(refusals.FieldRefusedError, match="mismatched input"):
        hogql.query("selec 1")


@pytest.mark.parametrize(
    "fault",
    [
        Fault(429, wait=1, times=2), Fault(429, times=2), Fault(503, times=2), Fault(502),
        Fault("cut before", times=2), Fault("cut after"), Fault("cut body", times=2), Fault("slow", wait=0.2),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.wait}",
)  # fmt: skip
def test_reading_survives_a_busy_server_and_a_broken_line(server, tmp_path, no_waiting, fault):
    server.faults.append(Fault(**vars(fault)))
    assert connect(server, tmp_path).flag("new-checkout").version == 1


def test_no_key_is_left_in_any_error_repr_or_traceback(server, tmp_path, no_waiting):
    import traceback

    project = connect(server, tmp_path)
    said = [repr(project), repr(project._transport), repr(vars(project)), repr(Key(KEY))]
    for kind in (401, 403, 404, 429, 500, 504, 512, "cut before", "cut body", "elsewhere"):
        server.faults[:] = [Fault(kind, times=99, wait=None)]
        for ask in (lambda: project.flag("new-checkout"), lambda: project._hogql.query("select 1")):
            with pytest.raises(refusals.ServerError) as caught:
                ask()
            assert caught.value.__context__ is None
            ours = caught.tb.tb_next  # the frame of this test knows the key
            frames = traceback.StackSummary.extract(traceback.walk_tb(ours), capture_locals=True)
            said += [str(caught.value), *frames.format()]
    assert len(said) >= 60
    assert not any(KEY in text for text in said)


# ---- lists ----------------------------------------------------------------------------------------------


def test_everything_beside_the_flags_can_be_read(server, tmp_path):
    model = server.project
    definition = {"type": "AND", "values": []}
    model.lists = {
        "cohorts/": [
            {"id": 3, "filters": {"properties": definition}, "is_static": False},
            {"id": 4, "filters": {"properties": definition}, "is_static": True},
        ],
        "persons/": [
            {"uuid": "p1", "distinct_ids": ["a", "b"], "properties": {"email": "ada@acme.io"},
             "created_at": "2026-09-01T00:00:00Z"},
            {"uuid": "p2", "distinct_ids": ["c"], "properties": {}, "created_at": None},
        ],
        "groups/": [{"group_type_index": 0, "group_key": "acme", "group_properties": {"plan": "pro"}}],
        "surveys/": [{"id": "s1", "name": "How was it?", "created_at": "2026-09-01T00:00:00Z"}],
        "experiment_holdouts/": [{"id": 1, "name": "never"}],
        "session_recordings/": [{"id": "r1", "distinct_id": "a", "start_time": "2026-09-01T00:00:00Z"}],
    }  # fmt: skip
    model.early_access = [{"id": 1, "name": "New checkout", "stage": "beta"}]
    project = connect(server, tmp_path)
    assert project.cohorts() == {"3": definition}
    assert project.persons(email="ada@acme.io")["distinct_id"].tolist() == ["a", "b"]
    assert project.groups("organization")["group_key"].tolist() == ["acme"]
    assert project.surveys()["created_at"].dtype.tz is not None
    assert project.holdouts()["name"].tolist() == ["never"]
    assert project.early_access()["stage"].tolist() == ["beta"]
    assert project.annotations().empty
    assert project.recordings()["link"].tolist() == [f"{server.url}/project/7/replay/r1"]
    with pytest.raises(ck.PlanError, match=r"no group type 'organisation'.*Did you mean 'organization'"):
        project.groups("organisation")
    with pytest.raises(ck.PlanError, match="no flag 'new-checkot'"):
        project.flag("new-checkot")


# ---- events ---------------------------------------------------------------------------------------------


def rows(log):
    """Every event of a log, in one order whatever road it came by."""
    frame = log.frame[["uuid", "event", "distinct_id", "person_id", "properties", "timestamp"]].copy()
    frame = frame.astype({"uuid": str, "event": str, "distinct_id": str, "person_id": str, "properties": str})
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], utc=True).dt.as_unit("us")
    return frame.sort_values("uuid", ignore_index=True)


@pytest.fixture(scope="module")
def sample_rows(sample):
    return rows(ck.read_posthog(sample / "events.parquet"))


@pytest.mark.parametrize("road", ["file download", "hogql"])
@pytest.mark.parametrize("zone", ["UTC", "US/Pacific", "Asia/Kathmandu"])
def test_every_road_gives_the_log_of_the_sample_row_for_row(
    server, tmp_path, sample, sample_rows, road, zone
):
    if (server.project.mode == "old") != (zone == "UTC"):
        pytest.skip("the zone and the server's age have nothing to do with each other")
    server.warehouse.zone = zone
    fetched = connect(server, tmp_path).events(into=tmp_path / "release", since=SINCE, until=UNTIL, road=road)
    pd.testing.assert_frame_equal(rows(fetched.log()), sample_rows)
    persons = pd.read_parquet(tmp_path / "release" / "persons.parquet")
    assert set(persons["distinct_id"]) == set(pd.read_parquet(sample / "persons.parquet")["distinct_id"])
    read = ck.read_posthog(tmp_path / "release" / "events", persons=tmp_path / "release" / "persons.parquet")
    assert len(read) == len(sample_rows)


def test_pages_lose_no_event_where_many_have_the_same_time(warehouse, tmp_path):
    """20,000 events on 500 times, in pages of 977: the border always cuts through a tie."""
    warehouse.run("create table if not exists kept as stored_events")
    warehouse.run("insert into kept select * from stored_events")
    warehouse.run("truncate table stored_events")
    try:
        warehouse.run(
            "insert into stored_events "
            "select generateUUIDv4(number), 'paid', 'a', generateUUIDv4(number), '{}', "
            "toDateTime64('2026-09-07 09:00:00.000001', 6, 'UTC') + toIntervalMicrosecond(number % 500), "
            "toDateTime64('2026-09-07 09:00:00.000001', 6, 'UTC') from numbers(20000)"
        )
        with serving(Project("new"), warehouse) as server:
            hogql = HogQL(Transport(server.url, Key(KEY)), 7, page=977)
            start, stop = (pd.Timestamp(f"2026-09-07T{hour}:00:00Z") for hour in ("09", "10"))
            pages = list(hogql.event_pages(start, stop))
            late = (
                "insert into stored_events values (generateUUIDv4(), 'late', 'a', generateUUIDv4(), '{}', "
                "toDateTime64('2026-09-07 09:00:00.000001', 6, 'UTC'), now64())"
            )
            server.faults.append(Fault("edit", "query/", then=lambda: warehouse.run(late)))
            again = list(hogql.event_pages(start, stop))
    finally:
        warehouse.run("truncate table stored_events")
        warehouse.run("insert into stored_events select * from kept")
        warehouse.run("drop table kept")
    for fetched, extra in ((pages, 0), (again, 1)):
        together = pd.concat(fetched)
        assert len(together) == together["uuid"].nunique() == 20_000 + extra
        assert together["timestamp"].is_monotonic_increasing


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
