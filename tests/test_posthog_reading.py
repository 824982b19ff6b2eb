"""What a project answers is read whole, faults are survived or said, and the key stays with its host."""

import pickle

import pytest

import canarykit as ck
from canarykit.release import refusals
from canarykit.release.keys import Key
from canarykit.release.transport import check_host
from tests.posthog_server import MISSING

if MISSING:
    pytest.skip(f"the loopback server needs {MISSING}", allow_module_level=True)

from tests.posthog_server.model import KEY, Project
from tests.posthog_server.serve import Fault
from tests.posthog_server.warehouse import Warehouse

GROUPS = [{"properties": [], "rollout_percentage": 5}]


@pytest.fixture(scope="module")
def warehouse():
    """An empty one, so that queries are parsed and run."""
    return Warehouse()


@pytest.fixture(params=["old", "new"])
def server(request, loopback, warehouse):
    project = Project(request.param)
    project.add_flag({"key": "new-checkout", "filters": {"groups": GROUPS}})
    return loopback.begin(project, warehouse)


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
