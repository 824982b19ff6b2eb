"""The loop from the command line, over sockets, on the sample: what it does, tells and leaves alone."""

import json
import threading
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from canarykit.__main__ import main
from canarykit.metrics import Conversion, ErrorShare, Guardrail
from canarykit.release.record import Record
from canarykit.release.transport import Transport
from tests.posthog_server import MISSING

if MISSING:
    pytest.skip(f"the loopback server needs {MISSING}", allow_module_level=True)

from tests.posthog_server.model import KEY
from tests.posthog_server.sample import sample_state
from tests.posthog_server.serve import Fault

SAMPLE = Path(__file__).parents[1] / "sample_data"
GUARDRAILS = [
    Guardrail(Conversion("paid", within="1d"), worse="lower", margin_ratio=0.75, critical=True),
    Guardrail(ErrorShare(), margin_ratio=2.0),
]


class Release:
    """The sample on a server, and looks at it as cron takes them."""

    def __init__(self, loopback, at, folder):
        self.server = loopback.begin(*sample_state(SAMPLE, at=at))
        self.folder, self.ahead = folder, timedelta()
        (folder / "guardrails.json").write_text(json.dumps([one.to_dict() for one in GUARDRAILS]))
        self.record = Record(folder / "release.jsonl")

    def look(self, at, *options):
        """The exit code of one look, and what was done."""
        self.server.project.time = datetime.fromisoformat(f"2026-09-{at}:00+00:00")
        given = ["--host", self.server.url, "--project", "7", "--record", str(self.record.path), "--once"]
        given += ["--plan", str(SAMPLE / "plan.json"), "--guardrails", str(self.folder / "guardrails.json")]
        given += ["--into", str(self.folder / "events"), "--options", '{"names": ["paid", "$exception"]}']
        code = main(["watch", *given, *options])
        return code, self.record.entries()[-1]

    def share(self):
        groups = self.server.project.flags[101]["filters"]["groups"]
        return max((one["rollout_percentage"] for one in groups if not one["properties"]), default=0)


@pytest.fixture
def start(loopback, tmp_path, monkeypatch, capsys):
    """Starts a release; this machine's clock is `ahead` of the server's by nothing at first."""

    def started(at):
        release = Release(loopback, at, tmp_path)
        clock = lambda: release.server.project.time + release.ahead  # noqa: E731
        monkeypatch.setitem(Transport.__init__.__kwdefaults__, "clock", clock)
        monkeypatch.setenv("POSTHOG_PERSONAL_API_KEY", KEY)
        return release

    yield started
    said = capsys.readouterr()
    assert KEY not in said.out + said.err


@pytest.fixture
def hook():
    """A webhook that keeps what it is told."""
    messages = []

    class Hook(BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            messages.append((self.headers["Content-Type"], json.loads(body), dict(self.headers)))
            self.send_response(200)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", messages
    server.shutdown()
    server.server_close()


def test_the_loop_goes_on_once_a_stage_is_promoted_its_dwell_is_over_and_nothing_is_in_the_way(start, hook):
    release, (url, messages) = start("2026-09-17T10:00:00Z"), hook
    notify = ("--apply", "all", "--notify", url)

    code, seen = release.look("17T18:00", *notify)
    assert (code, seen["action"], release.share()) == (10, "nothing", 5), "nothing is proven yet"

    faults = [Fault(401, "query/", times=99), Fault(401, "file_download", times=99)]
    release.server.faults += faults
    code, seen = release.look("22T04:00", *notify)
    assert (code, seen["verdict"], release.share()) == (1, None, 5), "no data, no promotion"
    release.server.faults.clear()

    release.ahead = timedelta(hours=3)
    release.record.append({**seen, "loop": "elsewhere-1-abc", "at": "2026-09-22T05:50:00+00:00"})
    code, seen = release.look("22T06:00", *notify)
    assert (code, seen["action"], release.share()) == (0, "waits", 5)
    assert "180 minutes from the server's" in seen["why"]
    assert "another loop (elsewhere-1-abc)" in seen["why"]
    release.ahead = timedelta()

    before, exports = len(messages), len(release.server.exports)
    code, seen = release.look("22T08:00", *notify)
    assert (code, seen["action"], release.share()) == (0, "went on", 25)
    assert len(release.server.exports) - exports <= 2, "a look costs what is new"
    [(kind, body, headers)] = messages[before:]
    assert kind == "application/json"
    assert list(body) == ["text"], "what Slack, Teams and Mattermost take"
    assert body["text"].splitlines()[1].startswith("new-checkout to expanded beta 25%: applied, version")
    assert "Authorization" not in headers

    version = release.server.project.flags[101]["version"]
    code, seen = release.look("22T08:05", *notify)
    assert (seen["stage"], seen["action"]) == ("expanded beta 25%", "nothing")
    assert release.server.project.flags[101]["version"] == version, "one promotion, one step"


def test_an_export_that_has_gone_stale_promotes_nothing(start):
    """The sample ends on 28 September; the same stage still runs on the 30th."""
    release = start("2026-09-17T10:00:00Z")
    code, seen = release.look("30T12:00", "--apply", "all")
    assert code == 10
    assert (seen["action"], release.share()) == ("nothing", 5)


def test_the_loop_rolls_back_a_release_that_does_harm_as_far_as_it_may(start, hook):
    release, (url, messages) = start("2026-09-14T10:00:00Z"), hook
    code, seen = release.look("16T08:00", "--notify", url)
    assert (code, seen["action"], release.share()) == (20, "would roll back", 5)
    code, seen = release.look("16T08:30", "--notify", url, "--apply", "rollback")
    assert (code, seen["action"], release.share()) == (20, "rolled back", 0)
    assert [len(body) for _, body, _ in messages] == [1, 1]
    assert "new-checkout to beta: applied" in messages[1][1]["text"]
    done = [entry["status"] for entry in release.record.entries() if entry["what"] == "did"]
    assert done == ["applied"]
