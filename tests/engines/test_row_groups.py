"""Random logs of thousands of events: a scanned file of uneven row groups says what a frame says.

Row groups code their columns each in its own way, and passes over many rows are compiled; logs of a few rows
reach neither. `ROW_GROUP_LOGS=400` makes the long run of it.
"""

import json
import os
import random
import re

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import canarykit as ck
from canarykit.events.engines import parquet
from canarykit.events.remembered import folder, log_columns, repeated
from canarykit.exposure import first_values
from canarykit.health.data import delays, pulse

LOGS = int(os.environ.get("ROW_GROUP_LOGS", "2"))
START = pd.Timestamp("2026-09-01T00:00Z")
KINDS = {
    "few": lambda rng, row: rng.choice("abc"),
    "many": lambda rng, row: f"v{rng.randrange(500)}",
    "its own": lambda rng, row: f"u{row}",
    "number": lambda rng, row: rng.choice([1, 2.5, 1e3, 7]),
    "any": lambda rng, row: rng.choice(["a", 1, True, None, [1, "x"], {"q": 1}]),
}


def drawn(rng):
    """Events of which each third has properties of other kinds, and persons or none."""
    rows, people = rng.randrange(800, 3000), rng.randrange(30, 300)
    kinds = {f"p{k}": (rng.choices(list(KINDS), k=3), rng.random()) for k in range(3)}
    with_person = rng.random() < 0.6
    events = []
    for row, second in enumerate(sorted(rng.random() * 6 * 86_400 for _ in range(rows))):
        who, third = rng.randrange(people), 3 * row // rows
        values = {
            name: KINDS[kind[third]](rng, row) for name, (kind, part) in kinds.items() if rng.random() < part
        }
        values["$browser"] = rng.choice(["Chrome", "Safari"])
        on = who * 2_654_435_761 % 1000 < (200 if third < 1 else 500)
        event = rng.choice(["view", "paid", "$exception", "$feature_flag_called"])
        if event == "$feature_flag_called":
            values |= {"$feature_flag": "f", "$feature_flag_response": on}
        else:
            values |= {"$feature/f": on, "$session_id": f"s{who}-{int(second) // 1800}"}
        events.append({
            "event": None if rng.random() < 0.005 else event,
            "distinct_id": None if rng.random() < 0.005 else f"d{who}-{rng.randrange(2)}",
            "timestamp": START + pd.Timedelta(seconds=second),
            "created_at": START + pd.Timedelta(seconds=second + rng.expovariate(1 / 60)),
            "properties": rng.choice(["{broken", None]) if rng.random() < 0.01 else json.dumps(values),
            "uuid": f"id{row if rng.random() > 0.02 else rng.randrange(row + 1)}",
        } | ({"person_id": None if rng.random() < 0.1 else f"P{who}"} if with_person else {}))  # fmt: skip
    table = pa.Table.from_pylist(events)
    for name in ("timestamp", "created_at"):
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, table.column(name).cast(pa.timestamp("us", "UTC")))
    ids = [(f"d{who}-{k}", f"P{who}", rng.choice(["iOS", None])) for who in range(people) for k in range(2)]
    persons = pd.DataFrame(ids, columns=["distinct_id", "person_id", "$os"])
    return table, {"persons": persons} if rng.random() < 0.5 else {}


def questions(rng):
    """Calls that take a log and give a text, without its notes: engines count what they dropped in turn."""
    key = rng.choice(["p0", "p1", "p2"])
    steps = ["view", "paid"]
    guardrails = [
        ck.Guardrail("$exception", margin_ratio=1.5),
        ck.Guardrail("paid", worse="lower", margin_ratio=0.8),
    ]

    def report(log):
        plan = ck.exposures(log, "f").observed_plan()
        return ck.evaluate_stage(
            log, plan, plan.stage_names[-1], guardrails, as_of=log.time_range[1], looks="6h",
            segments=("$browser", key),
        )  # fmt: skip

    yield lambda log: repr((log.event_names(), sorted(log.property_names())))
    yield lambda log: ck.funnel_by_flag(log, steps, breakdown=key).to_json()
    yield lambda log: ck.funnel_by_flag(log, steps, flag="f").people(2).to_frame().astype(str).to_csv()
    yield lambda log: ck.funnel_by_flag(log, steps, flag="f", attribution="exposure", within="1d").to_json()
    yield lambda log: ck.funnel_by_flag(log, steps, flag="f").correlates().to_json()
    yield lambda log: ck.trend_by_flag(log, "view", flag="f").to_json()
    yield lambda log: str(ck.sessions_by_flag(log, "f"))
    yield lambda log: report(log).to_json()
    yield lambda log: report(log).people("people with $exception").astype(str).to_csv()


def said(ask, log):
    text = re.sub(r'"notes": \[.*?\](?=, "|})|"engine": "[a-z]+"', "", ask(log), flags=re.DOTALL)
    return [line for line in text.splitlines() if not line.startswith("note:")]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(LOGS))
def test_a_file_of_uneven_row_groups_says_what_a_frame_says(seed, tmp_path, monkeypatch):
    rng = random.Random(seed)
    monkeypatch.setattr(parquet, "KEPT_FROM", 0)
    monkeypatch.setattr(folder, "YOUNG", 0)
    monkeypatch.setattr(log_columns, "AT_ONCE", 3)
    monkeypatch.setattr(repeated, "AT_ONCE", rng.choice([200, 2**24]))
    monkeypatch.setattr(log_columns, "HASHES_KEPT", rng.choice([10, 10**8]))
    for room in (first_values, delays, pulse):
        monkeypatch.setattr(room, "COMPILED_FROM", 1 if seed % 2 else 10**9)
    table, options = drawn(rng)
    pq.write_table(table, tmp_path / "events.parquet", row_group_size=rng.randrange(60, 600))
    frame = ck.EventLog(table.to_pandas(), **options)
    scanned = ck.scan_posthog(
        tmp_path / "events.parquet", cache=rng.choice([False, tmp_path / "cache"]),
        memory_limit=rng.choice(["1GB", "300KB", "60KB"]), **options,
    )  # fmt: skip
    for number, ask in enumerate(questions(rng)):
        assert said(ask, scanned) == said(ask, frame), f"question {number}"
