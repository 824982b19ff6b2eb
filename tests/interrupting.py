"""A long call that is interrupted at several moments, as by Ctrl-C, in a process of its own.

`python -m tests.interrupting CALL FOLDER SECONDS [URL]` interrupts the call so many seconds after its start,
once for each, lets it end at last, and prints what was seen as one line of JSON.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import canarykit as ck

PLAN = ck.RolloutPlan("f", (ck.Stage.for_share("half", 50, dwell="2d"),), starts_at="2026-09-07T09:00:00Z")
AS_OF = "2026-09-09T09:00:00Z"
KEPT = "kept"


def opened(folder, **options):
    return ck.scan_posthog(str(folder / "export" / "events.parquet"), **options)


def evaluate_stage(folder, url):
    """A log opened anew each time, which keeps its columns in a cache."""
    log = opened(folder, cache=folder / KEPT)
    return ck.evaluate_stage(log, PLAN, "half", as_of=AS_OF).to_json()


def evaluate_stage_again(folder, url, logs=[]):  # noqa: B006  (one log for all calls)
    """The same log each time: whatever it remembers of a call that was broken off."""
    logs.append(logs[0] if logs else opened(folder, cache=False))
    return ck.evaluate_stage(logs[0], PLAN, "half", as_of=AS_OF).to_json()


def read_parquet(folder, url):
    return repr(ck.read_posthog(folder / "export" / "events.parquet").event_names())


def read_json_lines(folder, url):
    return repr(ck.read_posthog(folder / "export" / "events.jsonl").event_names())


def simulate_decisions(folder, url):
    guardrail = ck.Guardrail("$exception")
    rates = {guardrail.label: 0.02}
    decided = ck.simulate_decisions(
        PLAN, ck.Scenario(), guardrails=[guardrail], traffic=300, rates=rates, n_runs=30_000, rng=7,
        progress=False,
    )  # fmt: skip
    return decided.to_json()


def simulate_rollout(folder, url):
    log = ck.simulate_rollout(PLAN, ck.Population(30_000), rng=7, path=folder / KEPT, progress=False)
    return repr(log.event_names())


def fetch(folder, url):
    project = ck.PostHog(url, 7, os.environ["POSTHOG_PERSONAL_API_KEY"], record=folder / "record.jsonl")
    days = {"since": "2026-09-13T09:00:00Z", "until": "2026-09-17T09:00:00Z"}
    log = project.events(into=folder / KEPT, progress=False, **days).log()
    return repr([*log.event_names().items(), log.time_range])


def interrupt(call, after):
    """Seconds between an interrupt and its coming through; None where the call was faster."""
    sent = []

    def send():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(after, send)
    try:
        timer.start()
        call()
        timer.cancel()
        timer.join()
    except KeyboardInterrupt:
        return time.monotonic() - sent[0]
    return None


def main(name, folder, moments, url=""):
    def call():
        return globals()[name](Path(folder), url)

    waits = [interrupt(call, float(moment)) for moment in moments.split(",")]
    end = time.monotonic() + 5
    while threading.active_count() > 1 and time.monotonic() < end:
        time.sleep(0.05)
    threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    files = [str(path.relative_to(folder)) for path in sorted((Path(folder) / KEPT).rglob("*"))]
    print(json.dumps({"waits": waits, "threads": threads, "files": files, "answer": call()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
