"""Spark hands rows to its workers in batches of any size, keeps what every engine keeps, and its settings."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import canarykit as ck

pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet:FutureWarning")
START = pd.Timestamp("2026-09-07T00:00Z")
ROWS = "spark.sql.execution.arrow.maxRecordsPerBatch"
BYTES = "spark.sql.execution.arrow.maxBytesPerBatch"
COLUMNS = ("event", "timestamp", "person_id", "distinct_id", "plan", "seats")


def events(ids):
    """Events whose ids, texts and numbers are there, missing and empty by turns."""
    n = 48
    return pa.table(
        {
            "event": pa.array(["view", "paid", "$snapshot", None][i % 7 % 4] for i in range(n)),
            "timestamp": pa.array(
                [None if i % 11 == 5 else START + pd.Timedelta(i, "h") for i in range(n)],
                pa.timestamp("us", "UTC"),
            ),
            "person_id": ids(n),
            "distinct_id": pa.array([["d1", "", None][i % 3] for i in range(n)]),
            "plan": pa.array([["pro", "", None, "é"][i % 4] for i in range(n)]),
            "seats": pa.array([None if i % 5 == 0 else i * 2**40 for i in range(n)], pa.int64()),
        }
    )


IDS = {
    "whole numbers": lambda n: pa.array([None if i % 4 == 1 else i % 5 - 1 for i in range(n)], pa.int64()),
    "texts": lambda n: pa.array([["a", "", None, "b", "7"][i % 5] for i in range(n)]),
    "fractions": lambda n: pa.array([None if i % 4 == 1 else i % 5 / 2 for i in range(n)], pa.float64()),
}


def rows(table):
    """At module level, so that Spark's workers can have it."""
    return [tuple(str(value) for value in row.values()) for row in table.to_pylist()]


def asked(log, **question):
    return sorted(row for part in log.reduce(COLUMNS, rows, **question) for row in part)


@pytest.mark.parametrize("kind", IDS)
def test_spark_keeps_the_rows_with_a_name_a_time_and_some_id(kind, spark, tmp_path):
    table = events(IDS[kind])
    pq.write_table(table, tmp_path / "all.parquet")
    log, here = ck.EventLog(spark.createDataFrame(table)), ck.scan_posthog(tmp_path / "all.parquet")
    assert asked(log) == asked(here)
    named = ["paid", "$snapshot"]
    assert asked(log, events=named) == asked(here, events=named)
    assert asked(log, events=named)


def test_the_size_of_batches_changes_no_answer(spark):
    log = ck.EventLog(spark.createDataFrame(events(IDS["whole numbers"])))
    question = {"events": ["view", "paid"], "since": START + pd.Timedelta("2h")}
    whole = asked(log, **question)
    usual = spark.conf.get(ROWS)
    try:
        for size in ("7", "-1"):
            spark.conf.set(ROWS, size)
            assert asked(log, **question) == whole
    finally:
        spark.conf.set(ROWS, usual)


def n_batches(table):
    """At module level, so that Spark's workers can have it."""
    return table.column("event").num_chunks


def test_batches_are_cut_by_rows_unless_the_session_says_by_how_many_bytes(spark):
    n = 4000
    table = pa.table(
        {
            "event": np.repeat("view", n),
            "timestamp": pa.array([START] * n, pa.timestamp("us", "UTC")),
            "person_id": np.repeat("one", n),
        }
    )
    log = ck.EventLog(spark.createDataFrame(table))

    def most():
        return max(log.reduce(["event", "person_id"], n_batches))

    usual = most()
    spark.conf.set(BYTES, "4000")
    try:
        assert most() > usual + 2
    finally:
        spark.conf.unset(BYTES)
    assert spark.sparkContext.getLocalProperty(BYTES) is None


def test_no_event_in_spark_is_one_empty_shard(spark):
    log = ck.EventLog(spark.createDataFrame(events(IDS["texts"])))
    assert log.reduce(["event", "person_id"], rows, events=["nobody did this"]) == [[]]
    assert log.reduce(["event", "person_id"], rows, events=["$snapshot"]) == [[]]


def test_a_column_whose_name_has_a_dot_or_a_tick_is_counted_by_in_spark(spark):
    frame = pd.DataFrame(
        {
            "event": ["open", "pay", "open"],
            "timestamp": pd.to_datetime(
                ["2026-09-07 09:00", "2026-09-07 10:00", "2026-09-07 09:30"], utc=True
            ),
            "distinct_id": ["ada", "ada", "bob"],
            "plan.`name": ["pro", "pro", "free"],
        }
    )
    funnel = ck.funnel_by_flag(spark.createDataFrame(frame), ["open", "pay"], breakdown="plan.`name")
    assert funnel.counts == {"pro": [1, 1], "free": [1, 0]}
