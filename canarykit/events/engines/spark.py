"""Events in Spark: projection, filters and JSON run there, shuffled by actor, reduced in Python workers.

Workers need canarykit and pyarrow. How many shards there are is Spark's business
(`spark.sql.shuffle.partitions`, adaptive execution).
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from canarykit.display import Note
from canarykit.errors import DataError, NaiveTimestampError
from canarykit.events.engine import Engine, Lookups, empty_table, finish
from canarykit.events.engines.answer import answer
from canarykit.events.fields import PRESENT, Column, Field, Json, Query
from canarykit.events.open import Identities, Opened, check_columns, merges

__all__ = ["SparkEngine", "open_spark"]

_OFFSET = r"([Zz]|\\d:\\d\\d[^+-]*[+-]\\d\\d(:?\\d\\d)?)$"
_PERSON = "canarykit_person"
_KNOWN = "canarykit_known_id"
_WHOLE = ("bigint", "int", "smallint", "tinyint")
_MOST_CODED = 100
_BATCH_ROWS = "spark.sql.execution.arrow.maxRecordsPerBatch"
_BATCH_BYTES = "spark.sql.execution.arrow.maxBytesPerBatch"
_MOST_ROWS = 100_000


@dataclass(frozen=True)
class _Reading:
    """Columns that Spark hands out, and the names of the values it takes out of JSON."""

    query: Query
    columns: tuple[str, ...]
    places: Mapping[Json, str]
    needs_person: bool
    event: str

    @property
    def coded(self) -> tuple[str, ...]:
        """Names whose numbers stand for the events in what Spark hands out; empty if it hands out names."""
        names, other = self.query.events or (), [field for field, _ in self.query.where] + [self.query.actor]
        free = not any(part == Column(self.event) for field in other for part in field.parts)
        return names if free and self.event in self.columns and 0 < len(names) <= _MOST_CODED else ()

    def answer(self, rows: pa.Table) -> pa.Table:
        """The stored fields of the question from what Spark handed out."""
        columns = {name: rows.column(name) for name in rows.column_names}
        if self.coded:
            names = pa.array(self.coded, pa.string())
            codes = columns[self.event].cast(pa.int32()).chunks
            coded = [pa.DictionaryArray.from_arrays(chunk, names, safe=False) for chunk in codes]
            columns[self.event] = pa.chunked_array(coded, pa.dictionary(pa.int32(), pa.string()))
        found = {part: columns[name] for part, name in self.places.items()}
        ids = (_PERSON,) if self.needs_person else ()
        return answer(self.query, columns, ids=ids, complete=True, found=found, zone="UTC")


class SparkEngine(Engine):
    """A Spark data frame; nothing is collected but results.

    Parameters
    ----------
    frame
        The events.
    mapping
        Canonical name to column.
    identities
        Who a distinct id is, or None.
    zone
        Zone of times that carry none.
    """

    name = "spark"

    def __init__(
        self, frame: Any, mapping: Mapping[str, str], identities: Identities, zone: str | None
    ) -> None:
        self.spark_frame = frame
        self.mapping = mapping
        self.zone = zone
        self.types: dict[str, str] = dict(frame.dtypes)
        self.columns: tuple[str, ...] = tuple(self.types)
        self.identities = identities

    def map(self, query: Query, lookups: Lookups, fn: Callable[[pa.Table], Any]) -> list[Any]:
        """`fn` of every actor shard, in Spark's workers."""
        from pyspark.sql.functions import expr

        reading = self._reading(query)
        shards = self._narrow(reading).repartition(expr(self._actor(query.actor, reading)))
        with _cut_by_rows(shards.sparkSession):
            rows = shards.mapInArrow(_Work(reading, lookups, fn), "result binary").collect()
        results = [pickle.loads(bytes(row.result)) for row in rows]
        return results or [fn(finish(empty_table(query.stored()), query, lookups))]

    def batches(self, query: Query) -> Iterator[pa.Table]:
        """Collected: for small answers."""
        reading = self._reading(query)
        yield reading.answer(self._narrow(reading).toArrow())

    def event_names(self) -> dict[str, int]:
        """Counted in Spark."""
        event = _ticked(self.mapping["event"])
        counted = (
            self.spark_frame.where(self._usable()).selectExpr(f"{event} AS name").groupBy("name").count()
        )
        named = {str(row["name"]): int(row["count"]) for row in counted.collect()}
        return dict(sorted(named.items(), key=lambda item: (-item[1], item[0])))

    def time_range(self) -> tuple[Any, Any]:
        """First and last time."""
        time = self._time(self.mapping["timestamp"])
        ends = self.spark_frame.where(self._usable()).selectExpr(
            f"unix_micros(min({time})) AS low", f"unix_micros(max({time})) AS high"
        )
        row = ends.collect()[0]
        if row.low is None:
            return None, None
        first, last = (pd.Timestamp(at, unit="us", tz="UTC").as_unit("us") for at in (row.low, row.high))
        return first, last

    def explain(self, query: Query, dialect: str | None = None) -> str:
        """Spark's plan for the question."""
        if dialect not in {None, "spark"}:
            raise DataError(f"these events are read by Spark, not by {dialect!r}")
        return str(self._narrow(self._reading(query))._jdf.queryExecution().toString())

    def _reading(self, query: Query) -> _Reading:
        stored = query.stored()
        columns: dict[str, None] = {}
        places: dict[Json, str] = {}
        for field in stored:
            for part in field.parts if not field.is_person else ():
                if isinstance(part, Json):
                    places.setdefault(part, f"canarykit_found_{len(places)}")
                else:
                    columns[part.name] = None
        needs_person = query.actor.is_person or any(field.is_person for field in stored)
        return _Reading(query, tuple(columns), places, needs_person, self.mapping["event"])

    def _narrow(self, reading: _Reading) -> Any:
        """The columns and JSON values that a question needs, of the rows it keeps."""
        query = reading.query
        chosen = [self._stored(name, reading) for name in reading.columns]
        chosen += [f"{self._json(part)} AS {_ticked(name)}" for part, name in reading.places.items()]
        frame = self.spark_frame.where(self._usable(query))
        if reading.needs_person:
            ids = self._id_columns()
            whole = self.identities is None and all(map(self._is_whole, ids))
            texts = [_ticked(name) if whole else self._id_text(name) for name in ids]
            distinct = self.mapping["distinct_id"]
            if self.identities is not None and distinct in self.types:
                known = self._identities()
                frame = frame.join(known, frame[_ticked(distinct)] == known[_KNOWN], "left")
                texts.insert(0, _ticked(_PERSON + "_known"))
            chosen.append(f"coalesce({', '.join(texts)}) AS {_ticked(_PERSON)}")
        frame = frame.selectExpr(*chosen) if chosen else frame.selectExpr("1 AS canarykit_one")
        for field, allowed in query.where:
            if condition := self._condition(field, allowed, reading):
                frame = frame.where(condition)
        return frame

    def _identities(self) -> Any:
        from pyspark.sql import functions

        assert self.identities is not None
        known = pa.table({_KNOWN: self.identities[0], _PERSON + "_known": self.identities[1]})
        return functions.broadcast(self.spark_frame.sparkSession.createDataFrame(known))

    def _actor(self, field: Field, reading: _Reading) -> str:
        if field.is_person:
            return _ticked(_PERSON)
        names = [reading.places[part] if isinstance(part, Json) else part.name for part in field.parts]
        return (
            f"coalesce({', '.join([*(f'cast({_ticked(name)} AS string)' for name in names), _literal('')])})"
        )

    def _condition(self, field: Field, allowed: Any, reading: _Reading) -> str | None:
        """A filter, where Spark's text is surely ours; the worker applies every filter once more."""
        names = []
        for part in field.parts if not (field.is_person or field.is_time or field.lookup) else ():
            if isinstance(part, Json):
                names.append(reading.places[part])
            elif self.types[part.name] in {"string", "boolean", "int", "bigint"}:
                names.append(part.name)
            else:
                return None
        if not names:
            return None
        text = f"coalesce({', '.join(f'cast({_ticked(name)} AS string)' for name in names)})"
        if allowed is PRESENT:
            return f"{text} IS NOT NULL"
        listed = ", ".join(_literal(item) for item in allowed if item is not None)
        found = [f"{text} IN ({listed})"] if listed else []
        return " OR ".join([*found, *([f"{text} IS NULL"] if None in allowed else [])])

    def _usable(self, query: Query | None = None) -> str:
        """What no answer contains, the names, and the window."""
        event, time = _ticked(self.mapping["event"]), self._time(self.mapping["timestamp"])
        kept = [f"{event} <> '$snapshot'"]
        if query is not None and query.events is not None:
            names = ", ".join(_literal(name) for name in query.events if name != "$snapshot")
            kept = [f"{event} IN ({names})" if names else "false"]
        kept.append(f"{time} IS NOT NULL")
        for bound, sign in ((query and query.since, ">="), (query and query.until, "<")):
            if bound is not None:
                kept.append(f"{time} {sign} timestamp_micros({bound})")
        ids = [_ticked(name) if self._is_whole(name) else self._id_text(name) for name in self._id_columns()]
        kept.append(f"({' OR '.join(f'{id_} IS NOT NULL' for id_ in ids)})")
        return " AND ".join(kept)

    def _id_columns(self) -> list[str]:
        named = (self.mapping[name] for name in ("person_id", "distinct_id"))
        return [name for name in named if name in self.types]

    def _is_whole(self, column: str) -> bool:
        """Whether a column holds whole numbers, whose text is never empty."""
        return self.types[column] in _WHOLE

    def _id_text(self, column: str) -> str:
        name = _ticked(column)
        if self.types[column] in {"double", "float"}:
            whole = f"WHEN {name} = floor({name}) THEN cast(cast({name} AS bigint) AS string)"
            return f"CASE {whole} ELSE cast({name} AS string) END"
        return f"nullif(cast({name} AS string), '')"

    def _stored(self, column: str, reading: _Reading) -> str:
        name, kind = _ticked(column), self.types[column]
        if column == reading.event and reading.coded:
            cases = " ".join(f"WHEN {_literal(text)} THEN {code}Y" for code, text in enumerate(reading.coded))
            return f"CASE {name} {cases} END AS {name}"
        if column in {self.mapping["timestamp"], "created_at"}:
            return f"{self._time(column)} AS {name}"
        if kind.startswith(("struct", "map", "array", "variant")):
            return f"to_json({name}) AS {name}"
        return name

    def _time(self, column: str) -> str:
        name, kind = _ticked(column), self.types[column]
        if kind == "timestamp":
            return name
        zoned = f"concat(cast({name} AS string), ' ', {_literal(self.zone or 'UTC')})"
        if kind == "string":
            aware = f"CASE WHEN {name} RLIKE '{_OFFSET}' THEN {name} ELSE {zoned} END"
            return f"try_cast({aware} AS timestamp)"
        return f"cast({zoned} AS timestamp)"

    def _json(self, part: Json) -> str:
        name = _ticked(part.column)
        if self.types[part.column].startswith(("struct", "map", "variant")):
            name = f"to_json({name})"
        for key in part.path:
            if "'" in key or "?" in key:  # Spark's path language cannot say these
                name = f"from_json({name}, 'MAP<STRING,STRING>')[{_literal(key)}]"
            else:
                path = _literal(f"$['{key}']")
                name = f"get_json_object({name}, {path})"
        return name


class _Work:
    """What a worker does with one partition: its rows as one table, one result."""

    def __init__(self, reading: _Reading, lookups: Lookups, fn: Callable[[pa.Table], Any]) -> None:
        self.reading, self.lookups, self.fn = reading, lookups, fn

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rows = [batch for batch in batches if batch.num_rows]
        if not rows:
            return
        table = self.reading.answer(pa.Table.from_batches(rows))
        result = self.fn(finish(table, self.reading.query, self.lookups))
        yield pa.RecordBatch.from_pydict({"result": pa.array([pickle.dumps(result)], pa.binary())})


@contextmanager
def _cut_by_rows(session: Any) -> Iterator[None]:
    """Batches that go to workers end by their number of rows alone, in jobs of this thread.

    Spark would also sum up the bytes of the batch at every row, which takes longer than to write the row.
    What the session was set to stays in force.
    """
    context = getattr(session, "sparkContext", None)  # Spark Connect has none
    rows = int(session.conf.get(_BATCH_ROWS))
    if context is None or not 0 < rows <= _MOST_ROWS or context.getLocalProperty(_BATCH_BYTES) is not None:
        yield
        return
    context.setLocalProperty(_BATCH_BYTES, str(2**31 - 1))
    try:
        yield
    finally:
        context.setLocalProperty(_BATCH_BYTES, None)


def open_spark(frame: Any, mapping: Mapping[str, str], identities: Identities, tz: Any) -> Opened:
    """Check columns and times, read merges where nothing else says who is who."""
    types = dict(frame.dtypes)
    check_columns(tuple(types), mapping)
    column = mapping["timestamp"]
    hint = "pass tz= (for example tz='UTC') to say which zone they are in"
    if types[column] in {"timestamp_ntz", "date"} and tz is None:
        raise NaiveTimestampError(f"column {column!r} holds times without a time zone; {hint}")
    if types[column] not in {"timestamp", "timestamp_ntz", "date", "string"}:
        raise DataError(
            f"column {column!r} holds {types[column]}, not times; convert it, with its unit, before"
        )
    if types[column] == "string" and tz is None:
        name = _ticked(column)
        condition = f"NOT ({name} RLIKE '{_OFFSET}') AND try_cast({name} AS timestamp) IS NOT NULL"
        if naive := frame.where(condition).select(name).limit(1).collect():
            raise NaiveTimestampError(
                f"column {column!r} holds times without a time zone, for example {naive[0][0]!r}; {hint}"
            )
    engine = SparkEngine(frame, mapping, identities, None if tz is None else str(tz))
    notes: list[Note] = []
    if identities is None and mapping["person_id"] not in types:
        engine.identities, notes = merges(engine, mapping)
        text = "the events carry no person ids: the distinct id stands in where nothing says who it is"
        notes.append(Note("distinct_id_used", text))
    return Opened(engine, tuple(notes))


def _ticked(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
