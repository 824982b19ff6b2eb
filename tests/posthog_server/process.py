"""Steps of a release in processes of their own, which can really be killed.

Run as a program it loads canarykit once, without threads, and forks for every line of JSON on standard input:
first it prints the process id, and at the end what came of it.
"""

import json
import os
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace


class Processes:
    """Starts one step at a time; `kill` ends it with SIGKILL, from any thread."""

    def __init__(self, key):
        self._main = subprocess.Popen(
            [sys.executable, "-m", __spec__.name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "POSTHOG_PERSONAL_API_KEY": key, "PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
        self._running = threading.Event()
        self.pid, self.commands = None, []

    def run(self, task, started=lambda: None):
        """What came of a step; None where it was killed."""
        self._main.stdin.write(json.dumps(task) + "\n")
        self._main.stdin.flush()
        self.pid = json.loads(self._main.stdout.readline())["pid"]
        self.commands.append(Path(f"/proc/{self.pid}/cmdline").read_bytes())
        self._running.set()
        started()
        answer = json.loads(self._main.stdout.readline())
        self._running.clear()
        return answer["said"]

    def kill(self):
        """kill -9 of the step that runs."""
        assert self._running.wait(10)
        os.kill(self.pid, 9)

    def close(self):
        self._main.stdin.close()
        self._main.wait(10)
        self._main.stdout.close()


def step(task):
    """One step by the public verbs; the verdict is given, the clock too."""
    import canarykit as ck
    from canarykit.errors import CanarykitError
    from canarykit.release.keys import Key
    from canarykit.release.transport import Transport

    began, now = time.monotonic(), datetime.fromisoformat(task["now"])
    transport = Transport(
        task["url"],
        Key(os.environ["POSTHOG_PERSONAL_API_KEY"]),
        clock=lambda: now + timedelta(seconds=time.monotonic() - began),
    )
    project = ck.PostHog("", 7, transport=transport, record=task["record"])
    plan = ck.RolloutPlan.from_json(task["plan"])

    def judge(plan, stage, guardrails, *, as_of):
        if task["verdict"] is None:
            raise ck.DataError("no events")
        verdict = ck.Verdict(task["verdict"])
        return SimpleNamespace(
            flag=plan.flag, stage=stage, verdict=verdict, reason="the world", audit={},
            as_of=as_of - timedelta(days=task.get("days_old", 0)), exit_code=verdict.exit_code,
        )  # fmt: skip

    watched = SimpleNamespace(store=project.store, record=project.record, judge=judge, skew=project.skew)
    try:
        if task["verb"] == "watch":
            outcome = ck.watch(watched, plan, apply="all", every="1s", looks=1).outcome
        elif task["verb"] == "push":
            outcome = project.prepare(plan, task["stage"], override="a test").apply()
        else:
            outcome = project.roll_back(plan, why="a person says so")
    except CanarykitError as problem:
        return {"error": str(problem)}
    if outcome is None:
        return {"status": None, "theirs": [], "overwritten": False}
    theirs = [difference.words() for difference in outcome.theirs]
    return {"status": outcome.status, "theirs": theirs, "overwritten": outcome.overwritten}


def main():
    import canarykit as ck
    import canarykit.posthog.reach

    for name in ck.__all__:  # loaded once, before the forks
        getattr(ck, name)
    time.sleep = lambda seconds: None  # pauses before another try
    for line in sys.stdin:
        read, write = os.pipe()
        ready, go = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            os.close(go)
            os.read(ready, 1)
            os.write(write, json.dumps(step(json.loads(line))).encode())
            os._exit(0)
        os.close(write)
        os.close(ready)
        print(json.dumps({"pid": pid}), flush=True)
        os.close(go)
        with open(read, "rb") as stream:
            said = stream.read()
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status) or said, status
        print(json.dumps({"said": None if os.WIFSIGNALED(status) else json.loads(said)}), flush=True)


if __name__ == "__main__":
    main()
