"""The default engine: rows in memory (pandas, Arrow, polars), handed out as Arrow columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from canarykit.display import Note
from canarykit.events.clock import epoch_micros, read_times
from canarykit.events.documents import Scanned, document_keys, is_walked, scan_documents, unreadable
from canarykit.events.engine import Engine, Identities, Opened, check_columns, matches, merges
from canarykit.events.engines.answer import IDS, identified
from canarykit.events.engines.repeats import ORDER, first_of_each, repeats_note
from canarykit.events.engines.rows import Rows
from canarykit.events.fields import Field, Json, Query
from canarykit.events.text import as_json_text, as_text, coalesce, id_text, json_values
from canarykit.events.unusable import UNREADABLE, dropping_notes

WALKED_FROM = 300_000
"""Documents from which a frame has them walked by compiled code; below, a first verdict would wait for it."""

_TEXT = pa.string()


class FrameEngine(Engine):
    """Events in memory whose times have been read and whose unusable rows are gone.

    `mapping` is canonical name to column, `times` are UTC columns by canonical name; `identities` are
    `distinct_id` and `person_id` arrays that say who a distinct id is.
    """

    name = "pandas"

    def __init__(
        self,
        rows: Rows,
        mapping: Mapping[str, str],
        times: Mapping[str, pa.ChunkedArray],
        identities: tuple[pa.Array, pa.Array] | None,
    ) -> None:
        self.rows = rows
        self.columns: tuple[str, ...] = rows.names
        self.identities = identities
        self.mapping = mapping
        self._times = times
        self._texts: dict[tuple[str, bool], pa.ChunkedArray] = {}
        self._extracted: dict[Json, pa.ChunkedArray] = {}
        self._rows_parsed: dict[Json, int] = {}
        self._micros = epoch_micros(times["timestamp"])
        event = as_text(rows.column(mapping["event"]))
        coded = event if pa.types.is_dictionary(event.type) else event.dictionary_encode()
        self._event = _one_chunk(coded.unify_dictionaries().cast(pa.dictionary(pa.int32(), _TEXT)))

    @property
    def frame(self) -> pd.DataFrame:
        """The events as a pandas frame."""
        return self.rows.frame

    def event_properties(self) -> tuple[str, ...]:
        """Keys in the JSON of all events, found once."""
        return self._property_names

    @cached_property
    def _property_names(self) -> tuple[str, ...]:
        if self._walked is not None:
            return tuple(sorted(self._walked.names))
        name = self.mapping["properties"]
        return document_keys(self._document(name)) if name in self.columns else ()

    @cached_property
    def _walked(self) -> Scanned | None:
        """What one walk tells of all documents; None where they are few, or no text."""
        name = self.mapping["properties"]
        if name not in self.columns or pa.types.is_nested(self.rows.column(name).type):
            return None
        texts = self._document(name)
        if len(texts) < WALKED_FROM or not is_walked(texts, len(texts)):
            return None
        return scan_documents(texts, [], np.ones(len(texts), dtype=bool), of=len(texts))

    def count_unreadable(self) -> int:
        """How many events have properties that hold no object."""
        name = self.mapping["properties"]
        if name not in self.columns or pa.types.is_nested(self.rows.column(name).type):
            return 0
        if self._walked is not None:
            return self._walked.n_unreadable
        return int(pc.sum(unreadable(self._document(name))).as_py() or 0)

    def shards(self, query: Query) -> Iterator[pa.Table]:
        """One table: everything is in this process already."""
        rows = self._rows(query)
        read = {item.name: item for item in query.stored() if item.parts or item.lookup is None}
        values = self._values(list(read.values()), rows, query.native)
        for item, allowed in query.where:
            if item.lookup is None:
                mask = matches(values[item.name], allowed)
                values = {name: column.filter(mask) for name, column in values.items()}
        yield pa.table(values)

    def event_names(self) -> dict[str, int]:
        """Counted on the encoded column."""
        counts = self._event.value_counts().to_pylist()
        named = {item["values"]: item["counts"] for item in counts if item["values"] is not None}
        return dict(sorted(named.items(), key=lambda item: (-item[1], item[0])))

    def time_range(self) -> tuple[Any, Any]:
        """First and last time."""
        if not len(self._micros):
            return None, None
        low, high = int(self._micros.min()), int(self._micros.max())
        return tuple(pd.Timestamp(at, unit="us", tz="UTC").as_unit("us") for at in (low, high))  # type: ignore[return-value]

    def _rows(self, query: Query) -> np.ndarray | None:
        """Mask of the rows that the names and the window keep; None for all."""
        if not query.exact:
            return None
        mask: np.ndarray | None = None
        if query.events is not None:
            known = self._event.dictionary.to_pylist()
            wanted = np.array([*(name in query.events for name in known), False])
            mask = wanted[pc.fill_null(self._event.indices, len(known)).to_numpy()]
        for bound, keep in ((query.since, np.greater_equal), (query.until, np.less)):
            if bound is not None:
                inside = keep(self._micros, bound)
                mask = inside if mask is None else mask & inside
        return None if mask is None or mask.all() else mask

    def _values(
        self, fields: list[Field], rows: np.ndarray | None, native: frozenset[str]
    ) -> dict[str, pa.ChunkedArray]:
        inside = self._json(fields, rows)
        values: dict[str, pa.ChunkedArray] = {}
        for item in fields:
            if item.is_time and item.parts:
                values[item.name] = _kept(self._times[item.name], rows)
            elif item.name == "event":
                values["event"] = _kept(pa.chunked_array([self._event]), rows)
            elif item.is_person:
                values["person_id"] = _kept(self._person_ids("person_id" in native), rows)
            else:
                parts = [
                    inside[part]
                    if isinstance(part, Json)
                    else _kept(self._text(part.name, item.name in IDS, item.name in native), rows)
                    for part in item.parts
                ]
                parts = [id_text(part, item.name) for part in parts] if item.name in IDS else parts
                count = len(self.rows) if rows is None else int(rows.sum())
                values[item.name] = coalesce(parts) if parts else pa.chunked_array([pa.nulls(count, _TEXT)])
        return values

    def _json(self, fields: list[Field], rows: np.ndarray | None) -> dict[Json, pa.ChunkedArray]:
        """All values that sit in JSON text, each text column parsed once."""
        found: dict[Json, pa.ChunkedArray] = {}
        wanted = dict.fromkeys(part for item in fields for part in item.parts if isinstance(part, Json))
        for column in dict.fromkeys(part.column for part in wanted):
            parts = [part for part in wanted if part.column == column]
            texts = self._document(column)
            self._extract(texts, parts, len(self.rows) if rows is None else int(rows.sum()))
            found |= {part: _kept(self._extracted[part], rows) for part in parts if part in self._extracted}
            left = [part for part in parts if part not in self._extracted]
            if left:
                texts = _kept(texts, rows)
                found |= zip(left, json_values(texts, [part.path for part in left]), strict=True)
        return found

    def _extract(self, texts: pa.ChunkedArray, parts: list[Json], n_rows: int) -> None:
        """Keep the values of whole columns, once as many rows were parsed as there are.

        So nothing is parsed more than twice. What is kept is never more than the text it came from.
        """
        for part in parts:
            self._rows_parsed[part] = self._rows_parsed.get(part, 0) + n_rows
        due = [p for p in parts if p not in self._extracted and self._rows_parsed[p] >= len(self.rows)]
        room = texts.nbytes - sum(column.nbytes for column in self._extracted.values())
        if due and room > 0:
            for part, column in zip(due, json_values(texts, [p.path for p in due]), strict=True):
                room -= column.nbytes
                if room >= 0:
                    self._extracted[part] = column

    def _document(self, column: str) -> pa.ChunkedArray:
        key = (column, False)
        if key not in self._texts:
            self._texts[key] = as_json_text(self.rows.column(column))
        return self._texts[key]

    def _text(self, column: str, is_id: bool, native: bool) -> pa.ChunkedArray:
        if native:
            return self.rows.column(column)
        key = (column, is_id)
        if key not in self._texts:
            stored = self.rows.column(column)
            self._texts[key] = id_text(stored, column) if is_id else as_text(stored)
        return self._texts[key]

    def _complete(self, name: str) -> bool:
        """Whether a column of whole numbers misses no value; other ids are handed out as their text."""
        column = self.rows.column(name)
        whole = pa.types.is_integer(column.type) or pa.types.is_dictionary(column.type)
        return whole and column.null_count == 0

    def _person_ids(self, native: bool) -> pa.ChunkedArray:
        """Who each event belongs to: the known identity, else the person id, else the distinct id."""
        there, distinct = self.id_columns(), self.mapping["distinct_id"]
        if native and self.identities is None and self._complete(there[0]):
            return self.rows.column(there[0])
        key = ("\0person", True)
        if key not in self._texts:
            parts = [self._text(name, True, False) for name in there]
            if self.identities is not None and distinct in self.columns:
                parts.insert(0, identified(parts[-1], self.identities))
            self._texts[key] = coalesce(parts)
        return self._texts[key]


def open_rows(rows: Rows, mapping: Mapping[str, str], identities: Identities, tz: str | None) -> Opened:
    """Read the times, leave out what cannot be used, and count it by reason."""
    check_columns(rows.names, mapping)
    notes: list[Note] = []
    times, naive = read_times(rows.column(mapping["timestamp"]), mapping["timestamp"], tz)
    if naive:
        notes.append(Note("naive_times", f"times without a zone were read as {tz}", naive))
    read = {"timestamp": times}
    if "created_at" in rows:
        read["created_at"] = read_times(rows.column("created_at"), "created_at", tz or "UTC", lenient=True)[0]
    keep, dropped = _usable(rows, mapping, times)
    rows, read = _filtered(rows, read, keep)
    if mapping["uuid"] in rows:
        order = [
            rows.column(mapping.get(name, name)) for name in ORDER[1:] if mapping.get(name, name) in rows
        ]
        once = first_of_each(rows.column(mapping["uuid"]), [read["timestamp"], *order])
        if once is not None:
            dropped.insert(0, repeats_note(int((~once).sum())))
            rows, read = _filtered(rows, read, once)
    notes += dropped
    engine = FrameEngine(rows, mapping, read, identities)
    if broken := engine.count_unreadable():
        notes.append(Note("bad_json", UNREADABLE, broken))
    for name in ("person_id", "distinct_id"):
        if mapping[name] in rows:
            notes += _floats(rows, mapping[name])
    if mapping["person_id"] not in rows:
        engine.identities, more = merges(engine, mapping, identities)
        notes += more
    return Opened(engine, (*notes, *_stand_ins(engine, mapping)))


def _filtered(
    rows: Rows, times: dict[str, pa.ChunkedArray], keep: np.ndarray
) -> tuple[Rows, dict[str, pa.ChunkedArray]]:
    if keep.all():
        return rows, times
    mask = pa.array(keep)
    return rows.filter(keep), {name: column.filter(mask) for name, column in times.items()}


def _usable(rows: Rows, mapping: Mapping[str, str], times: pa.ChunkedArray) -> tuple[np.ndarray, list[Note]]:
    """Which rows can be used, and a note for every reason why some cannot."""
    ids = [mapping[name] for name in ("person_id", "distinct_id") if mapping[name] in rows]
    names = as_text(rows.column(mapping["event"]))
    somebody = np.zeros(len(rows), dtype=bool)
    for column, name in ((rows.column(name), name) for name in ids):
        if pa.types.is_floating(column.type) or not somebody.all():  # floats may have to be refused
            somebody |= _flags(pc.is_valid(id_text(column, name)))
    good = {
        "no_event_name": _flags(pc.is_valid(names)),
        "snapshots": ~_flags(pc.equal(names, "$snapshot")),
        "no_time": _flags(pc.is_valid(times)),
        "no_id": somebody,
    }
    keep, counts = np.ones(len(rows), dtype=bool), {}
    for code, mask in good.items():
        counts[code] = int((keep & ~mask).sum())
        keep &= mask
    return keep, dropping_notes(counts)


def _flags(mask: pa.ChunkedArray) -> np.ndarray:
    return pc.fill_null(mask, False).to_numpy().astype(bool)


def _floats(rows: Rows, name: str) -> list[Note]:
    column = rows.column(name)
    if not pa.types.is_floating(column.type):
        return []
    gaps = len(column) - pc.sum(pc.fill_null(pc.is_finite(column), False)).as_py() if len(column) else 0
    text = f"gaps in {name!r} had made its ids floats; they are read without '.0'"
    return [Note("float_ids", text, gaps)] if gaps else []


def _stand_ins(engine: FrameEngine, mapping: Mapping[str, str]) -> list[Note]:
    """How many events have no person id, so that the distinct id is used instead."""
    rows, person, distinct = engine.rows, mapping["person_id"], mapping["distinct_id"]
    missing = np.ones(len(rows), dtype=bool)
    if person in rows:
        missing = ~_flags(pc.is_valid(engine._text(person, True, False)))
    if engine.identities is not None and distinct in rows and missing.any():
        known = engine._text(distinct, True, False).cast(_TEXT)
        missing &= ~_flags(pc.is_in(known, value_set=engine.identities[0]))
    count = int(missing.sum())
    if not count:
        return []
    return [Note("distinct_id_used", "events without a person id: the distinct id is used instead", count)]


def _kept(column: pa.ChunkedArray, rows: np.ndarray | None) -> pa.ChunkedArray:
    return column if rows is None else column.filter(pa.array(rows))


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
