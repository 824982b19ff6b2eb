"""The times of a DuckDB source, looked at once before anything is asked: zones, numbers, clock changes."""

from __future__ import annotations

from typing import Any

from canarykit.events.clock import (
    check_time_texts,
    clock_changes,
    naive_error,
    not_times_error,
    odd_hour_error,
)
from canarykit.events.engines.duckdb.columns import NOTHING, Columns, carries_zone, is_time_type
from canarykit.events.sql import quoted

__all__ = ["check_times"]


def check_times(source: str, connection: Any, column: str, columns: Columns) -> tuple[tuple[int, int], ...]:
    """Refuse times that cannot be told; the local times that the zone skips or repeats, where it matters."""
    kind, zone = columns.types[column], columns.zone
    if not is_time_type(kind):
        name = quoted(column)
        example = connection.rows(f"SELECT {name} FROM {source} WHERE {name} IS NOT NULL LIMIT 1")
        if not example:
            return ()
        raise not_times_error(column, kind, example[0][0])
    if kind == NOTHING or carries_zone(kind):
        return ()
    if kind != "VARCHAR" and zone is None:
        if connection.rows(f"SELECT 1 FROM {source} WHERE {quoted(column)} IS NOT NULL LIMIT 1"):
            raise naive_error(column)
        return ()
    local = columns.local_time(column)
    if kind == "VARCHAR":
        text = f"trim({quoted(column)}, E' \\t\\r\\n\\f')"
        filled, readable, naive, example, unread = connection.rows(
            f"SELECT count(*) FILTER ({text} <> ''), count({columns.time(column)}), count({local}), "
            f"min({text}) FILTER ({local} IS NOT NULL), min({text}) FILTER ({text} <> '') FROM {source}"
        )[0]
        check_time_texts(
            column, zone, filled=filled, aware=readable - naive, naive=naive,
            example=None if example is None else f"for example {example!r}", unread=unread,
        )  # fmt: skip
    if zone in {None, "UTC"}:
        return ()
    first, last = connection.rows(f"SELECT min({local}), max({local}) FROM {source}")[0]
    if first is None:
        return ()
    changes = tuple(clock_changes(str(zone), first, last))
    inside = Columns(columns.types, zone, changes).in_changes(local)
    odd = connection.rows(f"SELECT {local} FROM {source} WHERE {inside} LIMIT 1")
    if odd:
        raise odd_hour_error(column, str(zone), f"for example {odd[0][0]}")
    return changes
