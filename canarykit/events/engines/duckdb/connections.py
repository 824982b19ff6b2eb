"""Whom DuckDB questions are put to: connections of our own, one for each thread, or the user's relation."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from canarykit.errors import DataError
from canarykit.events.sql import connect, to_arrow
from canarykit.parallel import as_interrupt

_BATCH_ROWS = 1_000_000


class Connections:
    """A connection for each thread and process, on which `tables` are known by their names.

    It can be pickled: whoever unpickles it opens connections of their own.
    """

    def __init__(self, tables: Mapping[str, Any]) -> None:
        self.tables: dict[str, Any] = dict(tables)
        self._threads = threading.local()

    def add(self, name: str, table: Any) -> None:
        """Make a table known to every question from now on."""
        self.tables = {**self.tables, name: table}

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of an answer."""
        with as_interrupt():
            return list(self._connection().sql(sql).fetchall())

    def arrow(self, sql: str) -> pa.Table:
        """An answer as one table."""
        return to_arrow(self._connection().sql(sql))

    def stream(self, sql: str) -> Iterator[pa.Table]:
        """An answer a million rows at a time; other questions may come between."""
        with as_interrupt(), self._new() as connection:
            relation = connection.sql(sql)
            read = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
            for batch in read(_BATCH_ROWS):
                yield pa.Table.from_batches([batch])

    def _connection(self) -> Any:
        key = (os.getpid(), len(self.tables))
        if getattr(self._threads, "key", None) != key:
            self._threads.connection, self._threads.key = self._new(), key
        return self._threads.connection

    def _new(self) -> Any:
        connection = connect()
        for name, table in self.tables.items():
            connection.register(name, table)
        return connection

    def __getstate__(self) -> dict[str, Any]:
        return {"tables": self.tables}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["tables"])  # type: ignore[misc]


class UserRelation:
    """A relation of the user's, asked on the user's own connection, one question at a time.

    Questions know it as `canarykit_events`.
    """

    def __init__(self, relation: Any) -> None:
        self.relation = relation
        self.tables: dict[str, Any] = {}
        self._process = os.getpid()
        self._one_at_a_time = threading.RLock()

    def add(self, name: str, table: Any) -> None:
        """Make a table known to every question from now on."""
        self.tables[name] = table

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of an answer."""
        with self._one_at_a_time, as_interrupt():
            return list(self._ask(sql).fetchall())

    def arrow(self, sql: str) -> pa.Table:
        """An answer as one table."""
        with self._one_at_a_time:
            return to_arrow(self._ask(sql))

    def stream(self, sql: str) -> Iterator[pa.Table]:
        """The whole answer: nothing is left open on the user's connection."""
        yield self.arrow(sql)

    def _ask(self, sql: str) -> Any:
        if os.getpid() != self._process:
            raise DataError(
                "the events are a DuckDB relation of another process; DuckDB does not survive a fork: open "
                "the log in this process"
            )
        # DuckDB finds tables by these names, in this frame.
        canarykit_identities = self.tables.get("canarykit_identities")
        canarykit_twice = self.tables.get("canarykit_twice")
        answer = self.relation.query("canarykit_events", sql)
        self._kept = (canarykit_identities, canarykit_twice)
        return answer

    def __getstate__(self) -> dict[str, Any]:
        raise DataError(
            "a log of a DuckDB relation cannot be pickled: the relation belongs to its connection; use "
            "scan_posthog() on files, or read the events into memory"
        )
