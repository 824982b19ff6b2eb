"""One funnel, every engine: pandas, Parquet, polars, ibis and Spark give the same answer, to the digit."""

import json
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import canarykit as ck
from canarykit.funnels.api import funnel_query
from canarykit.funnels.engine.runs import ActorSelection
from canarykit.funnels.packed import stream
from canarykit.funnels.question.specs import TrendSpec
from canarykit.funnels.run import run_funnel, run_trend

pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet:FutureWarning")
ENGINES = ("parquet", "polars", "ibis", "spark")
DATES = {"date_from": "2026-09-08", "date_to": "2026-09-24"}
QUESTIONS = {
    "first touch": {"flag": "new", **DATES},
    "exposure": {"flag": "new", "attribution": "exposure"},
    "strict": {"order": "strict", "breakdown": "plan"},
    "unordered": {"order": "unordered", "flag": "new", "attribution": "all_events"},
    "exclusion": {"exclusions": [{"event": "refund", "from_step": 1}], "flag": "new", "optional": ["cart"]},
    "person filter": {
        "filters": [{"property": "email", "operator": "icontains", "value": "1@", "type": "person"}]
    },
    "group": {"aggregate_by": "group:0", "breakdown": "group0.tier"},
    "session": {"aggregate_by": "session", "days_of_week": [1, 2, 3, 4, 5], "timezone": "America/New_York"},
    "two values": {"breakdown": ["plan", "$feature/new"], "limit": 3, "tie_width_seconds": 0.05},
}


def made(n=3000, seed=3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    who = rng.integers(120, size=n)
    names = np.array(["open", "cart", "pay", "refund", "other", "$feature_flag_called"])
    event = names[rng.choice(6, size=n, p=[0.3, 0.2, 0.2, 0.05, 0.15, 0.1])]
    variant = np.where(rng.random(n) < 0.05, who % 2 == 0, who % 2 == 1)
    properties = [
        json.dumps(
            {
                "plan": ["pro", "free", ""][w % 3],
                "$session_id": f"s{w}-{rng.integers(4)}",
                "$feature/new": bool(v),
                **({"$groups": {"organization": f"org{w % 7}"}} if w % 5 else {}),
                **({"$feature_flag": "new", "$feature_flag_response": bool(v)} if e[0] == "$" else {}),
            }
        )
        for w, v, e in zip(who.tolist(), variant.tolist(), event.tolist(), strict=True)
    ]
    second = 86_400 * rng.integers(20, size=n) + rng.integers(40, size=n)
    return pd.DataFrame(
        {
            "uuid": [f"u{i:05d}" for i in range(n)],
            "event": event,
            "distinct_id": [f"d{w}" for w in who],
            "person_id": [f"p{w}" for w in who],
            "properties": properties,
            "timestamp": pd.Timestamp("2026-09-07T00:00Z") + pd.to_timedelta(second, unit="s"),
        }
    )


PERSONS = pd.DataFrame(
    {
        "distinct_id": [f"d{i}" for i in range(120)],
        "person_id": [f"p{i}" for i in range(120)],
        "properties": [json.dumps({"email": f"{i}@acme.io"}) for i in range(120)],
    }
)
GROUPS = pd.DataFrame(
    {
        "group_type_index": [0] * 7,
        "group_key": [f"org{i}" for i in range(7)],
        "properties": [json.dumps({"tier": "gold" if i < 3 else "tin"}) for i in range(7)],
    }
)


@pytest.fixture(scope="module")
def memory():
    return ck.EventLog(made(), persons=PERSONS, groups=GROUPS)


@pytest.fixture(scope="module", params=ENGINES)
def log(request, tmp_path_factory):
    frame, options = made(), {"persons": PERSONS, "groups": GROUPS}
    if request.param == "parquet":
        folder = tmp_path_factory.mktemp("export")
        for number, part in enumerate(np.array_split(np.arange(len(frame)), 3)):
            frame.iloc[part].to_parquet(folder / f"{number}.parquet", row_group_size=300)
        return ck.scan_posthog(folder, **options)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    if request.param == "polars":
        polars = pytest.importorskip("polars")

        return ck.EventLog(polars.from_arrow(table).lazy(), **options)
    if request.param == "ibis":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ibis = pytest.importorskip("ibis")

            return ck.EventLog(ibis.duckdb.connect().create_table("events", table), **options)
    return ck.EventLog(request.getfixturevalue("spark").createDataFrame(table), **options)


def entries(run):
    """Every entry of a run, in an order of its own."""
    rows = zip(
        [run.labels[code] for code in run.value], run.reached.tolist(), run.bits.tolist(), run.times.tolist(),
        strict=True,
    )  # fmt: skip
    return sorted(map(str, rows))


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_engine_gives_the_same_funnel(name, log, memory):
    settings = {"within": "6h", **QUESTIONS[name]}
    here, there = (ck.funnel_by_flag(source, ["open", "cart", "pay"], **settings) for source in (memory, log))
    assert here.rows
    assert there.rows == here.rows
    assert there.total_median_seconds == here.total_median_seconds


def test_every_engine_gives_the_same_entries_people_and_trend(log, memory):
    query = funnel_query(["open", "cart", "pay"], within="6h", flag="new", **DATES)
    assert entries(run_funnel(log, query)) == entries(run_funnel(memory, query))
    selection = ActorSelection(step=2)
    here, there = (run_funnel(source, query, select=selection) for source in (memory, log))
    assert sorted(there.actor_ids.to_pylist()) == sorted(here.actor_ids.to_pylist())
    matched = [set(run.matched.column("uuid").to_pylist()) for run in (here, there)]
    assert matched[0] == matched[1]
    trends = [run_trend(source, query, TrendSpec(interval="week")) for source in (memory, log)]
    for part in ("periods", "entered", "reached", "incomplete"):
        np.testing.assert_array_equal(getattr(trends[0], part), getattr(trends[1], part))


@pytest.mark.slow  # compiles the packed form
def test_streamed_batches_of_every_engine_give_the_same_funnel(log, memory, monkeypatch):
    query = funnel_query(["open", "cart", "pay"], within="6h", flag="new", **DATES)
    small = entries(run_funnel(memory, query))
    monkeypatch.setattr(stream, "PLAIN_LIMIT", 50)
    assert entries(run_funnel(log, query)) == small
    assert entries(run_funnel(memory, query)) == small
