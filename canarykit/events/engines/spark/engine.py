"""Events in Spark: projection, filters and JSON run there, shuffled by actor, reduced in Python workers.

Workers need canarykit and pyarrow. How many shards there are is Spark's business
(`spark.sql.shuffle.partitions`, adaptive execution).
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from canarykit.display import Note
from canarykit.errors import DataError
from canarykit.events.documents import LONG_NUMBER, is_unreadable, patched
from canarykit.events.engine import (
    Identities,
    Lookups,
    Opened,
    check_columns,
    empty_table,
    finish,
    merges,
    stand_ins,
)
from canarykit.events.engines.answer import IDS, answer
from canarykit.events.engines.in_sql import SqlEngine
from canarykit.events.engines.repeats import ORDER, repeats_note
from canarykit.events.engines.spark.columns import (
    Columns,
    json_value,
    literal,
    odd_document,
    ticked,
)
from canarykit.events.fields import PRESENT, Column, Field, Json, Query
from canarykit.events.text import check_float_ids
from canarykit.events.unusable import UNREADABLE

_PERSON = "canarykit_person"
_KNOWN = "canarykit_known_id"
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
    odd: Mapping[str, str]
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
        extracted = {part: columns[name] for part, name in self.places.items()}
        for column, name in self.odd.items():
            parts = [part for part in self.places if part.column == column]
            texts = patched([extracted[part] for part in parts], columns[name], [part.path for part in parts])
            extracted |= zip(parts, texts, strict=True)
        ids = (_PERSON,) if self.needs_person else ()
        return answer(self.query, columns, ids=ids, complete=True, extracted=extracted, zone="UTC")


class SparkEngine(SqlEngine):
    """A Spark data frame; nothing is collected but results.

    `mapping` is canonical name to column, `zone` that of times that carry none.
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
        self.sql_columns: Columns = Columns(self.types, zone)

    def map(self, query: Query, lookups: Lookups, fn: Callable[[pa.Table], Any]) -> list[Any]:
        """`fn` of every actor shard, in Spark's workers."""
        from pyspark.sql.functions import expr

        reading = self._reading(query)
        shards = self._narrow(reading).repartition(expr(self._actor(query.actor, reading)))
        work = _Work(reading, tuple(shards.columns), lookups, fn)
        plain = shards.toDF(*(f"canarykit_{at}" for at in range(len(shards.columns))))  # no dot, no tick
        with _cut_by_rows(shards.sparkSession):
            rows = plain.mapInArrow(work, "result binary").collect()
        results = [pickle.loads(bytes(row.result)) for row in rows]
        return results or [fn(finish(empty_table(query.stored()), query, lookups))]

    def batches(self, query: Query) -> Iterator[pa.Table]:
        """Collected: for small answers."""
        reading = self._reading(query)
        yield reading.answer(self._narrow(reading).toArrow())

    def event_names(self) -> dict[str, int]:
        """Counted in Spark."""
        counted = (
            self._once.where(self._usable()).selectExpr(f"{self.event()} AS name").groupBy("name").count()
        )
        named = {str(row["name"]): int(row["count"]) for row in counted.collect()}
        return dict(sorted(named.items(), key=lambda item: (-item[1], item[0])))

    def time_range(self) -> tuple[Any, Any]:
        """First and last time."""
        time = self.sql_columns.time(self.mapping["timestamp"])
        ends = self.spark_frame.where(self._usable()).selectExpr(
            f"unix_micros(min({time})) AS low", f"unix_micros(max({time})) AS high"
        )
        row = ends.collect()[0]
        if row.low is None:
            return None, None
        first, last = (pd.Timestamp(at, unit="us", tz="UTC").as_unit("us") for at in (row.low, row.high))
        return first, last

    def event_properties(self) -> tuple[str, ...]:
        """Keys in the JSON of all events; of a struct, its fields."""
        from canarykit.events.documents import document_keys

        name = self.mapping["properties"]
        kind = self.types.get(name, "")
        if kind.startswith("struct"):
            return tuple(self.spark_frame.schema[name].dataType.fieldNames())
        document = self.sql_columns.document(name) if name in self.types else None
        if document is None:
            return ()
        usable = self.spark_frame.where(self._usable())
        plain = f"json_object_keys({document})"
        keys = usable.selectExpr(f"explode({plain}) AS key").distinct().collect()
        odd = usable.where(f"{plain} IS NULL AND {document} IS NOT NULL").selectExpr(
            f"{document} AS document"
        )
        more = document_keys(odd.distinct().toArrow().column("document"))
        return tuple(sorted({row.key for row in keys} | set(more)))

    def dropped(self) -> list[Note]:
        """Count what every answer leaves out or does not know, in Spark."""
        notes = [repeats_note(self._repeats)] if self._repeats else []
        notes += self.lost()
        name = self.mapping["properties"]
        if self.types.get(name) == "string":
            document = ticked(name)
            odd = f"({odd_document(document)} OR {document} RLIKE {literal(LONG_NUMBER)})"
            suspect = f"{odd} AND btrim({document}) NOT IN ('', 'null')"
            listed = self._once.where(self._usable()).where(suspect).selectExpr(f"{document} AS document")
            counted = listed.groupBy("document").count().toArrow()
            lost = is_unreadable(counted.column("document"))
            if broken := pc.sum(counted.column("count").filter(lost)).as_py():
                notes.append(Note("bad_json", UNREADABLE, broken))
        return notes

    def explain(self, query: Query, dialect: str | None = None) -> str:
        """Spark's plan for the question."""
        if dialect not in {None, "spark"}:
            raise DataError(f"these events are read by Spark, not by {dialect!r}")
        narrow = self._narrow(self._reading(query))
        if type(narrow).__module__.startswith("pyspark.sql.connect"):
            with redirect_stdout(StringIO()) as printed:
                narrow.explain("extended")
            return printed.getvalue()
        return str(narrow._jdf.queryExecution().toString())

    def __getstate__(self) -> dict[str, Any]:
        raise DataError(
            "a log of a Spark frame cannot be pickled: the frame belongs to its session; pass the session's "
            "own table on, and open the log there"
        )

    @cached_property
    def _repeats(self) -> int:
        """How many rows repeat an event: looked for once, by hashes, before anything is compared."""
        if self.mapping["uuid"] not in self.types:
            return 0
        uuid = self.sql_columns.id_text(self.mapping["uuid"])
        usable = self.spark_frame.where(self._usable()).where(f"{uuid} IS NOT NULL")
        row = usable.selectExpr("count(1) AS n", f"count(DISTINCT xxhash64({uuid})) AS different").collect()[
            0
        ]
        return int(row.n - row.different)

    @cached_property
    def _once(self) -> Any:
        """The frame, every event once."""
        if not self._repeats:
            return self.spark_frame
        uuid = self.sql_columns.id_text(self.mapping["uuid"])
        order = [self.sql_columns.time(self.mapping["timestamp"])]
        for name in ORDER[1:]:
            column = self.mapping.get(name, name)
            if column in self.types:
                order.append(f"coalesce({self.sql_columns.text(column)}, '')")
        number = f"row_number() OVER (PARTITION BY {uuid} ORDER BY {', '.join(order)})"
        numbered = self.spark_frame.where(self._usable()).selectExpr("*", f"{number} AS canarykit_place")
        return numbered.where(f"{uuid} IS NULL OR canarykit_place = 1").drop("canarykit_place")

    def _reading(self, query: Query) -> _Reading:
        stored = query.stored()
        columns: dict[str, None] = {}
        places: dict[Json, str] = {}
        for field in stored:
            for part in field.parts if not field.is_person else ():
                if isinstance(part, Column):
                    columns[part.name] = None
                elif self.sql_columns.document(part.column) is None:
                    columns[part.column] = None  # comes as it is stored, and is read in the worker
                else:
                    places.setdefault(part, f"canarykit_found_{len(places)}")
        documents = dict.fromkeys(part.column for part in places)
        odd = {column: f"canarykit_odd_{at}" for at, column in enumerate(documents)}
        needs_person = query.actor.is_person or any(field.is_person for field in stored)
        return _Reading(query, tuple(columns), places, odd, needs_person, self.mapping["event"])

    def _narrow(self, reading: _Reading) -> Any:
        """The columns and JSON values that a question needs, of the rows it keeps."""
        query = reading.query
        chosen = [self._stored(name, reading) for name in reading.columns]
        values = {
            part: json_value(self.sql_columns.document(part.column), part.path) for part in reading.places
        }
        chosen += [f"{values[part]} AS {ticked(name)}" for part, name in reading.places.items()]
        for column, name in reading.odd.items():
            document = self.sql_columns.document(column)
            taken = {part.path: value for part, value in values.items() if part.column == column}
            chosen.append(f"CASE WHEN {odd_document(document, taken)} THEN {document} END AS {ticked(name)}")
        frame = self._once.where(self._usable(query))
        if reading.needs_person:
            ids = self.id_columns()
            whole = self.identities is None and all(map(self.sql_columns.is_whole, ids))
            texts = [ticked(name) if whole else self.sql_columns.id_text(name) for name in ids]
            distinct = self.mapping["distinct_id"]
            if self.identities is not None and distinct in self.types:
                from pyspark.sql.functions import expr

                identities = self._identities()
                frame = frame.join(
                    identities, expr(self.sql_columns.id_text(distinct)) == identities[_KNOWN], "left"
                )
                texts.insert(0, ticked(_PERSON + "_known"))
            chosen.append(f"coalesce({', '.join(texts)}) AS {ticked(_PERSON)}")
        frame = frame.selectExpr(*chosen) if chosen else frame.selectExpr("1 AS canarykit_one")
        for field, allowed in query.where:
            if condition := self._condition(field, allowed, reading):
                frame = frame.where(condition)
        return frame

    def _identities(self) -> Any:
        from pyspark.sql import functions

        assert self.identities is not None
        table = pa.table({_KNOWN: self.identities[0], _PERSON + "_known": self.identities[1]})
        return functions.broadcast(self.spark_frame.sparkSession.createDataFrame(table))

    def _actor(self, field: Field, reading: _Reading) -> str:
        if field.is_person:
            return ticked(_PERSON)
        names = [
            reading.places.get(part, part.column) if isinstance(part, Json) else part.name
            for part in field.parts
        ]
        texts = [f"cast({ticked(name)} AS string)" for name in names]
        return f"coalesce({', '.join([*texts, literal('')])})"

    def _condition(self, field: Field, allowed: Any, reading: _Reading) -> str | None:
        """A filter, where Spark's text is surely ours; the worker applies every filter once more."""
        names, odd = [], []
        for part in field.parts if not (field.is_person or field.is_time or field.lookup) else ():
            if isinstance(part, Json) and part in reading.places:
                names.append(reading.places[part])
                odd.append(f"{ticked(reading.odd[part.column])} IS NOT NULL")
            elif isinstance(part, Column) and self.types[part.name] in {"string", "boolean", "int", "bigint"}:
                names.append(part.name)
            else:
                return None
        if not names or field.name in IDS:
            return None
        text = f"coalesce({', '.join(f'cast({ticked(name)} AS string)' for name in names)})"
        if allowed is PRESENT:
            return " OR ".join([f"{text} IS NOT NULL", *odd])
        listed = ", ".join(literal(item) for item in allowed if item is not None)
        alternatives = [f"{text} IN ({listed})"] if listed else []
        return " OR ".join([*alternatives, *([f"{text} IS NULL"] if None in allowed else []), *odd])

    def first_row(self, expressions: Sequence[str], condition: str = "true") -> Any:
        """What Spark has first; None where it has nothing."""
        rows = self.spark_frame.where(condition).selectExpr(*expressions).limit(1).collect()
        return rows[0] if rows else None

    def event(self) -> str:
        """The name of an event as text."""
        return self.sql_columns.text(self.mapping["event"])

    def _usable(self, query: Query | None = None) -> str:
        """Which rows are usable: an event name, a time and any id; with a query, those it may ask for."""
        columns = self.sql_columns
        ids = [ticked(n) if columns.is_whole(n) else columns.id_text(n) for n in self.id_columns()]
        anyone = f"({' OR '.join(f'{id_} IS NOT NULL' for id_ in ids)})"
        return " AND ".join([*self._conditions(query, literal, "timestamp_micros"), anyone])

    def _stored(self, column: str, reading: _Reading) -> str:
        name, kind = ticked(column), self.types[column]
        if column == reading.event and reading.coded:
            event = self.sql_columns.text(column)
            cases = " ".join(f"WHEN {literal(text)} THEN {code}Y" for code, text in enumerate(reading.coded))
            return f"CASE {event} {cases} END AS {name}"
        if column in {self.mapping["timestamp"], "created_at"}:
            return f"{self.sql_columns.time(column)} AS {name}"
        return f"to_json({name}) AS {name}" if kind.startswith("variant") else name


class _Work:
    """What a worker does with one partition: its rows as one table under their own names, one result."""

    def __init__(
        self, reading: _Reading, columns: tuple[str, ...], lookups: Lookups, fn: Callable[[pa.Table], Any]
    ) -> None:
        self.reading, self.columns, self.lookups, self.fn = reading, columns, lookups, fn

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rows = [batch for batch in batches if batch.num_rows]
        if not rows:
            return
        table = self.reading.answer(pa.Table.from_batches(rows).rename_columns(list(self.columns)))
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


def open_spark(frame: Any, mapping: Mapping[str, str], identities: Identities, tz: str | None) -> Opened:
    """Check columns and times, read merges where nothing else says who is who."""
    session = frame.sparkSession
    folds = str(session.conf.get("spark.sql.caseSensitive", "false")).lower() != "true"
    check_columns(frame.columns, mapping, folds_case=folds)
    if wild := [name for name in frame.columns if "${" in name]:
        raise DataError(
            f"the events have a column {wild[0]!r}, in which Spark would put a variable for '${{'; rename it"
        )
    engine = SparkEngine(frame, mapping, identities, tz)
    engine.check_times()
    for name in ("person_id", "distinct_id"):
        column = mapping[name]
        if engine.types.get(column) in {"double", "float"}:
            largest = engine.first_row([f"max(abs(nullif({ticked(column)}, double('NaN'))))"])
            check_float_ids(largest[0], column, is_short=engine.types[column] == "float")
    notes: list[Note] = []
    if mapping["person_id"] not in engine.types:
        engine.identities, notes = merges(engine, mapping, identities)
        notes += [stand_ins()] if identities is None else []
    return Opened(engine, tuple(notes))
