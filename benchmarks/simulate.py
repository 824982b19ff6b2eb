"""Simulated event logs and simulated decisions, against plain loops and against the bare random numbers.

`--rows` is the number of people of the log. A log of more people than `IN_MEMORY` is written to Parquet
instead, once and without peers: `--rows 4900000` makes a hundred million events. The floor draws as many
random numbers as the log needs and sorts as many event times, and does nothing else. The decision loop
judges one look of one rollout after another with the same evidence.
"""

import bisect
import hashlib
import itertools
import math
import random
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

import canarykit as ck
from benchmarks.calibrate import ramp_plan
from benchmarks.timing import Contender, compare, peak_of, processor, significant, stopwatch
from canarykit.simulate.log.export_columns import PAGES
from canarykit.simulate.people.population import DAILY, WEEKLY
from canarykit.stats.any_look.event_process import EventMixture

ROWS = 1_000_000
IN_MEMORY = 2_000_000
SESSIONS = 1.1
SAMPLE = 2_000
RUNS, LOOP_RUNS = 20_000, 20
WEEKS = 4
START = datetime(2026, 8, 31, 9, tzinfo=UTC)
ENDS = START + timedelta(days=7 * WEEKS)


def plan() -> ck.RolloutPlan:
    return ck.RolloutPlan.five_stages(
        "new-checkout",
        owner="ada@acme.io",
        team_domain="acme.io",
        starts_at="2026-09-07T09:00:00Z",
        dwell="2d",
    )


def run(rows: int) -> Iterator[dict[str, Any]]:
    if rows > IN_MEMORY:
        yield export(rows)
        return
    yield from event_log(rows)
    yield from decisions()


def event_log(rows: int) -> Iterator[dict[str, Any]]:
    """People to events, in memory."""
    scenario, shape = ck.Scenario(), plan()

    def ours() -> int:
        people = ck.Population(rows, sessions_per_week=SESSIONS)
        return len(ck.simulate_rollout(shape, people, scenario, rng=1, until=ENDS, progress=False).frame)

    peers = {
        "one person after another": Contender(lambda: per_person(min(rows, SAMPLE)), rows=min(rows, SAMPLE)),
        "random numbers and a sort": Contender(lambda: floor(rows)),
    }
    for line in compare("simulate a log", rows, ours, peers, rounds=1 if rows > 200_000 else 3):
        yield line | {"unit": "people"}


def export(rows: int) -> dict[str, Any]:
    """People to a PostHog export on disk, with a progress bar where somebody watches."""
    people, scenario = ck.Population(rows, sessions_per_week=SESSIONS), ck.Scenario()
    with tempfile.TemporaryDirectory() as folder:
        spent: list[tuple[float, float]] = []

        def write() -> None:
            spent.append(
                stopwatch(
                    lambda: ck.simulate_rollout(plan(), people, scenario, rng=1, until=ENDS, path=folder)
                )
            )

        _, peak_mb = peak_of(write)
        sizes = [file.stat().st_size for file in Path(folder).iterdir()]
        events = pq.read_metadata(Path(folder) / "events.parquet").num_rows
    seconds, processor_seconds = spent[0]
    return {
        "bench": "write a simulated log",
        "size": rows,
        "unit": "people",
        "events": events,
        "ours_s": significant(seconds),
        "cpu_s": significant(processor_seconds),
        "events_a_second": round(events / seconds),
        "peak_mb": round(peak_mb, 1),
        "written_mb": round(sum(sizes) / 2**20, 1),
        **processor(),
    }


def floor(people: int, rng: int = 1) -> int:
    """The draws that the log of so many people needs, and their times sorted; nothing is made of them."""
    draw = np.random.Generator(np.random.SFC64(rng))
    for _ in range(9):  # organisation, membership, plan, browser, country, arrival, ...
        draw.random(people)
    draw.standard_exponential(people)
    rates = draw.standard_gamma(1.0, people) * SESSIONS
    sessions = sum(int(draw.poisson(rates).sum()) for _ in range(WEEKS))
    for _ in range(
        9
    ):  # when it starts, three steps, both kinds of errors and when, the survey and its answer
        draw.random(sessions)
    for _ in range(5):  # delays of the steps, load time, amount
        draw.standard_normal(sessions, dtype=np.float32)
    draw.standard_normal(sessions)  # the survey's score
    draw.standard_exponential(sessions)  # the time to answer
    views = 1 + (draw.standard_exponential(sessions) / math.log(1.5)).astype(np.int64)
    draw.standard_exponential(int(views.sum()), dtype=np.float32)
    events = int(views.sum() + 1.64 * sessions)  # as many others as the log holds
    times = draw.integers(0, WEEKS * 7 * 86_400_000_000, events)
    times.argsort()
    return events


def per_person(people: int, seed: int = 1) -> int:
    """A plain generator of the same columns: one person, one session, one event at a time."""
    rng = random.Random(seed)
    rhythm = list(itertools.accumulate(weekday * hour for weekday in WEEKLY for hour in DAILY))
    hours = range(168)
    steps = (("signup started", 0.35, 3.0), ("signup finished", 0.72, 5.5), ("paid", 0.6, 7.3))
    starts = [7 + 2 * stage for stage in range(7)]
    shares = [0.0, 0.0, 0.0, 0.05, 0.25, 0.5, 1.0]
    rows: list[dict[str, Any]] = []
    persons: list[dict[str, Any]] = []
    sizes: Counter[str] = Counter()

    def add(base: dict[str, Any], event: str, day: float, value: str | None, **extra: Any) -> None:
        now = START + timedelta(days=day)
        row = {**base, "uuid": str(uuid.UUID(int=rng.getrandbits(128))), "event": event}
        row |= {"timestamp": now, "created_at": now + timedelta(seconds=2), "$feature/new-checkout": value}
        rows.append({**row, **extra})

    for person in range(people):
        who, person_id = f"user-{person}", str(uuid.UUID(int=rng.getrandbits(128)))
        group = f"firm-{int(rng.paretovariate(1.2) * 40)}" if rng.random() < 0.6 else None
        browser = rng.choices(["Chrome", "Safari", "Firefox", "Edge"], [60, 22, 10, 8])[0]
        country = rng.choices(["US", "DE", "GB", "IN", "BR"], [40, 20, 15, 15, 10])[0]
        tariff = rng.choices(["free", "pro", "enterprise"], [6, 3, 1])[0]
        enrolled, joined, asked_survey = rng.random() < 0.02, False, False
        email = f"{person}@{group or 'mail'}.example"
        listed = {"person_id": person_id, "distinct_id": who, "email": email, "organization": group}
        listed |= {"plan": tariff, "$browser": browser, "$geoip_country_code": country, "created_at": START}
        persons.append({**listed, "$feature_enrollment/new-checkout": "true" if enrolled else None})
        sizes.update([group] if group else [])
        bucket = int(hashlib.sha1(f"new-checkout.{who}".encode()).hexdigest()[:15], 16) / 2**60
        rate = rng.gammavariate(1.0, SESSIONS)

        own = {"distinct_id": who, "person_id": person_id, "$browser": browser, "$group_0": group}
        for week in range(WEEKS):
            for _ in range(poisson(rng, rate)):
                hour = rng.choices(hours, cum_weights=rhythm)[0]
                day = 7 * week + (hour + rng.random()) / 24
                base = {**own, "$session_id": str(uuid.UUID(int=rng.getrandbits(128)))}
                stage = bisect.bisect(starts, day) - 1
                on = stage >= 0 and (bucket <= shares[stage] or (enrolled and stage >= 2))
                value = None if stage < 0 else "true" if on else "false"
                clock = day
                if enrolled and stage >= 2 and not joined:
                    joined = True
                    add(base, "$feature_enrollment_update", clock, None, **{"$feature_enrollment": "true"})
                add(base, "$pageview", clock, None, **{"$current_url": rng.choice(PAGES)})
                if value is not None:
                    called = {"$feature_flag": "new-checkout", "$feature_flag_response": value}
                    add(base, "$feature_flag_called", clock, value, **called)
                while rng.random() > 1 / 3:
                    clock += rng.expovariate(1 / 40) / 86_400
                    add(base, "$pageview", clock, value, **{"$current_url": rng.choice(PAGES)})
                moment = clock
                for event, share, delay in steps:
                    if rng.random() >= share:
                        break
                    moment += rng.lognormvariate(delay, 1) / 86_400
                    number = {"amount": round(rng.lognormvariate(4, 0.5), 2)} if event == "paid" else {}
                    number = (
                        {"load_ms": round(rng.lognormvariate(6.7, 0.4))} if event == steps[0][0] else number
                    )
                    add(base, event, moment, value, **number)
                for share in (0.01, 0.003):
                    if rng.random() < share:
                        add(
                            base, "$exception", clock, value, **{"$exception_list": '[{"type": "TypeError"}]'}
                        )
                if value is not None and not asked_survey and rng.random() < 0.15:
                    asked_survey = True
                    add(base, "survey shown", clock, value, **{"$survey_id": "s"})
                    if rng.random() < 0.4:
                        answer = {"$survey_id": "s", "$survey_response": str(rng.randint(1, 5))}
                        add(base, "survey sent", clock, value, **answer)
                    else:
                        add(base, "survey dismissed", clock, value, **{"$survey_id": "s"})
    pd.DataFrame(persons)
    pd.DataFrame([{"group_key": key, "members": size} for key, size in sizes.items()])
    return len(pd.DataFrame(rows).sort_values("timestamp"))


def poisson(rng: random.Random, mean: float) -> int:
    """One Poisson number, by Knuth's product of uniforms."""
    limit, count, product = math.exp(-mean), 0, rng.random()
    while product > limit:
        count += 1
        product *= rng.random()
    return count


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
