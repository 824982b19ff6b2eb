"""Simulated event logs and simulated decisions, against plain loops and against the bare random numbers.

`--rows` is the number of people of the log. The floor draws as many random numbers as the log needs and
sorts as many event times, and does nothing else. The decision loop judges one look of one rollout after
another with the same evidence.
"""

import math
import random
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np

import canarykit as ck
from benchmarks.calibrate import ramp_plan
from benchmarks.timing import Contender, compare
from canarykit.stats.events import EventMixture

ROWS = 1_000_000
SAMPLE = 2_000
RUNS, LOOP_RUNS = 20_000, 20
WEEKS = 4


def plan() -> ck.RolloutPlan:
    return ck.RolloutPlan.five_stages(
        "new-checkout",
        owner="ada@acme.io",
        team_domain="acme.io",
        starts_at="2026-09-07T09:00:00Z",
        dwell="2d",
    )


def run(rows: int) -> Iterator[dict[str, Any]]:
    yield from event_log(rows)
    yield from decisions()


def event_log(rows: int) -> Iterator[dict[str, Any]]:
    """People to events, in memory."""
    scenario, shape = ck.Scenario(), plan()

    def ours() -> int:
        return len(ck.simulate_rollout(shape, rows, scenario, rng=1, progress=False).frame)

    peers = {
        "one person after another": Contender(lambda: per_person(min(rows, SAMPLE)), rows=min(rows, SAMPLE)),
        "random numbers and a sort": Contender(lambda: floor(rows)),
    }
    for line in compare("simulate a log", rows, ours, peers, rounds=1 if rows > 200_000 else 3):
        yield line | {"unit": "people"}


def floor(people: int, rng: int = 1) -> int:
    """The draws that the log of so many people needs, and their times sorted; nothing is made of them."""
    draw = np.random.Generator(np.random.SFC64(rng))
    draw.random((people, 8))
    counts = draw.poisson(draw.standard_gamma(1.0, people) * 2.0 * WEEKS)
    sessions = int(counts.sum())
    for _ in range(10):
        draw.random(sessions)
    for _ in range(6):
        draw.standard_normal(sessions, dtype=np.float32)
    views = 1 + (draw.standard_exponential(sessions) / math.log(1.5)).astype(np.int64)
    draw.standard_exponential(int(views.sum()), dtype=np.float32)
    events = int(views.sum() + 1.8 * sessions)
    times = draw.integers(0, WEEKS * 7 * 86_400_000_000, events)
    times.argsort()
    return events


def per_person(people: int, seed: int = 1) -> int:
    """A plain generator: one person, one session, one event at a time."""
    rng = random.Random(seed)
    rows: list[dict[str, Any]] = []

    def add(event: str, time: float, person: int, session: str, **properties: Any) -> None:
        rows.append(
            {
                "uuid": str(uuid.UUID(int=rng.getrandbits(128))),
                "event": event,
                "timestamp": time,
                "distinct_id": f"user-{person}",
                "$session_id": session,
                **properties,
            }
        )

    for person in range(people):
        rate = rng.gammavariate(1.0, 2.0)
        variant = "true" if rng.random() < 0.25 else "false"
        browser = rng.choice(["Chrome", "Safari", "Firefox", "Edge"])
        time = rng.expovariate(rate / 7)
        while time < 7 * WEEKS:
            session = str(uuid.UUID(int=rng.getrandbits(128)))
            add("$feature_flag_called", time, person, session, value=variant, browser=browser)
            clock = time
            while True:
                add("$pageview", clock, person, session, value=variant, browser=browser)
                clock += rng.expovariate(1 / 40) / 86_400
                if rng.random() < 1 / 3:
                    break
            for event, share in (("signup started", 0.35), ("signup finished", 0.72), ("paid", 0.6)):
                if rng.random() >= share:
                    break
                clock += rng.lognormvariate(5, 1) / 86_400
                add(
                    event,
                    clock,
                    person,
                    session,
                    value=variant,
                    browser=browser,
                    amount=rng.lognormvariate(4, 0.5),
                )
            if rng.random() < 0.01:
                add("$exception", clock, person, session, value=variant, browser=browser)
            time += rng.expovariate(rate / 7)
    rows.sort(key=lambda row: row["timestamp"])
    return len(rows)


def decisions() -> Iterator[dict[str, Any]]:
    """Rollouts times looks: five stages of 24 hourly looks, one guardrail."""
    shape, looks = ramp_plan(), 120
    guardrail = ck.Guardrail("$exception", margin_ratio=1.25)
    scenario = ck.Scenario(error_rate=0.01)

    def ours() -> float:
        found = ck.simulate_decisions(
            shape, scenario, guardrail, RUNS, traffic=2000, rng=1, on_hold="go on", srm=False, progress=False
        )
        return found.probability("roll back")

    size = RUNS * looks
    peers = {"run by run, look by look": Contender(lambda: looped(LOOP_RUNS), rows=LOOP_RUNS * looks)}
    for line in compare("simulate decisions", size, ours, peers):
        yield line | {"unit": "rollout-looks", "a_second": round(size / line["ours_s"])}


def looped(runs: int, rng: int = 1) -> float:
    """The same rollouts with the e-process evaluated at each look of each run on its own."""
    draw = np.random.default_rng(rng)
    harm, safe = EventMixture(), EventMixture("safe", null_ratio=1.25)
    stopped = 0
    for _ in range(runs):
        done = False
        for share in (0.01, 0.05, 0.10, 0.25, 0.50):
            ours, theirs = [], []
            for _ in range(24):
                ours.append(draw.poisson(2000 * share * 0.01))
                theirs.append(draw.poisson(2000 * (1 - share) * 0.01))
                x, n = np.array(ours), np.array(ours) + np.array(theirs)
                proven = harm.log_e(x, n, share, 1 - share)[-1] >= math.log(20)
                fine = safe.log_e(x, n, share, 1 - share)[-1] >= math.log(20)
                done = done or (proven and not fine)
        stopped += done
    return stopped / runs
