"""kill -9 of the process, for real and at any moment: a release goes on as if nothing had happened."""

import json
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.posthog_server import MISSING

if MISSING or sys.platform == "win32":
    pytest.skip(f"the loopback server needs {MISSING or 'fork'}", allow_module_level=True)

import canarykit as ck
from canarykit.errors import CanarykitError
from canarykit.release.record import Record
from tests.posthog_server.model import KEY, Project
from tests.posthog_server.process import Processes
from tests.schedules import PLAN, Killed, Schedule, run_schedules

START = datetime(2026, 9, 15, 9, tzinfo=UTC)
RAMP = ck.RolloutPlan("f", (ck.Stage.for_share("5 %", 5, dwell="1d"), ck.Stage.for_share("25 %", 25)))


@pytest.fixture(scope="module")
def processes():
    made = Processes(KEY)
    yield made
    made.close()


class Release:
    """A flag at 5 % since two days, and steps on it that may be killed at the n-th request."""

    def __init__(self, loopback, processes, mode, record):
        self.time = START - timedelta(days=2)
        self.project = Project(mode, clock=lambda: self.time)
        self.project.add_flag({"key": "f", "filters": {"groups": []}})
        self.set_share("5 %", "ada@acme.io")
        self.time = START
        self.server = loopback.begin(self.project)
        self.server.around = self.around
        self.processes, self.record = processes, record
        self.requests, self.kill_at = 0, None

    def set_share(self, stage, by):
        self.project.patch(101, {"filters": RAMP.flag_at(stage).to_posthog()["filters"]}, by)

    def around(self, method, path, act):
        number, self.requests = self.requests, self.requests + 1
        if self.kill_at == (number, "before"):
            self.processes.kill()
            raise ConnectionError
        answer = act()
        if self.kill_at == (number, "after"):
            self.processes.kill()
        return answer

    def step(self, verb, kill_at=None):
        self.requests, self.kill_at = 0, kill_at
        task = {"verb": verb, "stage": "25 %", "verdict": "promote", "plan": RAMP.to_json()}
        task |= {"url": self.server.url, "record": str(self.record), "now": self.time.isoformat()}
        return self.processes.run(task)

    def versions(self):
        return self.project.flags[101]["version"]

    def applied(self):
        """Versions that the record says were made."""
        return [i.version_after for i in Record(self.record).intents("f") if i.status == "applied"]


@pytest.fixture(autouse=True)
def no_warnings_of_the_server(caplog):
    """An older server answers 404 to the newer calls, and says so."""
    caplog.set_level("ERROR", "django.request")


@pytest.mark.parametrize("verb", ["push", "watch", "roll back"])
@pytest.mark.parametrize("mode", ["old", "new"])
def test_a_step_that_is_killed_at_any_request_is_carried_out_once_by_the_next(
    loopback, processes, tmp_path, verb, mode
):
    """Before and after each request of the step, of which there are as many as an undisturbed one makes."""

    def release(name):
        made = Release(loopback, processes, mode, tmp_path / f"{name}.jsonl")
        if verb == "roll back":
            assert made.step("push")["status"] == "applied"
        return made

    undisturbed = release("undisturbed")
    assert undisturbed.step(verb)["status"] == "applied"
    wanted = undisturbed.versions()
    kills = [(number, moment) for number in range(undisturbed.requests) for moment in ("before", "after")]
    assert len(kills) >= 10
    for kill_at in kills:
        one = release(f"{kill_at}")
        assert one.step(verb, kill_at) is None, "it was killed"
        one.time += timedelta(minutes=11)  # a request may be on its way for ten
        if verb != "roll back" or one.applied() != [
            3,
            wanted,
        ]:
            one.step(verb)
        assert one.versions() == wanted, f"{verb} killed {kill_at}"
        assert one.applied() == list(range(3, wanted + 1))
        assert not any(intent.is_open for intent in Record(one.record).intents("f"))
        assert KEY not in one.record.read_text()


class KilledSchedule(Schedule):
    """Every step is a process; where `Schedule` stops, it is killed; now and then by the clock as well."""

    def __init__(self, seed, folder, loopback, processes):
        super().__init__(seed, folder)
        self.processes, self.server, self.busy = processes, loopback.begin(self.project), threading.Lock()
        self.server.around = self.over_sockets
        self.plan = PLAN.to_json()

    def over_sockets(self, method, path, act):
        with self.busy:
            try:
                return self.around(method, path, act)
            except Killed:
                self.processes.kill()
                raise ConnectionError from None

    def take_step(self, by_hand):
        verdict, days = self.random.choice([*["promote"] * 8, "hold", "roll back", None]), 0
        if not by_hand:
            days = 3 if self.random.random() < 0.1 else 0
            self.judged.append(("", "stale" if days and verdict == "promote" else verdict))
        skewed = self.random.choice([*[timedelta()] * 8, timedelta(hours=3), timedelta(minutes=-40)])
        task = {"verb": "roll back" if by_hand else "watch", "verdict": verdict, "days_old": days}
        task |= {"url": self.server.url, "record": str(self.record.path), "plan": self.plan}
        killer = threading.Timer(self.random.random() * 0.1, self.processes.kill)
        by_clock = self.random.random() < self.chance
        said = self.processes.run(
            {**task, "now": (self.time + skewed).isoformat()}, killer.start if by_clock else lambda: None
        )
        if by_clock:
            killer.cancel()
            killer.join()
            time.sleep(0.02)  # a request that is under way arrives
        with self.busy:
            if said is None:
                raise Killed
        if "error" in said:
            raise CanarykitError(said["error"])
        return [*said["theirs"], "overwritten"] if said["overwritten"] else said["theirs"]


def test_five_random_schedules_of_real_processes_keep_what_a_release_promises(loopback, processes, tmp_path):
    total = run_schedules(range(5), lambda seed: KilledSchedule(seed, tmp_path, loopback, processes))
    assert total["crashes"] >= 1, total
    assert not any(KEY.encode() in command for command in processes.commands)


if __name__ == "__main__":  # as many as one likes: python -m tests.test_release_kills 2000
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from tests.posthog_server.serve import serving

    started, many = Processes(KEY), range(10_000, 10_000 + int(sys.argv[1]))
    with serving() as running, TemporaryDirectory() as folder:
        counts = run_schedules(many, lambda seed: KilledSchedule(seed, Path(folder), running, started))
    print(json.dumps({"schedules": len(many), **counts}))
