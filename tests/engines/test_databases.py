"""Databases behind ibis: a PostgreSQL server on loopback with JSON columns, ClickHouse in this process."""

import json

import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from tests.engines.postgres_server import NoServerError, serving

ibis = pytest.importorskip("ibis")
pytestmark = pytest.mark.filterwarnings("ignore:The 'future.infer_string' option")  # it asks pandas so
KEYS = ["$feature/f", "plan", "amount"]
VALUES = [
    True, False, None, "true", "null", "", "a\\b", 'q"q', "ü", "x" * 300, 0, -0.0, 7, 1.0, 1.50,
    12345678901234567890, 1e22, "NaN", [1, {"plan": "deep"}], {"plan": "deeper", "$feature/f": 1},
    "test", "control",
]  # fmt: skip


def random_events(rows, seed=3):
    """Events whose documents lack keys, hold them at another depth, or hold any kind of value."""
    rng = np.random.default_rng(seed)
    documents = [
        {key: VALUES[rng.integers(len(VALUES))] for key in KEYS if rng.random() < 0.8}
        | ({"nested": {"plan": "inner"}} if rng.random() < 0.3 else {})
        for _ in range(rows)
    ]
    return pd.DataFrame(
        {
            "event": rng.choice(["paid", "seen"], rows),
            "timestamp": pd.date_range("2026-09-07", periods=rows, freq="min", tz="UTC"),
            "distinct_id": [f"person {n}" for n in rng.integers(9, size=rows)],
            "properties": [json.dumps(document) for document in documents],
        }
    )


def values_of(log, **narrow):
    rows = log.select(["timestamp", "person_id", *KEYS], events=["paid"], **narrow)
    return rows.sort_values("timestamp").astype(object).where(rows.notna(), None).to_dict("records")


@pytest.fixture(scope="module")
def postgres():
    """A server with a folder of its own, on a free port of this machine; gone with the tests."""
    psycopg = pytest.importorskip("psycopg")
    try:
        with serving() as where:
            with psycopg.connect(**where, dbname="postgres") as connection:
                connection.execute(
                    "CREATE TABLE events (event text, timestamp timestamptz, distinct_id text, "
                    "properties jsonb, as_json json, as_text text)"
                )
                rows = [(*row, row[-1], row[-1]) for row in random_events(400).itertuples(index=False)]
                with connection.cursor() as cursor:
                    cursor.executemany("INSERT INTO events VALUES (%s, %s, %s, %s, %s, %s)", rows)
            backend = ibis.postgres.connect(**where, database="postgres")
            yield backend
            backend.disconnect()
    except NoServerError as problem:
        pytest.skip(str(problem))


@pytest.mark.slow
@pytest.mark.parametrize("column", ["properties", "as_json", "as_text"])
def test_postgresql_gives_what_the_same_documents_give_in_memory(postgres, column):
    table = postgres.table("events")
    stored = table.select("event", "timestamp", "distinct_id", properties=table[column])
    documents = stored.mutate(properties=stored.properties.cast("string")).to_pandas()
    there, here = ck.EventLog(stored), ck.EventLog(documents)
    assert values_of(there) == values_of(here)
    for where in ({"plan": "test"}, {"plan": ["true", None]}, {"$feature/f": "true", "plan": "control"}):
        assert values_of(there, where=where) == values_of(here, where=where)


@pytest.mark.slow
def test_postgresql_filters_and_takes_keys_out_of_documents_itself(postgres):
    table = postgres.table("events")
    log = ck.EventLog(table.drop("as_json", "as_text"))
    sql = log.explain(["person_id", "plan"], events=["paid"], where={"$feature/f": "test"})
    assert "JSONB_EXTRACT_PATH_TEXT" in sql
    plan = "\n".join(row[0] for row in postgres.raw_sql(f"EXPLAIN {sql}").fetchall())
    assert "'test'::text" in plan
    assert "'paid'::text" in plan
    rows = postgres.sql(sql).to_pandas()
    plain = rows["canarykit_odd_0"].isna()
    assert 0 < plain.sum() < 400 / 4
    assert set(rows.loc[plain, "canarykit_found_1"]) == {"test"}


def test_clickhouse_gives_what_the_same_documents_give_in_memory(tmp_path):
    chdb = pytest.importorskip("chdb")
    documents = random_events(400)
    documents.to_parquet(tmp_path / "events.parquet")
    kinds = {
        "event": "string",
        "timestamp": "timestamp('UTC')",
        "distinct_id": "string",
        "properties": "string",
    }
    unbound = ck.EventLog(ibis.table(kinds, name="events"))
    sql = unbound.explain(["timestamp", *KEYS], events=["paid"], dialect="clickhouse")
    sql = sql.replace('"events"', f"file('{tmp_path}/events.parquet', Parquet)")
    answer = chdb.query(sql, "ArrowTable").to_pandas().sort_values("timestamp", ignore_index=True)
    here = pd.DataFrame(values_of(ck.EventLog(documents)))
    plain = answer["canarykit_odd_0"].isna()
    assert 20 < plain.sum() < len(answer)
    for number, key in enumerate(KEYS):
        is_there = answer.loc[plain, f"canarykit_found_{number}"]
        assert is_there.astype(object).where(is_there.notna(), None).tolist() == here.loc[plain, key].tolist()
