"""A look judges, acts only as far as it may, tells a webhook, and notices another loop and a wrong clock."""

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pandas as pd
import pytest

import canarykit as ck
from canarykit.posthog import PostHog
from canarykit.release.keys import Key
from canarykit.release.look import look
from canarykit.release.transport import Transport
from canarykit.release.watch import message, notify
from tests.posthog_server.in_process import Pool
from tests.posthog_server.model import KEY, Project

START = datetime(2026, 9, 15, 9, tzinfo=UTC)
PLAN = ck.RolloutPlan("f", (ck.Stage.for_share("5 %", 5, dwell="1d"), ck.Stage.for_share("25 %", 25)))


@pytest.fixture
def release(tmp_path):
    """A flag at 5 % since two days, and a function that looks once with a given verdict."""
    project = Project("new", clock=lambda: project.time)
    project.time = START - timedelta(days=2)
    project.add_flag({"key": "f", "filters": {"groups": []}})
    project.patch(101, {"filters": PLAN.flag_at("5 %").to_posthog()["filters"]}, "ada@acme.io")
    project.time = START
    transport = Transport("http://localhost:1", Key(KEY), pool=Pool(project), clock=project.clock)
    client = PostHog("", 7, transport=transport, record=tmp_path / "release.jsonl")

    def once(verdict, *, allowed=None, loop="one", skew=timedelta()):
        def judge(stage, at):
            if verdict is None:
                raise ck.DataError("the export is stale")
            return SimpleNamespace(
                flag="f", stage=stage, verdict=ck.Verdict(verdict), reason="because", as_of=pd.Timestamp(at),
                audit={}, exit_code=ck.Verdict(verdict).exit_code,
            )  # fmt: skip

        return look(client.store, client.record, PLAN, judge, allowed=allowed, loop=loop, skew=lambda: skew)

    once.client, once.project = client, project
    return once


def share(release):
    return release.project.flags[101]["filters"]["groups"][0]["rollout_percentage"]


@pytest.mark.parametrize(
    "verdict, allowed, action, left",
    [
        ("promote", None, "would go on", 5), ("promote", "rollback", "would go on", 5),
        ("promote", "all", "went on", 25), ("hold", "all", "nothing", 5),
        ("roll back", None, "would roll back", 5),
        (None, "all", "nothing", 5),
    ],
)  # fmt: skip
def test_a_look_does_only_what_it_may(release, verdict, allowed, action, left):
    seen = release(verdict, allowed=allowed)
    assert (seen.action, share(release)) == (action, left)
    assert seen.exit_code == {"promote": 0, "hold": 10, "roll back": 20, None: 1}[verdict]


def test_a_loop_judges_in_the_rhythm_that_it_was_given_and_hourly_without(release):
    asked = []

    def judge(plan, stage, guardrails, *, as_of, **options):
        asked.append(options)
        raise ck.DataError("the export is stale")

    client = release.client
    project = SimpleNamespace(store=client.store, record=client.record, judge=judge, skew=lambda: timedelta())
    for rhythm in ({}, {"judged_every": "1h"}, {"judged_every": "daily"}):
        ck.watch(project, PLAN, looks=1, show=False, **rhythm)
    assert asked == [{}, {}, {"looks": "daily"}]


def test_after_a_roll_back_the_loop_waits_for_a_person(release):
    assert release("promote", allowed="all").action == "went on"
    assert release("roll back", allowed="rollback").action == "rolled back"
    assert share(release) == 5
    release.project.time += timedelta(days=2)
    again = release("promote", allowed="all")
    assert again.action == "waits"
    assert "a person decides" in again.why


@pytest.mark.parametrize("skew", [timedelta(hours=3), timedelta(minutes=-40)])
def test_a_wrong_clock_promotes_nothing(release, skew):
    seen = release("promote", allowed="all", skew=skew)
    assert seen.action == "waits"
    assert "minutes from the server's" in seen.why


def test_two_loops_on_one_flag_notice_each_other(release):
    release("hold", loop="one")
    seen = release("promote", loop="two", allowed="all")
    assert seen.action == "waits"
    assert "another loop (one)" in seen.why


def test_a_stage_lowered_by_hand_is_not_raised_again_by_the_loop(release):
    release("promote", allowed="all")
    release.project.patch(101, {"filters": PLAN.flag_at("5 %").to_posthog()["filters"]}, "bob@acme.io")
    release.project.time += timedelta(days=2)
    seen = release("promote", allowed="all")
    assert seen.action == "waits"
    assert "somebody lowered it" in seen.why


def test_a_webhook_is_told_in_one_key_and_its_trouble_is_said_without_its_address(release):
    messages = []

    class Hook(BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_POST(self):
            messages.append(
                (json.loads(self.rfile.read(int(self.headers["Content-Length"]))), dict(self.headers))
            )
            self.send_response(200 if "good" in self.path else 500)
            self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    seen = release("hold")
    address = f"http://127.0.0.1:{server.server_port}"
    assert notify(seen, f"{address}/good") == ""
    assert notify(seen, f"{address}/secret") == "the webhook answered 500"
    server.shutdown()
    server.server_close()
    assert "secret" not in notify(seen, f"{address}/secret")
    assert messages[0][0] == message(seen)
    assert "Authorization" not in messages[0][1]


def test_the_timeline_is_drawn_with_the_stages_in_order(release):
    release("promote", allowed="all")
    release("roll back", allowed="all")
    axes = release.client.timeline("f").plot()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["25 %", "5 %"]
    import matplotlib.pyplot as plt

    plt.close("all")


def test_changes_can_be_scheduled_upwards_or_off_and_a_rise_needs_a_reason(release):
    client, later = release.client, "2026-09-16T09:00:00Z"
    with pytest.raises(ck.PlanError, match="give override="):
        client.schedule(PLAN, "25 %", at=later, override="")
    client.schedule(PLAN, "25 %", at=later, override="the launch is at nine")
    client.schedule_off("f", at="2026-09-20T09:00:00Z")
    payloads = [one["payload"]["operation"] for one in release.project.scheduled]
    assert payloads == ["add_release_condition", "update_status"]
    with pytest.raises(ck.PlanError, match="only a rise"):
        client.schedule(PLAN, "5 %", at=later, override="x")
    with pytest.raises(ck.PlanError, match="which is past"):
        client.schedule_off("f", at="2026-09-01T09:00:00Z")


def test_the_early_access_of_a_flag_is_moved_by_its_key(release):
    release.project.early_access = [{"id": 9, "name": "F", "stage": "alpha", "feature_flag": {"key": "f"}}]
    assert release.client.set_early_access("f", "beta")["stage"] == "beta"
    with pytest.raises(ck.PlanError, match="Did you mean 'beta'"):
        release.client.set_early_access("f", "betta")
    with pytest.raises(ck.PlanError, match="no early access feature belongs to 'g'"):
        release.client.set_early_access("g", "beta")
