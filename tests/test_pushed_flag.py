"""Real clients read the flag that was pushed and decide as `evaluate_flag` does, stage after stage."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

import canarykit as ck
from tests.posthog_server import MISSING

if MISSING:
    pytest.skip(f"the loopback server needs {MISSING}", allow_module_level=True)

from tests.posthog_server.model import KEY, Project

PLAN = ck.RolloutPlan(
    "new-checkout",
    (
        ck.Stage.for_people("owner", ["ada@acme.io"]),
        ck.Stage("team", (ck.Condition((ck.PropertyFilter("email", "@acme.io", "ends_with"),), 100),)),
        ck.Stage.for_share("5 %", 5),
        ck.Stage.for_share("25 %", 25),
        ck.Stage.for_everyone(),
    ),
)
PEOPLE = pd.DataFrame(
    [("u-ada", "ada@acme.io"), ("u-bob", "bob@acme.io"), ("u-eve", "eve@acme.io.example")]
    + [(f"user-{number}", f"user{number}@example.com") for number in range(250)],
    columns=["distinct_id", "email"],
)
NODE_MODULES = Path(os.environ.get("NODE_PATH") or Path(sys.prefix) / "node" / "node_modules")
SCRIPT = Path(__file__).parent / "posthog_server" / "evaluate.cjs"


def python_sdk(url):
    from posthog.client import Client

    sdk = Client("phc_public", host=url, secret_key=KEY, send=False, sync_mode=True)
    try:
        sdk.load_feature_flags()
        return [
            sdk.get_feature_flag(
                "new-checkout", who.distinct_id, person_properties={"email": who.email},
                only_evaluate_locally=True,
            )
            for who in PEOPLE.itertuples()
        ]  # fmt: skip
    finally:
        sdk.shutdown()


def node_sdk(url):
    people = [{"id": who.distinct_id, "properties": {"email": who.email}} for who in PEOPLE.itertuples()]
    done = subprocess.run(
        ["node", str(SCRIPT), url, "new-checkout"],
        input=json.dumps(people), capture_output=True, text=True, timeout=120, check=True,
        env={**os.environ, "POSTHOG_PERSONAL_API_KEY": KEY, "NODE_PATH": str(NODE_MODULES)},
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def why_not_node():
    if shutil.which("node") is None:
        return "node is not installed"
    if not (NODE_MODULES / "posthog-node").is_dir():
        return "posthog-node is not installed: npm install --prefix .venv/node posthog-node"
    return ""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "sdk",
    [
        pytest.param(python_sdk, marks=pytest.mark.skipif(not find_spec("posthog"), reason="no posthog")),
        pytest.param(node_sdk, marks=pytest.mark.skipif(bool(why_not_node()), reason=why_not_node())),
    ],
    ids=["posthog-python", "posthog-node"],
)
def test_a_real_client_decides_on_every_pushed_stage_as_evaluate_flag_does(sdk, loopback, tmp_path):
    project = Project("new")
    project.add_flag({"key": "new-checkout", "filters": {"groups": []}})
    shares = []
    server = loopback.begin(project)
    client = ck.PostHog(server.url, 7, KEY, record=tmp_path / "release.jsonl")
    for stage in ("team", "25 %"):
        assert client.prepare(PLAN, stage, override="a test").apply().status == "applied"
        ours = ck.evaluate_flag(PLAN.flag_at(stage), PEOPLE, semantics="sdk")["value"]
        theirs = sdk(server.url)
        assert [str(value).lower() for value in theirs] == ours.tolist()
        shares.append(ours.eq("true").mean())
    assert shares[0] == 2 / len(PEOPLE)
    assert 0.15 < shares[1] < 0.35
