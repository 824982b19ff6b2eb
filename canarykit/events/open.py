"""Which engine a table gets: by what it is, never by which attributes it claims to have."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import pandas as pd

from canarykit.errors import DataError
from canarykit.events.clock import zone_name
from canarykit.events.engine import Identities, Opened, Source
from canarykit.events.engines.pandas import open_rows
from canarykit.events.engines.rows import Rows, rows_of

_IN_MEMORY = ("pyarrow", "arro3", "datafusion", "deltalake", "pyiceberg")


def open_engine(source: Any, mapping: Mapping[str, str], identities: Identities, *, tz: Any) -> Opened:
    """The engine of a frame, relation or table."""
    zone = zone_name(tz)
    if isinstance(source, pd.DataFrame | Rows):
        return open_rows(rows_of(source), mapping, identities, zone)
    if isinstance(source, Source):
        return source.open_engine(mapping, identities, zone)
    if isinstance(source, str | PathLike):
        raise DataError(
            f"EventLog takes a table, not the path {str(source)!r}; use read_posthog({str(source)!r}), or "
            "scan_posthog() to leave large files on disk"
        )
    home = type(source).__module__.partition(".")[0]
    if home in {"duckdb", "_duckdb"}:
        from canarykit.events.engines.duckdb import open_relation

        return open_relation(source, mapping, identities, zone)
    if home == "pyspark":
        from canarykit.events.engines.spark import open_spark

        return open_spark(source, mapping, identities, zone)
    if home in _IN_MEMORY or (home == "polars" and type(source).__name__ == "DataFrame"):
        dataset = _dataset(source)
        if dataset is not None:
            from canarykit.events.engines.parquet import open_dataset

            return open_dataset(dataset, mapping, identities, zone)
        return open_rows(rows_of(source), mapping, identities, zone)
    from canarykit.events.engines.narwhals import open_narwhals

    return open_narwhals(source, mapping, identities, zone)


def to_frame(source: Any) -> pd.DataFrame:
    """Anything that becomes a pandas frame."""
    return rows_of(source).frame


def _dataset(source: Any) -> Any:
    """The pyarrow dataset that a table on disk is, which is read only as far as a question asks; or None."""
    home = type(source).__module__.partition(".")[0]
    if home == "deltalake" and hasattr(source, "to_pyarrow_dataset"):
        return source.to_pyarrow_dataset()
    if type(source).__module__.startswith("pyarrow._dataset"):
        return source
    return None
