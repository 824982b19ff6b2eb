"""The same verbs in Unleash: what is pushed is what Unleash's own engine then lets in."""

import json
import re
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace

import pandas as pd
import pytest

import canarykit as ck
from canarykit.release.keys import Key
from canarykit.release.transport import Transport
from canarykit.unleash import Unleash
from tests.posthog_server.in_process import Pool
from tests.posthog_server.model import RefusedError

NOW = datetime(2026, 9, 15, 9, tzinfo=UTC)
PLAN = ck.RolloutPlan(
    "new-checkout",
    (
        ck.Stage.for_ids("two servers", ["web-1", "web-2"]),
        ck.Stage.for_share("5 %", 5),
        ck.Stage.for_share("25 %", 25),
    ),
)


class Server:
    """The admin API of one environment, as its OpenAPI description has it."""

    number = 0

    def __init__(self):
        self.strategies, self.enabled, self.asked, self.between = [], True, [], None

    def clock(self):
        return NOW

    def handle(self, method, path, query, body, token):
        self.asked.append((method, path))
        base = "/api/admin/projects/default/features/new-checkout/environments/production"
        assert path.startswith(base), path
        rest = path.removeprefix(base)
        if method == "GET" and not rest:
            return {"name": "production", "enabled": self.enabled, "strategies": self.strategies}
        if rest in {"/on", "/off"}:
            self.enabled = rest == "/on"
            return {}
        if rest == "/strategies":
            self.strategies = [*self.strategies, {"id": f"s{len(self.asked)}", **body}]
            return self.strategies[-1]
        match = re.fullmatch(r"/strategies/(\w+)", rest)
        if match is None or match[1] not in [one["id"] for one in self.strategies]:
            raise RefusedError(404, "not_found", "no such strategy")
        others = [one for one in self.strategies if one["id"] != match[1]]
        self.strategies = others if method == "DELETE" else [*others, {**body, "id": match[1]}]
        return {}


@pytest.fixture
def server():
    return Server()


def connect(server, tmp_path):
    transport = Transport(
        "http://localhost:1", Key("*:*.secret"), authorization="{}", pool=Pool(server), clock=server.clock
    )
    return Unleash("", transport=transport, record=tmp_path / "release.jsonl")


def promote(stage):
    return SimpleNamespace(
        flag="new-checkout",
        stage=stage,
        verdict=ck.Verdict.PROMOTE,
        reason="safe",
        as_of=pd.Timestamp(NOW),
        audit={},
    )


def test_a_release_goes_up_and_back_and_keeps_what_is_not_its_own(server, tmp_path):
    foreign = {"id": "own", "name": "remoteAddress", "parameters": {"IPs": "10.0.0.1"}, "constraints": []}
    server.strategies = [foreign]
    client = connect(server, tmp_path)
    assert client.prepare(PLAN, "two servers").apply().status == "applied"
    assert client.prepare(PLAN, "5 %").apply().status == "refused"  # there is no verdict
    assert client.prepare(PLAN, "5 %", report=promote("two servers")).apply().status == "applied"
    push = client.prepare(PLAN, "25 %", report=promote("5 %"))
    assert [change.words() for change in push.changes] == ["strategy: 5 % of everyone -> 25 % of everyone"]
    assert push.apply().status == "applied"
    assert client.prepare(PLAN, "25 %").apply().status == "nothing to do"
    assert client.roll_back(PLAN, why="errors").stage == "5 %"
    shares = {one["parameters"].get("rollout") for one in server.strategies}
    assert shares == {None, "100", "5"}
    assert foreign in server.strategies
    assert [row[3] for row in client.timeline().rows] == ["applied"] * 4
    assert client.timeline().to_frame()["version_after"].map(type).eq(str).all()
    assert "two servers" in repr(client.timeline())


def test_an_edit_since_the_flag_was_read_is_a_conflict(server, tmp_path):
    client = connect(server, tmp_path)
    client.prepare(PLAN, "two servers").apply()
    push = client.prepare(PLAN, "5 %", report=promote("two servers"))
    server.strategies = [
        *server.strategies,
        {"id": "x", "name": "default", "parameters": {}, "constraints": []},
    ]
    assert push.apply().status == "conflict"


def test_rolling_back_the_first_stage_turns_the_environment_off(server, tmp_path):
    client = connect(server, tmp_path)
    client.prepare(PLAN, "two servers").apply()
    assert client.roll_back(PLAN).status == "applied"
    assert not server.enabled


def test_what_unleash_cannot_say_is_refused(server, tmp_path):
    cohort = ck.Condition((ck.PropertyFilter("id", 3, type="cohort"),), 100)
    plan = ck.RolloutPlan("new-checkout", (ck.Stage("cohort", (cohort,)),))
    with pytest.raises(ck.PlanError, match="Unleash has no constraint"):
        connect(server, tmp_path).prepare(plan, "cohort")


@pytest.mark.skipif(find_spec("yggdrasil_engine") is None, reason="Unleash's engine is not installed")
def test_unleashs_own_engine_lets_in_the_people_of_the_stage(server, tmp_path):
    client = connect(server, tmp_path)
    client.prepare(PLAN, "25 %", override="the test").apply()
    engine = import_module("yggdrasil_engine.engine").UnleashEngine()
    feature = {"name": "new-checkout", "type": "release", "enabled": server.enabled}
    strategies = [{**one, "variants": []} for one in server.strategies]
    engine.take_state(json.dumps({"version": 2, "features": [{**feature, "strategies": strategies}]}))
    ids = pd.Series([f"user-{number}" for number in range(400)] + ["web-1", "web-2"])
    bucket = ck.bucket(ids, vendor="unleash", flag="new-checkout")
    for one, value in zip(ids, bucket, strict=True):
        answer = engine.is_enabled("new-checkout", {"userId": one})
        on = bool(getattr(answer, "is_enabled", answer))
        assert on == (value <= 25 or one.startswith("web-")), one
