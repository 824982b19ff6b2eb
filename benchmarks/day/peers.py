"""The same numbers by hand in pandas and in Polars, for the questions that take a few lines."""

import json
from collections.abc import Callable
from typing import Any

import pandas as pd

from benchmarks.day.export import FLAG, Export
from benchmarks.day.steps import Numbers

__all__ = ["BARE", "PEERS", "bare_read", "bare_walk"]

BARE = ["event", "timestamp", "distinct_id", "person_id", "properties"]
CALLED = "$feature_flag_called"
KEYS = [
    ("$feature_flag",),
    ("$feature_flag_response",),
    ("$group_0",),
    ("$groups", "organization"),
    ("$browser",),
    ("$os",),
    ("$geoip_country_code",),
]
"""Keys that the verdict asks of the events' properties."""


def bare_read(export: Export) -> int:
    """Every question's columns read once, row group by row group, and nothing done with them."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(export.events)
    groups = range(file.metadata.num_row_groups)
    return sum(file.read_row_group(group, columns=BARE).num_rows for group in groups)


def bare_walk(export: Export) -> int:
    """What no first verdict can do without: columns read, keys found, ids hashed. It answers nothing."""
    import numpy as np
    import pyarrow.parquet as pq

    from canarykit.events.documents import scan_documents
    from canarykit.hashing import hash_ids

    file = pq.ParquetFile(export.events)
    walked = 0
    for group in range(file.metadata.num_row_groups):
        table = file.read_row_group(group, columns=[*BARE, "uuid", "created_at"])
        counted = np.ones(table.num_rows, bool)
        scan_documents(table.column("properties"), KEYS, counted, of=file.metadata.num_rows)
        hash_ids(table.column("uuid").combine_chunks(), "sha1")
        walked += table.num_rows
    return walked


def pandas_names(export: Export) -> Numbers:
    counts = pd.read_parquet(export.events, columns=["event"])["event"].value_counts()
    return {str(name): int(count) for name, count in counts.items()}


def pandas_exposures(export: Export) -> Numbers:
    columns = ["timestamp", "person_id", "properties"]
    calls = pd.read_parquet(export.events, columns=columns, filters=[("event", "==", CALLED)])
    parsed = [json.loads(text) for text in calls["properties"]]
    calls["flag"] = [properties.get("$feature_flag") for properties in parsed]
    calls["variant"] = [str(properties.get("$feature_flag_response")).lower() for properties in parsed]
    mine = calls[calls["flag"] == FLAG].sort_values("timestamp").drop_duplicates("person_id")
    return {str(name): int(count) for name, count in mine["variant"].value_counts().items()}


def polars_names(export: Export) -> Numbers:
    import polars as pl

    counted = pl.scan_parquet(export.events).group_by("event").len().collect()
    return dict(counted.rows())


def polars_exposures(export: Export) -> Numbers:
    import polars as pl

    def key(name: str) -> pl.Expr:
        return pl.col("properties").str.json_path_match(f"$['{name}']")

    first = (
        pl.scan_parquet(export.events)
        .filter((pl.col("event") == CALLED) & (key("$feature_flag") == FLAG))
        .group_by("person_id")
        .agg(key("$feature_flag_response").sort_by("timestamp").first().alias("variant"))
        .group_by("variant")
        .len()
    )
    return dict(first.collect().rows())


PEERS: dict[str, dict[str, Callable[[Export], Any]]] = {
    "plain pandas": {"names": pandas_names, "exposures": pandas_exposures},
    "Polars": {"names": polars_names, "exposures": polars_exposures},
}
