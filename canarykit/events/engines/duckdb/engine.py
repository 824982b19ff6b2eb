"""Files and relations through DuckDB: projection, filters and JSON are part of the scan.

A question becomes one SELECT. The inner part reads the columns it needs and takes all values out of a
JSON column in one pass; the outer part says who an event belongs to and applies the filters. What DuckDB
would read in its own way comes as it is stored, and is read here by the rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from canarykit.display import Note
from canarykit.errors import DataError
from canarykit.events.documents import SUSPECT, is_unreadable, keys_of
from canarykit.events.engine import Identities, Opened, check_columns, merges, stand_ins
from canarykit.events.engines.duckdb.columns import NOTHING, Columns, carries_zone
from canarykit.events.engines.duckdb.connections import Connections, UserRelation
from canarykit.events.engines.duckdb.plan import Plan
from canarykit.events.engines.in_sql import SqlEngine
from canarykit.events.engines.repeats import ORDER, repeats_note
from canarykit.events.fields import Query
from canarykit.events.sql import quoted
from canarykit.events.text import check_float_ids
from canarykit.events.unusable import UNREADABLE

_ROW_BYTES = {"timestamp": 8, "created_at": 8, "event": 8, "person_id": 48, "distinct_id": 48, "uuid": 48}


class DuckDBEngine(SqlEngine):
    """Events behind a DuckDB table expression: `source` is what stands after FROM.

    `mapping` is canonical name to column, `columns` are those of the source as SQL, `identities` who a
    distinct id is. `deduplicate` removes duplicates by uuid; `shard_bytes` is about what the rows of one
    actor shard may take; `empty_rows` of the source, without any value, stand for nothing.
    """

    name = "duckdb"

    def __init__(
        self,
        source: str,
        connection: Connections | UserRelation,
        mapping: Mapping[str, str],
        columns: Columns,
        identities: Identities,
        *,
        deduplicate: bool = False,
        shard_bytes: float = 2e9,
        empty_rows: int = 0,
    ) -> None:
        self.source = source
        self.connection = connection
        self.mapping = mapping
        self.sql_columns = columns
        self.types: Mapping[str, str] = columns.types
        self.columns: tuple[str, ...] = tuple(columns.types)
        self.zone: str | None = columns.zone
        self.deduplicate = deduplicate
        self.shard_bytes = shard_bytes
        self.empty_rows = empty_rows
        self.identities: Identities = None
        self.identify(identities)

    def identify(self, identities: Identities) -> None:
        """Say who each distinct id is."""
        self.identities = identities
        if identities is not None:
            table = pa.table({"distinct_id": identities[0], "person_id": identities[1]})
            self.connection.add("canarykit_identities", table)

    def shards(self, query: Query) -> Iterator[pa.Table]:
        """One table, or several by the hash of the actor where one would be too large."""
        count = self._shard_count(query)
        for shard in range(count):
            sql = self.sql(query, (shard, count) if count > 1 else None)
            yield self._finished(self.connection.arrow(sql), query)

    def batches(self, query: Query) -> Iterator[pa.Table]:
        """Streamed, a million rows at a time; other questions may come between."""
        for table in self.connection.stream(self.sql(query)):
            yield self._finished(table, query)

    def event_names(self) -> dict[str, int]:
        """Counted where the events are."""
        rows = self.connection.rows(
            f"SELECT {self.event()} AS name, count(*) AS n FROM {self._once} WHERE {self._usable()} "
            "GROUP BY ALL ORDER BY n DESC, name"
        )
        return {name: int(n) for name, n in rows}

    def time_range(self) -> tuple[Any, Any]:
        """First and last time, from the files' statistics where they have them."""
        time = self.sql_columns.time(self.mapping["timestamp"])
        low, high = self.connection.rows(
            f"SELECT epoch_us(min({time})), epoch_us(max({time})) FROM {self._once} WHERE {self._usable()}"
        )[0]
        if low is None:
            return None, None
        first, last = (pd.Timestamp(at, unit="us", tz="UTC").as_unit("us") for at in (low, high))
        return first, last

    def event_properties(self) -> tuple[str, ...]:
        """Keys in the JSON of all events."""
        name = self.mapping["properties"]
        document = self.sql_columns.document(name) if name in self.types else None
        if document is None:
            kind = self.types.get(name, "")
            return tuple(_struct_keys(kind)) if kind.startswith("STRUCT") else ()
        return keys_of(self.connection.rows, self.source, document, condition=self._usable())

    def dropped(self) -> list[Note]:
        """Count what every answer leaves out or guesses: one more pass, over the names, ids and JSON."""
        notes = [repeats_note(self._repeats)] if self._repeats else []
        notes += self.lost()
        guesses = self._guesses()
        if guesses:
            listed = ", ".join(f"count(*) FILTER ({condition})" for _, condition in guesses.values())
            row = self.connection.rows(f"SELECT {listed} FROM {self._once} WHERE {self._usable()}")[0]
            pairs = zip(guesses.items(), row, strict=True)
            notes += [Note(code, text, int(count)) for (code, (text, _)), count in pairs if count]
        if broken := self._unreadable():
            notes.append(Note("bad_json", UNREADABLE, broken))
        return notes

    def explain(self, query: Query, dialect: str | None = None) -> str:
        """The SQL that DuckDB runs."""
        if dialect not in {None, "duckdb"}:
            raise DataError(f"these events are read by DuckDB, not by {dialect!r}")
        return self.sql(query)

    def sql(self, query: Query, shard: tuple[int, int] | None = None) -> str:
        """One SELECT for a question, or for one of its actor shards."""
        plan = Plan(self, query)
        narrow = f"SELECT {', '.join(plan.inner) or '1'} FROM {self._once} WHERE {self._usable(query)}"
        kept = plan.filters()
        if shard is not None:
            actor = self._actor(query, plan)
            kept.append(f"hash(coalesce({actor}::VARCHAR, '')) % {shard[1]} = {shard[0]}")
        joined = ""
        if self.joins:
            distinct = self.sql_columns.id_text(self.mapping["distinct_id"], "events.")
            joined = f" LEFT JOIN canarykit_identities AS who ON who.distinct_id = {distinct}"
        where = f" WHERE {' AND '.join(kept)}" if kept else ""
        return (
            f"SELECT {', '.join(plan.outer) or '1 AS canarykit_one'} FROM ({narrow}) AS events{joined}{where}"
        )

    def _finished(self, table: pa.Table, query: Query) -> pa.Table:
        """The contract's columns: texts, and times in UTC microseconds; all filters applied."""
        return Plan(self, query).finish(table)

    @property
    def joins(self) -> bool:
        """Whether the people of distinct ids are looked up."""
        return self.identities is not None and self.mapping["distinct_id"] in self.types

    @property
    def _once(self) -> str:
        """The source, every event once."""
        if not self._repeats:
            return self.source
        uuid = self.sql_columns.id_text(self.mapping["uuid"])
        twice = f"coalesce({uuid} IN (SELECT uuid FROM canarykit_twice), false)"
        order = [self.sql_columns.time(self.mapping["timestamp"])]
        for name in ORDER[1:]:
            column = self.mapping.get(name, name)
            if column in self.types:
                order.append(f"coalesce({self.sql_columns.text(column) or quoted(column) + '::VARCHAR'}, '')")
        return (
            f"(SELECT * FROM {self.source} WHERE NOT {twice} UNION ALL SELECT * FROM (SELECT * FROM "
            f"{self.source} WHERE {twice} AND {self._usable()} QUALIFY row_number() OVER ("
            f"PARTITION BY {uuid} ORDER BY {', '.join(order)}) = 1))"
        )

    @cached_property
    def _repeats(self) -> int:
        """How many rows repeat an event; their uuids are looked up once and known to every question."""
        if not self.deduplicate or self.mapping["uuid"] not in self.types or not self._may_repeat():
            return 0
        uuid = self.sql_columns.id_text(self.mapping["uuid"])
        repeated = self.connection.arrow(
            f"SELECT {uuid} AS uuid, count(*) AS n FROM {self.source} WHERE {self._usable()} "
            f"AND {uuid} IS NOT NULL GROUP BY 1 HAVING count(*) > 1"
        )
        if repeated.num_rows:
            self.connection.add("canarykit_twice", repeated.select(["uuid"]))
        return int((pc.sum(repeated.column("n")).as_py() or 0) - repeated.num_rows)

    def _may_repeat(self) -> bool:
        """Whether to look for repeats at all."""
        return True

    def _unreadable(self) -> int:
        """How many events have properties that hold no object."""
        name = self.mapping["properties"]
        document = self.sql_columns.document(name) if self.types.get(name) in {"VARCHAR", "JSON"} else None
        if document is None:
            return 0
        suspect = SUSPECT.format(document)
        documents = self.connection.arrow(
            f"SELECT suspect, count(*) AS n FROM (SELECT {suspect} AS suspect FROM {self._once} WHERE "
            f"{self._usable()}) WHERE suspect IS NOT NULL GROUP BY suspect"
        )
        lost = is_unreadable(documents.column("suspect"))
        return int(pc.sum(documents.column("n").filter(lost)).as_py() or 0)

    def _guesses(self) -> dict[str, tuple[str, str]]:
        """What stood in for something else, with the condition that says so of a row."""
        time, person = self.mapping["timestamp"], self.mapping["person_id"]
        guesses = {}
        if not carries_zone(self.types[time]) and self.types[time] != NOTHING:
            text = f"times without a zone were read as {self.zone or 'UTC'}"
            guesses["naive_times"] = (text, f"{self.sql_columns.local_time(time)} IS NOT NULL")
        if self.identities is None and person in self.types:
            text = "events without a person id: the distinct id is used instead"
            guesses["distinct_id_used"] = (text, f"{self.sql_columns.id_text(person)} IS NULL")
        return guesses

    def _shard_count(self, query: Query) -> int:
        size = row_bytes(query)
        rows = self.connection.rows(f"SELECT count(*) FROM {self.source}")[0][0]
        if rows * size > self.shard_bytes:
            counted = f"SELECT count(*) FROM {self._once} WHERE {self._usable(query)}"
            rows = self.connection.rows(counted)[0][0]
        return max(1, math.ceil(rows * size / self.shard_bytes))

    def event(self, prefix: str = "") -> str:
        """The name of an event."""
        column = self.mapping["event"]
        return self.sql_columns.text(column, prefix) or f"{prefix}{quoted(column)}::VARCHAR"

    def first_row(self, expressions: Sequence[str], condition: str = "true") -> Any:
        """What the source has first; None where it has nothing."""
        sql = f"SELECT {', '.join(expressions)} FROM {self.source} WHERE {condition} LIMIT 1"
        return next(iter(self.connection.rows(sql)), None)

    def _usable(self, query: Query | None = None) -> str:
        """Which rows are usable: an event name, a time and any id; with a query, those it may ask for."""
        ids = ", ".join(self.sql_columns.id_text(name) for name in self.id_columns())
        kept = self._conditions(query, lambda name: quoted(name, "'"), "make_timestamptz")
        return " AND ".join([*kept, f"coalesce({ids}) IS NOT NULL"])

    def is_complete(self, column: str) -> bool:
        """Whether a column of ids surely misses no value, so that its numbers may be handed out."""
        return self.id_columns() == (column,) and self.types[column].endswith("INT")

    def person(self, prefix: str = "") -> str:
        """Who an event belongs to; behind a prefix, with what is known of distinct ids."""
        texts = [self.sql_columns.id_text(name, prefix) for name in self.id_columns()]
        if self.joins and prefix:
            texts.insert(0, "who.person_id")
        return f"coalesce({', '.join(texts)})"

    def _actor(self, query: Query, plan: Plan) -> str:
        if query.actor.is_person:
            return self.person("events.")
        places = [plan.place(part) for part in query.actor.parts]
        return f"coalesce({', '.join(places)})" if places else "''"


def open_relation(
    relation: Any, mapping: Mapping[str, str], identities: Identities, tz: str | None
) -> Opened:
    """A DuckDB relation of the user's, asked on the user's connection."""
    connection = UserRelation(relation)
    return open_duckdb(
        "canarykit_events", connection, mapping, identities, tz=tz, says_utc=False, deduplicate=True
    )


def open_duckdb(
    source: str,
    connection: Connections | UserRelation,
    mapping: Mapping[str, str],
    identities: Identities,
    *,
    tz: str | None,
    says_utc: bool | None,
    notes: tuple[Note, ...] = (),
    engine: type[DuckDBEngine] = DuckDBEngine,
    **options: Any,
) -> Opened:
    """Check columns and times, read merges where nothing else says who is who."""
    types = {row[0]: str(row[1]) for row in connection.rows(f"DESCRIBE SELECT * FROM {source}")}
    check_columns(tuple(types), mapping, folds_case=True)
    if says_utc is None:
        says_utc = {"uuid", "event", "distinct_id", "properties", "timestamp"} <= set(types)
    columns = Columns(types, tz if tz is not None else ("UTC" if says_utc else None))
    reads_merges = mapping["person_id"] not in types
    opened = engine(source, connection, mapping, columns, None if reads_merges else identities, **options)
    opened.check_times()
    for name in ("person_id", "distinct_id"):
        if types.get(mapping[name]) in {"DOUBLE", "FLOAT"}:
            column = quoted(mapping[name])
            largest = opened.first_row([f"max(abs({column})) FILTER (isfinite({column}))"])
            check_float_ids(largest[0], mapping[name], is_short=types[mapping[name]] == "FLOAT")
    all_notes = list(notes)
    if reads_merges:
        merged, more = merges(opened, mapping, identities)
        opened.identify(merged)
        all_notes += more if identities is not None else [*more, stand_ins()]
    return Opened(opened, tuple(all_notes))


def row_bytes(query: Query) -> int:
    """About what a row of an answer takes in memory."""
    return sum(_ROW_BYTES.get(field.name, 24) for field in query.stored())


def _struct_keys(kind: str) -> list[str]:
    """Names of the fields of a struct type, as DuckDB spells it."""
    import duckdb

    return [name for name, _ in duckdb.dtype(kind).children]
