"""What every engine shares: lookups of person and group properties, residual filters, actor shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from canarykit.display import Note
from canarykit.errors import DataError
from canarykit.events.clock import UTC_TIME
from canarykit.events.fields import PRESENT, Field, Query, Resolver
from canarykit.events.mapping import missing_columns
from canarykit.events.merges import MERGE_COLUMNS, MERGE_EVENTS, merged_ids
from canarykit.events.text import as_text, coalesce, in_codes

_TEXT = pa.string()

Identities = tuple[pa.Array, pa.Array] | None
"""Distinct ids, and the person that each is."""


@dataclass(frozen=True)
class Opened:
    """An engine, and what the reader must know about how it was opened."""

    engine: Engine
    notes: tuple[Note, ...] = ()


class Source:
    """Events that are not in a table yet, and know which engine reads them."""

    def open_engine(self, mapping: Mapping[str, str], identities: Identities, tz: str | None) -> Opened:
        """The engine that reads them."""
        raise TypeError(f"{type(self).__name__} must define open_engine()")


class Engine:
    """Answers narrow queries; each engine reads, filters and projects where its data is."""

    name: str  # "pandas", "duckdb", "spark" or "narwhals"
    columns: tuple[str, ...]  # columns of what it reads
    mapping: Mapping[str, str]  # canonical name to column

    def id_columns(self) -> tuple[str, ...]:
        """Columns that say who an event belongs to, in turn."""
        named = (self.mapping[name] for name in ("person_id", "distinct_id"))
        return tuple(name for name in named if name in self.columns)

    def shards(self, query: Query) -> Iterator[pa.Table]:
        """Tables of the query's stored fields; all rows of an actor are in one of them."""
        raise TypeError(f"{type(self).__name__} must define shards()")

    def batches(self, query: Query) -> Iterator[pa.Table]:
        """Tables of the query's stored fields in any cut."""
        return self.shards(query)

    def map(self, query: Query, lookups: Lookups, fn: Callable[[pa.Table], Any]) -> list[Any]:
        """`fn` of every shard, finished; at least one call, on an empty table if there are no rows."""
        results = [fn(finish(shard, query, lookups)) for shard in self.shards(query)]
        return results or [fn(finish(empty_table(query.stored()), query, lookups))]

    def event_names(self) -> dict[str, int]:
        """How many events there are of each name."""
        raise TypeError(f"{type(self).__name__} must define event_names()")

    def time_range(self) -> tuple[Any, Any]:
        """First and last time of any event; None where there is none."""
        raise TypeError(f"{type(self).__name__} must define time_range()")

    def lost(self) -> list[Note]:
        """Counts of rows without a name, a time or an id, where opening did not count them."""
        return []

    def dropped(self) -> list[Note]:
        """Counts of what every answer leaves out, where opening did not count it."""
        return []

    def event_properties(self) -> tuple[str, ...]:
        """Keys in the JSON of the events, of all of them."""
        return ()

    def notes(self) -> tuple[Note, ...]:
        """What the reader may want to know of how questions are answered; no answer depends on it."""
        return ()

    def has_property(self, name: str) -> bool:
        """Whether any event has a key in its JSON."""
        return name in self.event_properties()

    def expect(self, queries: Sequence[Query]) -> None:
        """Hear which questions come soon; an engine that reads once for all of them may act on it."""

    def explain(self, query: Query, dialect: str | None = None) -> str:
        """What is sent to where the data is."""
        raise TypeError(f"engine {self.name!r} sends nothing away: it filters in this process")


@dataclass(frozen=True, eq=False)
class Lookups:
    """Properties of persons and groups by id, as Arrow columns; sent along to workers."""

    # `(table, group index)` to `(ids, {property: texts})`
    tables: Mapping[tuple[str, int | None], tuple[pa.Array, Mapping[str, pa.Array]]] = field(
        default_factory=dict
    )

    def find(self, wanted: Field, by: pa.ChunkedArray) -> pa.ChunkedArray:
        """The looked-up property for a column of ids; null for ids that are not known."""
        assert wanted.lookup is not None
        ids, properties = self.tables[(wanted.lookup.table, wanted.lookup.group_type_index)]
        values = properties.get(wanted.lookup.property)
        if values is None:
            return pa.chunked_array([pa.nulls(len(by), _TEXT)])
        coded = in_codes(by) if pa.types.is_dictionary(by.type) else None
        if coded is None or len(coded) < len(coded.dictionary):
            return values.take(pc.index_in(by.cast(_TEXT), value_set=ids))
        found = values.take(pc.index_in(coded.dictionary.cast(_TEXT), value_set=ids)).dictionary_encode()
        found = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
        indices = found.indices.take(coded.indices)
        return pa.chunked_array([pa.DictionaryArray.from_arrays(indices, found.dictionary, safe=False)])

    def only(self, query: Query) -> Lookups:
        """Just what a query looks up: small enough to send to a worker."""
        kept: dict[tuple[str, int | None], tuple[pa.Array, dict[str, pa.Array]]] = {}
        for wanted in query.stored():
            if wanted.lookup is None:
                continue
            key = (wanted.lookup.table, wanted.lookup.group_type_index)
            ids, properties = self.tables[key]
            chosen = kept.setdefault(key, (ids, {}))[1]
            if wanted.lookup.property in properties:
                chosen[wanted.lookup.property] = properties[wanted.lookup.property]
        return Lookups(kept)


def finish(table: pa.Table, query: Query, lookups: Lookups) -> pa.Table:
    """Add looked-up properties, apply the filters on them, and keep the columns asked for, in order."""
    for wanted in query.stored():
        if wanted.lookup is not None:
            column = lookups.find(wanted, table.column(wanted.lookup.by))
            column = coalesce([column, table.column(wanted.name)]) if wanted.parts else column
            position = table.schema.get_field_index(wanted.name)
            if position >= 0:
                table = table.set_column(position, wanted.name, column)
            else:
                table = table.append_column(wanted.name, column)
    for wanted, allowed in query.where:
        if wanted.lookup is not None:
            table = table.filter(matches(table.column(wanted.name), allowed))
    return table.select([wanted.name for wanted in query.fields])


def matches(column: pa.ChunkedArray, allowed: Any) -> pa.ChunkedArray:
    """Which rows a filter keeps."""
    if allowed is PRESENT:
        return pc.is_valid(column)
    plain = column.cast(_TEXT) if pa.types.is_dictionary(column.type) else column
    texts = pa.array([text for text in allowed if text is not None], _TEXT)
    kept = pc.is_in(plain, value_set=texts)
    return pc.or_(kept, pc.is_null(column)) if None in allowed else kept


def check_columns(
    columns: Sequence[str], mapping: Mapping[str, str], *, folds_case: bool = False, what: str = "the events"
) -> None:
    """Refuse a table without event, time, any id or a named column, or two columns of one name.

    `mapping` is canonical name to column; `folds_case` where the engine takes `amount` and `Amount` for one
    column; `what` is the table in the words of the message.
    """
    seen: dict[str, str] = {}
    for name in columns:
        key = name.lower() if folds_case else name
        if seen.get(key) == name:
            raise DataError(f"{what} have two columns {name!r}; rename one")
        if key in seen:
            raise DataError(
                f"{what} have the columns {seen[key]!r} and {name!r}, which this engine takes for one; "
                "rename one"
            )
        seen[key] = name
    if (problem := missing_columns(columns, mapping, what)) is not None:
        raise problem


def merges(
    engine: Engine, mapping: Mapping[str, str], identities: Identities = None
) -> tuple[Identities, list[Note]]:
    """Merges read from the events, for a log without person ids; what the persons say comes first."""
    resolver = Resolver(engine.columns, mapping, False, (), {})
    fields = tuple(resolver.field(name) for name in MERGE_COLUMNS)
    query = Query(fields, MERGE_EVENTS, None, None, (), resolver.field("distinct_id"))
    parts = [part.select(list(MERGE_COLUMNS)) for part in engine.batches(query)]
    rows = [part.to_pandas() for part in parts if part.num_rows]
    if not rows:
        return identities, []
    merged, done, refused = merged_ids(pd.concat(rows), identities)
    notes = []
    if done:
        notes.append(Note("merged", "distinct ids were joined to a person by $identify or an alias", done))
    if refused:
        notes.append(Note("merge_refused", "merges were refused, as PostHog refuses them", refused))
    if merged is None or identities is None:
        return merged or identities, notes
    ids, persons = (
        pa.chunked_array([known, more]).combine_chunks()
        for known, more in zip(identities, merged, strict=True)
    )
    return (_one(ids), _one(persons)), notes


def stand_ins() -> Note:
    """What an engine says that has no person ids and does not count the events it has."""
    text = "the events carry no person ids: the distinct id is used where nothing says who it is"
    return Note("distinct_id_used", text)


def _one(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column


def empty_table(fields: tuple[Field, ...]) -> pa.Table:
    """No rows, with the right types."""
    return pa.table({item.name: pa.array([], UTC_TIME if item.is_time else _TEXT) for item in fields})


def split_by_actor(table: pa.Table, actor: str, shards: int) -> Iterator[pa.Table]:
    """Cut a table so that no actor is in two pieces."""
    if shards <= 1:
        yield table
        return
    ids = table.column(actor)
    texts = as_text(ids).cast(_TEXT) if not pa.types.is_integer(ids.type) else ids
    hashes = pd.util.hash_array(texts.to_pandas().to_numpy(), categorize=False) % np.uint64(shards)
    for shard in range(shards):
        piece = table.filter(pa.array(hashes == shard))
        if piece.num_rows:
            yield piece
