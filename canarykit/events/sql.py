"""Small helpers around DuckDB: a quiet connection in UTC, quoted names, results as Arrow tables."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from canarykit.lazy import imported
from canarykit.parallel import as_interrupt

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa


def connect() -> duckdb.DuckDBPyConnection:
    """A connection of its own, with UTC as its zone; what is registered on it, it alone sees."""
    imported("duckdb")
    import duckdb

    connection = _database(os.getpid()).cursor()
    connection.execute("SET TimeZone = 'UTC'")
    with suppress(duckdb.InvalidInputException):  # in Jupyter without ipywidgets there is no bar to hide
        connection.execute("SET enable_progress_bar = false")
    return connection


@contextmanager
def asking() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection for some questions, closed after them; one that is interrupted says so."""
    with as_interrupt(), connect() as connection:
        yield connection


def answer(statement: str, parameters: Sequence[Any] = (), *, fetch: str = "fetchall", **tables: Any) -> Any:
    """What a statement says of Arrow tables, each named by its keyword, in the form that `fetch` names.

    Examples
    --------
    >>> import pyarrow as pa
    >>> answer("SELECT sum(n) FROM counts WHERE n > ?", [1], counts=pa.table({"n": [1, 2, 3]}))
    [(5,)]
    """
    with asking() as connection:
        for name, table in tables.items():
            connection.register(name, table)
        return getattr(connection.execute(statement, list(parameters)), fetch)()


@cache
def _database(process: int) -> duckdb.DuckDBPyConnection:
    """One database in memory for each process: opening one takes longer than a small answer."""
    import duckdb

    return duckdb.connect()


def quoted(name: str, mark: str = '"') -> str:
    """A name (or, with a single quote as the mark, a text) as SQL.

    Examples
    --------
    >>> print(quoted("$feature/new"), quoted("it's", "'"))
    "$feature/new" 'it''s'
    """
    return f"{mark}{name.replace(mark, mark * 2)}{mark}"


def glob_quoted(path: str) -> str:
    """The path of one file as SQL, where DuckDB would take signs in its name for a pattern.

    Examples
    --------
    >>> print(glob_quoted("events[1].parquet"))
    'events[[]1].parquet'
    """
    return quoted("".join(f"[{sign}]" if sign in "*?[" else sign for sign in path), "'")


def to_arrow(relation: Any) -> pa.Table:
    """All rows of a relation as one Arrow table."""
    read = getattr(relation, "to_arrow_table", None) or relation.fetch_arrow_table
    with as_interrupt():
        return read()
