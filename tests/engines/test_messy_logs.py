"""Random messy logs: every engine gives the same answer, or the same refusal.

`MESSY_LOGS=2000` makes the long run of it, `MESSY_ENGINES=spark,ibis` chooses engines.
"""

import json
import os
import random
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from logs_everywhere import CHEAP, LINES, SLOW, answer, as_texts, log_of

pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet:FutureWarning")
LOGS = int(os.environ.get("MESSY_LOGS", "8"))
CHOSEN = [name for name in os.environ.get("MESSY_ENGINES", "").split(",") if name]
START = pd.Timestamp("2026-09-07T00:00Z")
SPELLINGS = (
    "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S.%f+00:00", "%Y-%m-%d %H:%M:%S +0000", "%Y-%m-%dT%H:%MZ",
    "%Y-%m-%d %H:%M:%S UTC", "%Y-%m-%dT%H:%M:%S.%f+00",
)  # fmt: skip
NO_TIMES = (
    None,
    "",
    "soon",
    "now",
    "2026-02-30T00:00:00Z",
    "1788771600",
    "2026-09-07 09:00:00 Europe/Berlin",
    "9",
)
VALUES = (
    None, True, False, 0, 95, -1, 2**60 + 1, 10**25, 0.1, 95.0, 1e5, 1e16, 1e-7, "", "pro", "2.0",
    "NaN", "1e5", "é\n", 'say "hi"', [1, 2.0], [], {"a": 1.0, "b": [None, "x"]}, "null", "true", " ",
)  # fmt: skip
SPOILT = (
    "", "null", "{", "[]", "3", '"text"', '{"v": 1', '{"v": 1}}', '{"v": NaN}', '{"v": 1e400, "w": 2}',
    '{"v": 1,}', '{"v": "\\ud83d", "w": "kept"}', '{"v": "a", "v": "b"}', '\ufeff{"v": 1}', "{'v': 1}",
    '{"v": 1} ', ' {"v": "x"}',
)  # fmt: skip
COLUMNS = (
    "event",
    "timestamp",
    "distinct_id",
    "person_id",
    "session_id",
    "uuid",
    "v",
    "w",
    "$feature/f",
    "plain",
)
QUESTIONS = (
    {}, {"events": ["a", "b"]}, {"where": {"v": "95"}}, {"where": {"v": None}},
    {"where": {"plain": ["1", None]}},
    {"since": START + pd.Timedelta("2h"), "until": START + pd.Timedelta("9h")},
)  # fmt: skip


def messy_table(seed):
    """An Arrow table of events in which nothing is to be relied on."""
    rng = random.Random(seed)
    n = rng.randrange(0, 40)
    pick = lambda options, missing=0.1: None if rng.random() < missing else rng.choice(options)  # noqa: E731
    columns = {"event": pa.array([pick(["a", "b", "$snapshot", "c"]) for _ in range(n)], pa.string())}
    moments = [START + pd.Timedelta(seconds=rng.randrange(50_000)) for _ in range(n)]
    kind = rng.randrange(4)
    if kind == 0:
        texts = [
            rng.choice(NO_TIMES) if rng.random() < 0.15 else at.strftime(rng.choice(SPELLINGS))
            for at in moments
        ]
        columns["timestamp"] = pa.array(texts, pa.string())
    elif kind == 1 and rng.random() < 0.3:
        columns["timestamp"] = pa.array([at.value // 10**9 for at in moments], pa.int64())
    else:
        unit, zone = rng.choice(["us", "ms", "ns"]), rng.choice(["UTC", "UTC", "Europe/Berlin", None])
        kept = [None if rng.random() < 0.1 else at for at in moments]
        whole = pa.array(kept, pa.timestamp("ns", "UTC"))
        there = whole.cast(pa.timestamp(unit, "UTC"), safe=False)
        columns["timestamp"] = there.cast(pa.timestamp(unit, zone))
    people = [f"p{i}" for i in range(6)]
    if rng.random() < 0.3:
        columns["distinct_id"] = pa.array([pick([1, 2, 2**60 + 1]) for _ in range(n)], pa.int64())
    else:
        columns["distinct_id"] = pa.array([pick([*people, "", " "]) for _ in range(n)], pa.string())
    if rng.random() < 0.7:
        ids = [pick([1.0, 2.0, 7.0], 0.3) for _ in range(n)] if rng.random() < 0.3 else None
        texts = [pick([*people, ""], 0.3) for _ in range(n)]
        columns["person_id"] = pa.array(texts, pa.string()) if ids is None else pa.array(ids, pa.float64())
    if rng.random() < 0.6:
        columns["uuid"] = pa.array(
            [pick([f"u{i}" for i in range(60)] + ["", " "]) for _ in range(n)], pa.string()
        )
    if rng.random() < 0.8:
        columns["properties"] = pa.array([_document(rng) for _ in range(n)], pa.string())
    plain = rng.choice([pa.int64(), pa.float64(), pa.bool_(), pa.string()])
    options = {pa.int64(): [1, 2**60 + 1], pa.float64(): [1.0, 0.5, float("nan")], pa.bool_(): [True, False]}
    columns["plain"] = pa.array([pick(options.get(plain, ["1", "", "x"]), 0.3) for _ in range(n)], plain)
    return pa.table(columns)


def _document(rng):
    if rng.random() < 0.15:
        return rng.choice([None, *SPOILT])
    properties = {
        "v": rng.choice(VALUES),
        "$feature/f": rng.choice([True, False, "test", None]),
        "$session_id": rng.choice(["s1", "s2", "", None]),
    }
    for key in list(properties):
        if rng.random() < 0.2:
            del properties[key]
    text = json.dumps(properties, ensure_ascii=rng.random() < 0.5)
    return json.dumps(text) if rng.random() < 0.05 else text


@pytest.mark.parametrize("kind", [None, pytest.param("slow", marks=pytest.mark.slow)])
def test_every_engine_gives_the_same_answer_or_the_same_refusal(kind, tmp_path, request):
    engines = CHOSEN or ((*CHEAP, *LINES, "csv") if kind is None else SLOW)
    spark = request.getfixturevalue("spark") if "spark" in engines else None
    first = int(os.environ.get("MESSY_FROM", "0"))
    logs = LOGS if kind is None or "MESSY_LOGS" in os.environ else 8  # Spark takes seconds a log
    for seed in range(first, first + logs):
        rng = random.Random(seed)
        table, question = messy_table(seed), rng.choice(QUESTIONS)
        zone = rng.choice([None, "UTC", "Europe/Berlin"])
        plain = {"csv": as_texts(table)} if "csv" in engines else {}
        right = {name: _ask("arrow", rows, tmp_path, zone, question) for name, rows in plain.items()}
        right[None] = _ask("arrow", table, tmp_path, zone, question)
        for engine in engines:
            rows, expected = plain.get(engine, table), right.get(engine, right[None])
            if _takes(engine, rows, expected):
                answered = _ask(engine, rows, tmp_path, zone, question, spark)
                assert answered == expected, f"log {seed}, {engine}, tz={zone}, {question}"


def _ask(engine, table, folder, zone, question, spark=None):
    return answer(lambda: log_of(engine, table, folder, spark, tz=zone), COLUMNS, **question)


def _takes(engine, table, expected):
    """Whether an engine is asked: exports know more than a table, and a file without rows has no columns."""
    if engine == "two files" and table.num_rows < 2:
        return False
    if engine in {*LINES, "csv"} and not table.num_rows:
        return False
    needed = [table[name] for name in ("event", "timestamp", "distinct_id")]
    if engine in LINES and any(column.null_count == len(column) for column in needed):
        return False  # no line has the key
    if engine not in {"read parquet", "scan parquet", "two files", *LINES, "csv"}:
        return True
    # An export says by its columns that its times are UTC, and is refused where most rows are lost.
    return (engine == "csv" or "uuid" not in table.column_names) and not _mostly_lost(expected)


def _mostly_lost(expected):
    if expected[0] == "refused":
        return False
    _, names, notes = expected
    lost = sum(notes.get(code, 0) for code in ("no_event_name", "no_time", "no_id"))
    return lost > 0.4 * (sum(names.values()) + lost)
