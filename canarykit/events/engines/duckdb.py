"""Files and relations through DuckDB: projection, filters and JSON are part of the scan.

A question becomes one SELECT. The inner part reads the columns it needs and takes all values out of a
JSON column in one pass; the outer part says who an event belongs to and applies the remaining filters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from canarykit.display import Note
from canarykit.errors import DataError, NaiveTimestampError
from canarykit.events.engine import Engine
from canarykit.events.fields import PRESENT, Column, Field, Json, Query
from canarykit.events.open import Identities, Opened, check_columns, merges
from canarykit.events.sql import quoted, to_arrow
from canarykit.events.text import as_text, pointer

__all__ = ["DuckDBEngine", "open_duckdb", "open_relation"]

_OFFSET = r"'([Zz]|\d:\d\d[^+-]*[+-]\d\d(:?\d\d)?)$'"
_ROW_BYTES = {"timestamp": 8, "created_at": 8, "event": 8, "person_id": 48, "distinct_id": 48, "uuid": 48}
_FLOATS = ("DOUBLE", "FLOAT", "REAL")
_NESTED = ("STRUCT", "MAP", "UNION")
_NOTHING = '"NULL"'  # the type of a column without any value


class DuckDBEngine(Engine):
    """Events behind a DuckDB table expression.

    Parameters
    ----------
    source
        What stands after FROM.
    connection
        Connection that knows the source.
    mapping
        Canonical name to column.
    identities
        Who a distinct id is, or None.
    zone
        Zone of times that carry none; None if they all carry one.
    deduplicate
        Whether duplicates by uuid are removed.
    shard_bytes
        About what the rows of one actor shard may take.
    """

    name = "duckdb"

    def __init__(
        self,
        source: str,
        connection: Any,
        mapping: Mapping[str, str],
        identities: Identities,
        *,
        zone: str | None = None,
        deduplicate: bool = False,
        shard_bytes: float = 2e9,
    ) -> None:
        self.source = source
        self.connection = connection
        self.mapping = mapping
        self.zone = zone
        self.deduplicate = deduplicate
        self.shard_bytes = shard_bytes
        described = connection.sql(f"DESCRIBE SELECT * FROM {source}").fetchall()
        self.types: dict[str, str] = {row[0]: str(row[1]) for row in described}
        self.columns: tuple[str, ...] = tuple(self.types)
        self.identities: Identities = None
        self.identify(identities)

    def identify(self, identities: Identities) -> None:
        """Say who each distinct id is."""
        self.identities = identities
        _register(self.connection, identities)

    def shards(self, query: Query) -> Iterator[pa.Table]:
        """One table, or several by the hash of the actor where one would be too large."""
        count = self._shard_count(query)
        for shard in range(count):
            yield self._table(self.sql(query, (shard, count) if count > 1 else None))

    def batches(self, query: Query) -> Iterator[pa.Table]:
        """Streamed, a million rows at a time, on a cursor of its own: other questions may come between."""
        if isinstance(self.connection, _Relation):  # the user's connection: leave nothing open on it
            yield self._table(self.sql(query))
            return
        with self.connection.cursor() as cursor:
            cursor.execute("SET TimeZone = 'UTC'")
            _register(cursor, self.identities)
            relation = cursor.sql(self.sql(query))
            read = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
            for batch in read(1_000_000):
                yield _as_contract(pa.Table.from_batches([batch]))

    def event_names(self) -> dict[str, int]:
        """Counted where the events are."""
        event = self._text(self.mapping["event"])
        rows = self.connection.sql(
            f"SELECT {event} AS name, count(*) AS n FROM {self.source} WHERE {self._usable()} "
            "GROUP BY ALL ORDER BY n DESC, name"
        ).fetchall()
        return {name: int(n) for name, n in rows}

    def time_range(self) -> tuple[Any, Any]:
        """First and last time, from the files' statistics where they have them."""
        time = self._time(self.mapping["timestamp"])
        rows = self.connection.sql(
            f"SELECT epoch_us(min({time})), epoch_us(max({time})) FROM {self.source} WHERE {self._usable()}"
        ).fetchall()
        low, high = rows[0]
        if low is None:
            return None, None
        first, last = (pd.Timestamp(at, unit="us", tz="UTC").as_unit("us") for at in (low, high))
        return first, last

    def dropped(self) -> list[Note]:
        """Count what every answer leaves out or guesses: one pass over the names, ids, times and JSON."""
        event, time = self._text(self.mapping["event"]), self._time(self.mapping["timestamp"])
        dropping = {
            "no_event_name": ("events without a name are dropped", f"{event} IS NULL"),
            "snapshots": ("$snapshot events are dropped: replay data", f"{event} = '$snapshot'"),
            "no_time": ("events without a time that can be read are dropped", f"{time} IS NULL"),
            "no_id": ("events without any id are dropped", f"{self._person({})} IS NULL"),
        }
        counts, usable = {}, "true"
        for code, (text, condition) in dropping.items():
            counts[code] = (text, f"count(*) FILTER ({usable} AND {condition})")
            usable += f" AND NOT ({condition})"
        for code, (text, condition) in self._guesses().items():
            counts[code] = (text, f"count(*) FILTER ({usable} AND {condition})")
        if self._removes_duplicates():
            again = "count(uuid) - count(DISTINCT uuid)"
            counts["duplicates"] = ("events that came twice (same uuid) are removed", again)
        listed = ", ".join(count for _, count in counts.values())
        found = self.connection.sql(f"SELECT {listed} FROM {self.source} AS events").fetchall()[0]
        pairs = zip(counts.items(), found, strict=True)
        return [Note(code, text, int(n)) for (code, (text, _)), n in pairs if n]

    def _guesses(self) -> dict[str, tuple[str, str]]:
        """What is unknown or stood in for, with the condition that says so of a row."""
        properties, time = self.mapping["properties"], self.mapping["timestamp"]
        guesses = {}
        if self.types.get(properties) in {"VARCHAR", "JSON"}:
            text = "events whose properties are no JSON: all unknown"
            guesses["bad_json"] = (text, f"NOT json_valid({quoted(properties)}::VARCHAR)")
        if not _carries_zone(self.types[time]) and self.types[time] != _NOTHING:
            aware = f"regexp_matches(trim({quoted(time)}), {_OFFSET})"
            naive = f"NOT {aware}" if self.types[time] == "VARCHAR" else "true"
            guesses["naive_times"] = (f"times without a zone are read as {self.zone or 'UTC'}", naive)
        if self.identities is None and self.mapping["person_id"] in self.types:
            text = "events without a person id: the distinct id stands in"
            guesses["distinct_id_used"] = (text, f"{self._text(self.mapping['person_id'])} IS NULL")
        return guesses

    def explain(self, query: Query, dialect: str | None = None) -> str:
        """The SQL that DuckDB runs."""
        if dialect not in {None, "duckdb"}:
            raise DataError(f"these events are read by DuckDB, not by {dialect!r}")
        return self.sql(query)

    def sql(self, query: Query, shard: tuple[int, int] | None = None) -> str:
        """One SELECT for a question, or for one of its actor shards."""
        stored = query.stored()
        read: dict[str, None] = {}
        paths: dict[str, list[Json]] = {}
        for field in stored:
            for part in field.parts:
                if isinstance(part, Json):
                    parts = paths.setdefault(part.column, [])
                    parts += [] if part in parts else [part]
                else:
                    read[part.name] = None
        if self._removes_duplicates():
            read["uuid"] = None
        if self.identities is not None and self.mapping["distinct_id"] in self.types:
            read[self.mapping["distinct_id"]] = None
        inner = [quoted(name) for name in read]
        places: dict[Json, str] = {}
        for number, (column, parts) in enumerate(paths.items()):
            listed = ", ".join(quoted(pointer(part.path), "'") for part in parts)
            document = quoted(column)
            if self.types[column].startswith(_NESTED):
                document = f"to_json({document})"
            elif self.types[column] not in {"VARCHAR", "JSON"}:
                document = f"{document}::VARCHAR"
            inner.append(f"TRY(json_extract_string({document}, [{listed}])) AS found_{number}")
            places |= {part: f"found_{number}[{at + 1}]" for at, part in enumerate(parts)}
        narrow = f"SELECT {', '.join(inner) or '1'} FROM {self.source} WHERE {self._usable(query)}"
        answers = {field.name: self._expression(field, query, places) for field in stored}
        wanted = [f"{text} AS {quoted(name)}" for name, text in answers.items()]
        kept = [_matches(answers[field.name], allowed) for field, allowed in query.where if not field.lookup]
        if shard is not None:
            actor = self._expression(query.actor, query, places)
            kept.append(f"hash(coalesce({actor}::VARCHAR, '')) % {shard[1]} = {shard[0]}")
        joined = ""
        if self.identities is not None and self.mapping["distinct_id"] in self.types:
            distinct = self._text(self.mapping["distinct_id"], "events.")
            joined = f" LEFT JOIN canarykit_identities AS who ON who.distinct_id = {distinct}"
        where = f" WHERE {' AND '.join(kept)}" if kept else ""
        once = ""
        if self._removes_duplicates():
            once = " QUALIFY events.uuid IS NULL OR row_number() OVER (PARTITION BY events.uuid) = 1"
        return f"SELECT {', '.join(wanted)} FROM ({narrow}) AS events{joined}{where}{once}"

    def _table(self, sql: str) -> pa.Table:
        return _as_contract(to_arrow(self.connection.sql(sql)))

    def _removes_duplicates(self) -> bool:
        return self.deduplicate and "uuid" in self.types

    def _shard_count(self, query: Query) -> int:
        row_bytes = sum(_ROW_BYTES.get(field.name, 24) for field in query.stored())
        rows = self.connection.sql(f"SELECT count(*) FROM {self.source}").fetchall()[0][0]
        if rows * row_bytes > self.shard_bytes:
            counted = f"SELECT count(*) FROM {self.source} WHERE {self._usable(query)}"
            rows = self.connection.sql(counted).fetchall()[0][0]
        return max(1, math.ceil(rows * row_bytes / self.shard_bytes))

    def _usable(self, query: Query | None = None) -> str:
        """Conditions on plain columns: what no answer contains, the names, and the window."""
        event, time = self._text(self.mapping["event"]), self._time(self.mapping["timestamp"])
        if query is None or query.events is None:
            kept = [f"{event} <> '$snapshot'"]  # also drops missing names
        else:
            names = [quoted(name, "'") for name in query.events if name != "$snapshot"]
            kept = [f"{event} IN ({', '.join(names)})" if names else "false"]
        ids = [self._text(name) for name in self._id_columns()]
        kept += [f"{time} IS NOT NULL", f"coalesce({', '.join(ids)}) IS NOT NULL"]
        for bound, sign in ((query and query.since, ">="), (query and query.until, "<")):
            if bound is not None:
                kept.append(f"{time} {sign} make_timestamptz({bound})")
        return " AND ".join(kept)

    def _id_columns(self) -> list[str]:
        return [
            self.mapping[name] for name in ("person_id", "distinct_id") if self.mapping[name] in self.types
        ]

    def _expression(self, field: Field, query: Query, places: Mapping[Json, str]) -> str:
        if field.is_time:
            return self._time(field.parts[0].name, "events.") if field.parts else "NULL::TIMESTAMPTZ"  # type: ignore[union-attr]
        if field.is_person:
            native = self.identities is None and field.name in query.native
            return f"events.{quoted(self._id_columns()[0])}" if native else self._person(places, "events.")
        if field.name == "event" and query.events:
            names = ", ".join(quoted(name, "'") for name in query.events)
            return f"{self._text(self.mapping['event'], 'events.')}::ENUM({names})"
        if field.name in query.native and len(field.parts) == 1 and isinstance(field.parts[0], Column):
            return f"events.{quoted(field.parts[0].name)}"
        texts = [
            places[part] if isinstance(part, Json) else self._text(part.name, "events.")
            for part in field.parts
        ]
        return f"coalesce({', '.join(texts)})" if len(texts) > 1 else (texts[0] if texts else "NULL::VARCHAR")

    def _person(self, places: Mapping[Json, str], prefix: str = "") -> str:
        texts = [self._text(name, prefix) for name in self._id_columns()]
        if self.identities is not None and self.mapping["distinct_id"] in self.types and prefix:
            texts.insert(0, "who.person_id")
        return f"coalesce({', '.join(texts)})"

    def _text(self, column: str, prefix: str = "") -> str:
        """A column in the text form that every engine hands out."""
        name, kind = prefix + quoted(column), self.types[column]
        is_id = column in self._id_columns()
        if kind == "VARCHAR":
            return f"nullif({name}, '')" if is_id else name
        if kind == "JSON":
            return f"json_extract_string({name}, '$')"
        if kind in _FLOATS:
            whole = f"{name} = trunc({name}) AND abs({name}) < 1e15"
            return (
                f"CASE WHEN isnan({name}) THEN NULL WHEN {whole} THEN {name}::BIGINT::VARCHAR "
                f"ELSE {name}::VARCHAR END"
            )
        if kind.startswith(_NESTED) or kind.endswith("]"):
            return f"to_json({name})::VARCHAR"
        return f"{name}::VARCHAR"

    def _time(self, column: str, prefix: str = "") -> str:
        name, kind = prefix + quoted(column), self.types[column]
        if kind == _NOTHING:
            return "NULL::TIMESTAMPTZ"
        if _carries_zone(kind):
            return name if kind == "TIMESTAMP WITH TIME ZONE" else f"{name}::TIMESTAMPTZ"
        zone = quoted(self.zone or "UTC", "'")
        if kind == "VARCHAR":
            aware = f"regexp_matches(trim({name}), {_OFFSET})"
            local = f"TRY_CAST({name} AS TIMESTAMP) AT TIME ZONE {zone}"
            return f"CASE WHEN {aware} THEN TRY_CAST({name} AS TIMESTAMPTZ) ELSE {local} END"
        return f"({name}::TIMESTAMP AT TIME ZONE {zone})"


def _register(connection: Any, identities: Identities) -> None:
    if identities is not None:
        known = pa.table({"distinct_id": identities[0], "person_id": identities[1]})
        connection.register("canarykit_identities", known)


class _Relation:
    """A relation of the user's where the engine expects a connection: questions run on the user's own."""

    def __init__(self, relation: Any) -> None:
        self.relation = relation
        self.identities: pa.Table | None = None

    def register(self, name: str, table: pa.Table) -> None:
        self.identities = table

    def sql(self, text: str) -> Any:
        canarykit_identities = self.identities  # DuckDB finds it by this name, in this frame
        found = self.relation.query("canarykit_events", text)
        del canarykit_identities
        return found


def open_relation(relation: Any, mapping: Mapping[str, str], identities: Identities, tz: Any) -> Opened:
    """A DuckDB relation of the user's, asked on the user's connection."""
    source = _Relation(relation)
    return open_duckdb("canarykit_events", source, mapping, identities, tz=tz, says_utc=False)


def open_duckdb(
    source: str,
    connection: Any,
    mapping: Mapping[str, str],
    identities: Identities,
    *,
    tz: Any,
    says_utc: bool | None,
    deduplicate: bool = False,
    shard_bytes: float = 2e9,
    engine: type[DuckDBEngine] = DuckDBEngine,
    **options: Any,
) -> Opened:
    """Check columns and times, read merges where nothing else says who is who."""
    types = {row[0]: str(row[1]) for row in connection.sql(f"DESCRIBE SELECT * FROM {source}").fetchall()}
    check_columns(tuple(types), mapping)
    if says_utc is None:
        says_utc = {"uuid", "event", "distinct_id", "properties", "timestamp"} <= set(types)
    zone = str(tz) if tz is not None else ("UTC" if says_utc else None)
    _check_times(source, connection, mapping["timestamp"], types[mapping["timestamp"]], zone)
    opened = engine(
        source, connection, mapping, identities,
        zone=zone, deduplicate=deduplicate, shard_bytes=shard_bytes, **options,
    )  # fmt: skip
    notes: list[Note] = []
    if identities is None and mapping["person_id"] not in types:
        found, notes = merges(opened, mapping)
        opened.identify(found)
        text = "the events carry no person ids: the distinct id stands in where nothing says who it is"
        notes.append(Note("distinct_id_used", text))
    return Opened(opened, tuple(notes))


def _check_times(source: str, connection: Any, column: str, kind: str, zone: str | None) -> None:
    hint = "pass tz= (for example tz='UTC') to say which zone they are in"
    if kind.startswith(("TIMESTAMP", "DATE")) and not _carries_zone(kind) and zone is None:
        raise NaiveTimestampError(f"column {column!r} holds times without a time zone; {hint}")
    if kind == "VARCHAR" and zone is None:
        name = quoted(column)
        naive = connection.sql(
            f"SELECT {name} FROM {source} WHERE NOT regexp_matches(trim({name}), {_OFFSET}) "
            f"AND TRY_CAST({name} AS TIMESTAMP) IS NOT NULL LIMIT 1"
        ).fetchall()
        if naive:
            raise NaiveTimestampError(
                f"column {column!r} holds times without a time zone, for example {naive[0][0]!r}; {hint}"
            )
    if not kind.startswith(("TIMESTAMP", "DATE", "VARCHAR", _NOTHING)):
        raise DataError(f"column {column!r} holds {kind}, not times; convert it, with its unit, before")


def _carries_zone(kind: str) -> bool:
    return kind == "TIMESTAMP WITH TIME ZONE" or kind.startswith("TIMESTAMPTZ")  # nanoseconds have their own


def _matches(text: str, allowed: Any) -> str:
    if allowed is PRESENT:
        return f"{text} IS NOT NULL"
    texts = [quoted(item, "'") for item in allowed if item is not None]
    found = [f"{text} IN ({', '.join(texts)})"] if texts else []
    return f"({' OR '.join([*found, *([f'{text} IS NULL'] if None in allowed else [])])})"


def _as_contract(table: pa.Table) -> pa.Table:
    """Arrow types of the contract: plain strings, and times in UTC microseconds."""
    columns: Sequence[pa.ChunkedArray] = [
        column.cast(pa.timestamp("us", "UTC"))
        if pa.types.is_timestamp(column.type)
        else column
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        else as_text(column)
        for column in table.columns
    ]
    return pa.table(dict(zip(table.column_names, columns, strict=True)))
