"""What engines share that ask in SQL: the look at a source's times, and which rows are events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from canarykit.display import Note
from canarykit.events.clock import (
    check_time_texts,
    clock_changes,
    naive_error,
    not_times_error,
    odd_hour_error,
)
from canarykit.events.engine import Engine
from canarykit.events.fields import Query
from canarykit.events.unusable import dropping_notes


class SqlEngine(Engine):
    """An engine whose columns are known to SQL."""

    types: Mapping[str, str]
    sql_columns: Any
    empty_rows: int = 0

    def lost(self) -> list[Note]:
        """Rows without a name, a time or an id: one pass over these columns."""
        return dropping_notes(self._lost)

    @cached_property
    def _lost(self) -> dict[str, int]:
        ids = ", ".join(self.sql_columns.id_text(name) for name in self.id_columns())
        dropping = {
            "no_event_name": f"{self.event()} IS NULL",
            "snapshots": f"{self.event()} = '$snapshot'",
            "no_time": f"{self.sql_columns.time(self.mapping['timestamp'])} IS NULL",
            "no_id": f"coalesce({ids}) IS NULL",
        }
        counts, usable = [], "true"
        for condition in dropping.values():
            counts.append(f"count(CASE WHEN {usable} AND {condition} THEN 1 END)")
            usable += f" AND NOT ({condition})"
        lost = {code: int(n) for code, n in zip(dropping, self.first_row(counts), strict=True)}
        return lost | {"no_event_name": lost["no_event_name"] - self.empty_rows}

    def first_row(self, expressions: Sequence[str], condition: str = "true") -> Any:
        """Expressions in the first row that a condition holds for; None where there is none."""
        raise TypeError(f"{type(self).__name__} must define first_row()")

    def event(self) -> str:
        """The name of an event as text."""
        raise TypeError(f"{type(self).__name__} must define event()")

    def check_times(self) -> None:
        """Refuse times that cannot be told; learn which local times the zone skips or repeats."""
        column, columns = self.mapping["timestamp"], self.sql_columns
        name, kind, zone = columns.name(column), columns.time_kind(column), columns.zone
        if kind == "moment":
            return
        if kind == "other" or (kind == "local" and zone is None):
            example = self.first_row([name], f"{name} IS NOT NULL")
            if not example:
                return
            if kind == "local":
                raise naive_error(column)
            raise not_times_error(column, columns.types[column], example[0])
        local = columns.local_time(column)
        if kind == "text":
            text = columns.time_text(column)
            filled, readable, naive, shown, unread = self.first_row([
                f"count(CASE WHEN {text} <> '' THEN 1 END)",
                f"count({columns.time(column)})", f"count({local})",
                f"min(CASE WHEN {local} IS NOT NULL THEN {text} END)",
                f"min(CASE WHEN {text} <> '' THEN {text} END)",
            ])  # fmt: skip
            check_time_texts(
                column, zone, filled=filled, aware=readable - naive, naive=naive,
                example=None if shown is None else f"for example {shown!r}", unread=unread,
            )  # fmt: skip
        if zone in {None, "UTC"}:
            return
        first, last = self.first_row([f"min({local})", f"max({local})"])
        if first is None:
            return
        self.sql_columns = replace(columns, changes=tuple(clock_changes(str(zone), first, last)))
        if odd := self.first_row([local], self.sql_columns.in_changes(local)):
            raise odd_hour_error(column, str(zone), f"for example {odd[0]}")

    def _conditions(self, query: Query | None, literal: Callable[[str], str], moment: str) -> list[str]:
        """Conditions of a row to be an event with a time, and one of the query's names and times."""
        event, time = self.event(), self.sql_columns.time(self.mapping["timestamp"])
        kept = [f"{event} <> '$snapshot'"]  # also drops missing names
        if query is not None and query.events is not None:
            names = ", ".join(literal(name) for name in query.events if name != "$snapshot")
            kept = [f"{event} IN ({names})" if names else "false"]
        kept.append(f"{time} IS NOT NULL")
        for bound, sign in ((query and query.since, ">="), (query and query.until, "<")):
            if bound is not None:
                kept.append(f"{time} {sign} {moment}({bound})")
        return kept
