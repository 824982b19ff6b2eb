"""Small helpers around DuckDB: a quiet connection in UTC, quoted names, results as Arrow tables."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

__all__ = ["connect", "quoted", "to_arrow"]


def connect(*, memory_limit: str | None = None) -> duckdb.DuckDBPyConnection:
    """A connection of its own, with UTC as its zone."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    with suppress(duckdb.InvalidInputException):  # in Jupyter without ipywidgets there is no bar to hide
        connection.execute("SET enable_progress_bar = false")
    if memory_limit is not None:
        connection.execute(f"SET memory_limit = {quoted(memory_limit, chr(39))}")
    return connection


def quoted(name: str, mark: str = '"') -> str:
    """A name (or, with a single quote as the mark, a text) as SQL.

    Examples
    --------
    >>> print(quoted("$feature/new"), quoted("it's", "'"))
    "$feature/new" 'it''s'
    """
    return f"{mark}{name.replace(mark, mark * 2)}{mark}"


def to_arrow(relation: Any) -> pa.Table:
    """All rows of a relation as one Arrow table."""
    read = getattr(relation, "to_arrow_table", None) or relation.fetch_arrow_table
    return read()
