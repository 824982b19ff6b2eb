"""Raw columns into the answer to a question: ids and properties as text, times in UTC, filters applied.

For engines that hand out stored columns; what they have filtered already is not filtered again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from canarykit.events.clock import UTC_TIME, read_times
from canarykit.events.engine import matches
from canarykit.events.fields import Column, Field, Json, Query
from canarykit.events.text import as_json_text, as_text, coalesce, floored, id_text, json_values

IDS = ("person_id", "distinct_id", "session_id", "uuid")
_TEXT = pa.string()

Columns = Mapping[str, pa.ChunkedArray]


def answer(
    query: Query,
    columns: Columns,
    *,
    ids: Sequence[str],
    complete: bool = False,
    identities: tuple[pa.Array, pa.Array] | None = None,
    distinct_id: str = "distinct_id",
    extracted: Mapping[Json, pa.ChunkedArray] | None = None,
    zone: str | None = None,
    person: pa.ChunkedArray | None = None,
) -> pa.Table:
    """The stored fields of a question from raw columns by name; all fields' columns are among them.

    `ids` are columns that say who an event belongs to, in turn; `complete` says that the first is known to
    miss no value. `identities` are who a distinct id is, `person` who every event belongs to, where that is
    known already. What is not yet `extracted` from JSON is taken out here. `zone` is that of times that carry
    none.
    """
    rows = len(next(iter(columns.values())))
    extracted = dict(extracted or {})
    asked = any(field.is_person for field in query.stored())
    if person is None and not complete:
        texts = [id_text(columns[name], name) for name in ids]
        if identities is not None and distinct_id in columns:
            texts.insert(0, identified(id_text(columns[distinct_id], distinct_id), identities))
        person = coalesce(texts)
        if person.null_count:
            kept = pc.is_valid(person)
            columns, extracted = _filtered(columns, kept), _filtered(extracted, kept)
            person, rows = person.filter(kept), pc.sum(kept).as_py()
    elif person is None and asked:
        person = columns[ids[0]]
    extracted |= taken(query, columns, extracted)
    values: dict[str, pa.ChunkedArray] = {}
    for field in query.stored():
        if field.is_person:
            assert person is not None
            native = complete and field.name in query.native
            values[field.name] = person if native or not complete else id_text(person, ids[0])
        elif field.is_time and field.parts:
            column = field.parts[0].name  # type: ignore[union-attr]
            values[field.name] = utc_time(columns[column], column, zone)
        else:
            values[field.name] = _text(field, columns, extracted, rows, field.name in query.native)
    for field, allowed in query.where:
        if field.lookup is None:
            values = _filtered(values, matches(values[field.name], allowed))
    return pa.table(values)


def identified(distinct: pa.ChunkedArray, identities: tuple[pa.Array, pa.Array]) -> pa.ChunkedArray:
    """Who each distinct id is; null where nothing says so."""
    return identities[1].take(pc.index_in(distinct.cast(_TEXT), value_set=identities[0]))


def utc_time(column: pa.ChunkedArray, name: str, zone: str | None) -> pa.ChunkedArray:
    """A stored time column in UTC microseconds; what opening the log let pass is not refused here."""
    kind = column.type
    if pa.types.is_timestamp(kind) and (kind.tz is not None or zone == "UTC"):
        return floored(column).cast(UTC_TIME)
    return read_times(column, name, zone or "UTC", lenient=True)[0]


def taken(
    query: Query, columns: Columns, extracted: Mapping[Json, pa.ChunkedArray]
) -> dict[Json, pa.ChunkedArray]:
    """Values out of JSON text, each column parsed once; those that are `extracted` already stay."""
    wanted = dict.fromkeys(
        part for f in query.stored() for part in f.parts if isinstance(part, Json) and part not in extracted
    )
    values: dict[Json, pa.ChunkedArray] = dict(extracted)
    for column in dict.fromkeys(part.column for part in wanted):
        parts = [part for part in wanted if part.column == column]
        texts = json_values(as_json_text(columns[column]), [part.path for part in parts])
        values |= zip(parts, texts, strict=True)
    return values


def _text(
    field: Field, columns: Columns, extracted: Mapping[Json, pa.ChunkedArray], rows: int, native: bool
) -> pa.ChunkedArray:
    if native and len(field.parts) == 1 and isinstance(field.parts[0], Column):
        return columns[field.parts[0].name]
    texts = []
    for part in field.parts:
        if isinstance(part, Json):
            texts.append(id_text(extracted[part], field.name) if field.name in IDS else extracted[part])
        else:
            stored = columns[part.name]
            texts.append(id_text(stored, part.name) if field.name in IDS else as_text(stored))
    return coalesce(texts) if texts else pa.chunked_array([pa.nulls(rows, _TEXT)])


def _filtered(columns: Mapping, kept: pa.ChunkedArray) -> dict:
    return {name: column.filter(kept) for name, column in columns.items()}
