"""The funnel of `benchmarks.funnel` on Spark `local[2]`, warm: our scan in its workers against Spark SQL.

Warm means that both ran a few times before any clock starts: Java compiles its code over the first runs.
"""

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import canarykit as ck
from benchmarks.funnel import Files, levels, make, our_counts, ours, window_sql
from benchmarks.timing import Contender, compare

ROWS = 10_000_000
WARMUPS = 4


def session() -> Any:
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    settings = {
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "8",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": "4g",
        "spark.log.level": "ERROR",
    }
    builder = SparkSession.builder.master("local[2]").appName("canarykit benchmark")
    for key, value in settings.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def spark_sql(source: str) -> str:
    """The window query in Spark's dialect."""
    query = window_sql(source, "unix_micros(timestamp)").replace('"', "`")
    return query.replace("arg_min(f, t)", "min_by(f, t)").replace("GROUP BY ALL", "GROUP BY f, level")


def run(rows: int) -> Iterator[dict[str, Any]]:
    """One line: ratio of Spark SQL's time to ours."""
    warnings.simplefilter("ignore")
    spark = session()
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Files(Path(folder)).write(make(rows), "events")
            events = spark.read.parquet(str(path))
            events.createOrReplaceTempView("events")
            log = ck.EventLog(events)
            mine = Contender(lambda: ours(log), answer=our_counts)
            peer = Contender(lambda: spark.sql(spark_sql("events")).collect(), answer=levels)
            name = "funnel, Spark local[2], integer ids"
            peers = {"Spark SQL, window functions": peer}
            yield from compare(name, rows, mine, peers, same=lambda a, b: a == b, warmups=WARMUPS)
    finally:
        spark.stop()
