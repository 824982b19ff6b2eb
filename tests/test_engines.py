"""The same question to every engine: the same answer, to the last digit."""

import json
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import canarykit as ck
from canarykit.events import PRESENT

START = pd.Timestamp("2026-09-07T00:00Z")
OPEN = []
ENGINES = ("pandas", "parquet", "folder", "jsonl", "relation", "arrow", "polars", "lazy", "ibis", "spark")


def made(seed=0, n=600):
    """Events in the shape of a batch export, with everything that is odd about properties."""
    rng = np.random.default_rng(seed)
    odd = [
        None,
        True,
        False,
        "pro",
        "",
        'say "hi"',
        "it's",
        "é\n",
        95,
        95.5,
        -1,
        {"a": [1, "x"]},
        [1, 2],
        12.25,
    ]
    rows = []
    for i in range(n):
        who = int(rng.integers(40))
        properties = {
            "$feature/f": [True, False, "test", None][rng.integers(4)],
            "odd": odd[rng.integers(len(odd))],
            "amount": round(float(rng.normal(20, 5)), 2),
            "$session_id": f"s{rng.integers(100)}",
            "dotted.key": "d",
            "quo'te": "q",
            "a/b~c": "slash",
            "$groups": {"organization": f"org{who % 3}"},
        }
        if rng.random() < 0.3:
            del properties["odd"]
        if rng.random() < 0.2:
            del properties["$groups"]
        rows.append(
            {
                "uuid": f"u{i:05d}",
                "event": ["view", "paid", "$feature_flag_called", "$snapshot"][rng.integers(4)],
                "distinct_id": f"d{who}" if rng.random() < 0.7 else f"anon{who}",
                "person_id": None if rng.random() < 0.1 else f"p{who}",
                "properties": json.dumps(properties, ensure_ascii=False) if i % 97 else "{broken",
                "person_properties": json.dumps({"email": f"{who}@acme.io", "n": who}),
                "timestamp": START + pd.Timedelta(microseconds=int(rng.integers(10**11))),
            }
        )
    return pd.DataFrame(rows)


PERSONS = pd.DataFrame(
    {
        "distinct_id": [f"{kind}{i}" for i in range(0, 40, 2) for kind in ("d", "anon")],
        "person_id": [f"P{i // 4}" for i in range(0, 40, 2) for _ in (0, 1)],
        "properties": [json.dumps({"email": f"{i}@new.io", "vip": i % 4 == 0}) for i in range(40)],
    }
)
GROUPS = pd.DataFrame(
    {
        "group_type_index": [0, 0],
        "group_key": ["org0", "org1"],
        "properties": ['{"plan": "pro", "seats": 5}', '{"plan": "free"}'],
    }
)


@pytest.fixture(scope="module")
def homes(tmp_path_factory, request):
    """The same events, as every engine likes them."""
    frame = made()
    folder = tmp_path_factory.mktemp("export")
    frame.to_parquet(folder / "all.parquet", row_group_size=100)
    (folder / "parts").mkdir()
    for number, part in enumerate(np.array_split(np.arange(len(frame)), 3)):
        frame.iloc[part].to_parquet(folder / "parts" / f"{number}.parquet")
    with (folder / "all.jsonl").open("w") as stream:
        for row in frame.to_dict("records"):
            text = row["properties"]
            row["properties"] = json.loads(text) if not text.startswith("{broken") else text
            row["timestamp"] = row["timestamp"].isoformat()
            row["person_properties"] = json.loads(row["person_properties"])
            row["person_id"] = row["person_id"] if isinstance(row["person_id"], str) else None
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    return frame, folder


def opened(engine, homes, request, **options):
    frame, folder = homes
    if engine == "pandas":
        return ck.EventLog(frame, **options)
    if engine in {"parquet", "folder", "jsonl"}:
        path = {"parquet": "all.parquet", "folder": "parts", "jsonl": "all.jsonl"}[engine]
        return ck.scan_posthog(folder / path, **options)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    if engine == "arrow":
        return ck.EventLog(table, **options)
    if engine == "relation":
        import duckdb

        OPEN.append(duckdb.connect())  # older versions close a connection that nobody holds
        return ck.EventLog(OPEN[-1].from_arrow(table), **options)
    if engine in {"polars", "lazy"}:
        polars = pytest.importorskip("polars")

        made_of = polars.from_arrow(table)
        return ck.EventLog(made_of if engine == "polars" else made_of.lazy(), **options)
    if engine == "ibis":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ibis = pytest.importorskip("ibis")

            return ck.EventLog(ibis.duckdb.connect().create_table("events", table), **options)
    session = request.getfixturevalue("spark")
    return ck.EventLog(session.createDataFrame(table), **options)


COLUMNS = (
    "event", "timestamp", "distinct_id", "person_id", "session_id", "uuid", "odd", "amount", "$feature/f",
    "dotted.key", "quo'te", "a/b~c", "nowhere", "person.email", "person.vip", "group0.plan", "$group_0",
)  # fmt: skip
QUESTIONS = {
    "everything": {},
    "names": {"events": ["paid", "view", "nobody did this"]},
    "window": {"since": START + pd.Timedelta("5h"), "until": START + pd.Timedelta("9h")},
    "where": {"where": {"$feature/f": [True, "test"], "odd": PRESENT}},
    "missing": {"where": {"odd": [None, 95]}, "events": ["paid"]},
    "person": {"where": {"person.vip": True}},
    "group": {"where": {"group0.plan": ["pro", None]}, "until": START + pd.Timedelta("20h")},
    "nothing": {"events": []},
    "named twice": {"events": ["paid", "view"], "where": {"event": "paid"}},
}


def rows_of(table):
    frame = table if isinstance(table, pd.DataFrame) else pd.DataFrame(table.to_pydict())
    frame = frame.astype(object).where(frame.notna(), None)
    frame["timestamp"] = [pd.Timestamp(value).isoformat() for value in frame["timestamp"]]
    return sorted(map(tuple, frame.to_numpy().tolist()), key=str)


def collect(table):
    """At module level, so that Spark's workers can have it."""
    assert table.schema.field("timestamp").type == pa.timestamp("us", "UTC")
    return table.to_pydict()


@pytest.fixture(scope="module")
def expected(homes):
    log = ck.EventLog(homes[0], persons=PERSONS, groups=GROUPS)
    return {name: rows_of(log.select(list(COLUMNS), **question)) for name, question in QUESTIONS.items()}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_gives_the_same_rows(engine, homes, expected, request):
    log = opened(engine, homes, request, persons=PERSONS, groups=GROUPS)
    names = QUESTIONS if engine != "spark" else ("where", "names", "named twice")  # each takes Spark seconds
    for name in names:
        assert rows_of(log.select(list(COLUMNS), **QUESTIONS[name])) == expected[name], name


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_reduces_the_same_rows_one_actor_in_one_shard(engine, homes, expected, request):
    log = opened(engine, homes, request, persons=PERSONS, groups=GROUPS)
    parts = log.reduce(list(COLUMNS), collect)
    people = [set(part["person_id"]) for part in parts]
    assert sum(map(len, people)) == len(set().union(*people))
    whole = {name: [value for part in parts for value in part[name]] for name in COLUMNS}
    assert rows_of(pd.DataFrame(whole)) == expected["everything"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_counts_the_same_events_and_knows_first_and_last(engine, homes, request):
    reference = ck.EventLog(homes[0])
    log = opened(engine, homes, request)
    assert log.event_names() == reference.event_names()
    assert log.time_range == reference.time_range
    assert "$snapshot" not in log.event_names()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_gives_the_same_exposures(engine, homes, request):
    plan = ck.RolloutPlan(
        "f",
        tuple(ck.Stage.for_share(f"{share}%", share, dwell="8h") for share in (5, 50)),
        starts_at=START,
    )
    one = ck.exposures(ck.EventLog(homes[0], persons=PERSONS), "f", plan=plan)
    two = ck.exposures(opened(engine, homes, request, persons=PERSONS), "f", plan=plan)
    pd.testing.assert_frame_equal(one.people, two.people)
    pd.testing.assert_frame_equal(one.by_stage, two.by_stage)
    assert one.notes == two.notes


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("engine", ["pandas", "parquet", "spark"])
def test_whole_numbers_that_are_ids_come_as_their_text(engine, tmp_path, request):
    frame = pd.DataFrame(
        {
            "event": ["view", "paid", "view"],
            "timestamp": START + pd.to_timedelta([1, 2, 3], unit="h"),
            "person_id": [2**60, -7, 2**60],
        }
    )
    frame.to_parquet(tmp_path / "all.parquet")
    log = opened(engine, (frame, tmp_path), request)
    parts = log.reduce(["event", "person_id"], numbered, events=["view", "paid"])
    in_order = sorted(pair for part in parts for pair in part)
    assert in_order == [("paid", "-7"), ("view", str(2**60)), ("view", str(2**60))]


def numbered(table):
    """At module level, so that Spark's workers can have it."""
    return list(zip(table["event"].to_pylist(), table["person_id"].to_pylist(), strict=True))


@pytest.mark.parametrize("engine", ["pandas", "row groups", "folder", "jsonl", "arrow"])
def test_an_inexact_stream_misses_no_row_that_was_asked_for(engine, homes, request):
    if engine == "row groups":  # read straight, where nothing has to be compared
        log = ck.scan_posthog(homes[1] / "all.parquet", deduplicate=False)
    else:
        log = opened(engine, homes, request)
    question = {"events": ["paid"], "since": START + pd.Timedelta("5h"), "until": START + pd.Timedelta("9h")}
    asked = rows_of(log.select(["event", "timestamp", "person_id"], **question))
    loose = [
        part.to_pandas() for part in log.batches(["event", "timestamp", "person_id"], exact=False, **question)
    ]
    come = rows_of(pd.concat(loose).astype({"event": object, "person_id": object}))
    assert asked
    assert not set(asked) - set(come)
