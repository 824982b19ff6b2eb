"""After every fault the key stands in no log, repr, traceback, notebook, record, file or argument list."""

import logging
import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

import canarykit as ck
from canarykit.__main__ import main
from canarykit.errors import CanarykitError
from tests.posthog_server import MISSING

if MISSING:
    pytest.skip(f"the loopback server needs {MISSING}", allow_module_level=True)

from tests.posthog_server.model import KEY, Project
from tests.posthog_server.serve import Fault
from tests.posthog_server.warehouse import Warehouse

ROOT = Path(__file__).parents[1]
PLAN = ck.RolloutPlan("new-checkout", (ck.Stage.for_share("5 %", 5), ck.Stage.for_share("25 %", 25)))
EVENTS = (
    "insert into stored_events select generateUUIDv4(number), 'paid', 'a', generateUUIDv4(1), '{}', "
    "toDateTime64('2026-09-07 09:00:00', 6, 'UTC'), now64() from numbers(40)"
)
FAULTS = {
    "limit with Retry-After": lambda server: [Fault(429, wait=1, times=99)],
    "limit without": lambda server: [Fault(429, times=99)],
    "limit too far away": lambda server: [Fault(429, wait=2400, times=99)],
    "not allowed": lambda server: [Fault(401, times=99)],
    "scope missing": lambda server: [Fault(403, times=99)],
    "too slow a query": lambda server: [Fault(504, "query/", times=99)],
    "too long a query": lambda server: [Fault(512, "query/", times=99)],
    "server error": lambda server: [Fault(500, times=99)],
    "cut before": lambda server: [Fault("cut before", times=99)],
    "cut after a write": lambda server: [
        Fault("cut after", method="PATCH"),
        Fault("cut after", method="POST"),
    ],
    "cut in a page": lambda server: [Fault("cut body", "query/", times=99)],
    "redirected": lambda server: [Fault("elsewhere", times=99)],
    "slow": lambda server: [Fault("slow", wait=0.01, times=9)],
    "late rows": lambda server: [Fault("edit", "query/", then=lambda: server.warehouse.run(EVENTS))],
    "somebody edits": lambda server: [
        Fault("edit", "101/", method="GET", times=1),
        Fault("edit", "101/", then=lambda: server.project.patch(101, {"name": "x"}, "bob@acme.io")),
    ],
    "approval required": lambda server: server.project.gated.add("update") or [],
    "cut in a Parquet part": lambda server: setattr(server, "cut_parts", 99) or [],
}


@pytest.fixture(scope="module")
def warehouse():
    made = Warehouse()
    made.run(EVENTS)
    return made


def verbs(server, folder):
    """Everything that talks to the server, from Python and from the command line."""
    connection = ["--host", server.url, "--project", "7", "--record", f"{folder}/release.jsonl"]
    stage = ["--plan", f"{folder}/plan.json", "--stage", "25 %", "--no-judge", "--override", "a test"]
    time = {"since": "2026-09-07T08:00:00Z", "until": "2026-09-07T10:00:00Z"}

    def project(number=7):
        return ck.PostHog(server.url, number, KEY, record=f"{folder}/release.jsonl")

    yield lambda: project(None)
    yield lambda: [repr(one) for one in (project(), vars(project()), project().flag("new-checkout"))]
    yield lambda: project().events(into=f"{folder}/files", road="file download", **time)
    yield lambda: project().events(into=f"{folder}/pages", road="hogql", **time)
    yield lambda: repr(project().prepare(PLAN, "25 %", override="a test").apply())
    yield lambda: main(["push", *connection, *stage, "--json"])
    yield lambda: main(["watch", *connection, "--plan", f"{folder}/plan.json", "--once", "--apply", "all"])


def our_frames(problem):
    """The frames below this file with their locals, as debuggers and error trackers show them."""
    while problem is not None:
        frames = [
            one for one in traceback.walk_tb(problem.__traceback__) if one[0].f_code.co_filename != __file__
        ]
        yield from traceback.StackSummary.extract(iter(frames), capture_locals=True).format()
        yield from traceback.format_exception_only(problem)
        problem = problem.__cause__ or problem.__context__


def test_no_fault_brings_the_key_to_light(loopback, warehouse, tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.setattr("urllib3.util.retry.time.sleep", lambda seconds: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POSTHOG_PERSONAL_API_KEY", KEY)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    caplog.set_level(logging.DEBUG)
    met, said = {}, []
    for number, (name, make) in enumerate(FAULTS.items()):
        folder = tmp_path / name.replace(" ", "-")
        folder.mkdir()
        (folder / "plan.json").write_text(PLAN.to_json())
        model = Project(("old", "new")[number % 2])
        model.add_flag({"key": "new-checkout", "filters": PLAN.flag_at("5 %").to_posthog()["filters"]})
        server = loopback.begin(model, warehouse)
        server.faults += make(server)
        for ask in verbs(server, folder):
            try:
                said.append(repr(ask()))
            except CanarykitError as problem:
                met[name] = str(problem)
                said += our_frames(problem)
    printed = capsys.readouterr()
    said += [printed.out, printed.err, caplog.text]
    said += [file.read_bytes().decode("latin-1") for file in tmp_path.rglob("*") if file.is_file()]
    assert len(met) >= 11, "most faults end in a sentence, the rest are survived"
    assert len(said) > 500
    assert not [text[:300] for text in said if KEY in text]


@pytest.mark.parametrize("key", [KEY + " ", "phc_" + KEY, "phx_ä" + KEY])
def test_a_key_that_is_refused_is_not_shown_either(key):
    with pytest.raises(CanarykitError) as caught:
        ck.PostHog("https://us.posthog.com", "seven", key)
    assert not [text for text in our_frames(caught.value) if KEY in text]


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="no /proc to look into")
def test_the_key_is_in_no_argument_list_of_a_process(loopback, tmp_path):
    model = Project("new")
    model.add_flag({"key": "new-checkout", "filters": PLAN.flag_at("5 %").to_posthog()["filters"]})
    server = loopback.begin(model)
    seen = []
    look = lambda: seen.extend(file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline"))  # noqa: E731
    server.faults.append(Fault("edit", then=look))
    command = [
        sys.executable,
        "-m",
        "canarykit",
        "plan",
        "new-checkout",
        "--host",
        server.url,
        "--project",
        "7",
    ]
    environment = {**os.environ, "POSTHOG_PERSONAL_API_KEY": KEY, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert any(b"new-checkout" in arguments for arguments in seen), done.stderr
    assert not any(KEY.encode() in arguments for arguments in seen)
    assert KEY not in done.stdout + done.stderr


def test_no_notebook_keeps_a_key():
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        text = notebook.read_text(encoding="utf-8")
        assert KEY not in text
        assert '"phx_' not in text
