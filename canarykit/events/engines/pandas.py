"""The default engine: a pandas frame in memory, handed out as Arrow columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from canarykit.events.clock import epoch_micros
from canarykit.events.engine import Engine, matches
from canarykit.events.engines.answer import IDS, identified
from canarykit.events.fields import Field, Json, Query
from canarykit.events.text import as_json_text, as_text, coalesce, frame_column, id_text, json_values

__all__ = ["FrameEngine"]

_TEXT = pa.string()


class FrameEngine(Engine):
    """Events in a pandas frame whose times have been read and whose unusable rows are gone.

    Parameters
    ----------
    frame
        The events, one row each.
    mapping
        Canonical name to column.
    times
        Canonical time name to its UTC column.
    identities
        `distinct_id` and `person_id` arrays that say who a distinct id is, or None.
    """

    name = "pandas"

    def __init__(
        self,
        frame: pd.DataFrame,
        mapping: Mapping[str, str],
        times: Mapping[str, pa.ChunkedArray],
        identities: tuple[pa.Array, pa.Array] | None,
    ) -> None:
        self.frame = frame
        self.columns: tuple[str, ...] = tuple(map(str, frame.columns))
        self.identities = identities
        self._mapping = mapping
        self._times = times
        self._texts: dict[tuple[str, bool], pa.ChunkedArray] = {}
        self._extracted: dict[Json, pa.ChunkedArray] = {}
        self._rows_parsed: dict[Json, int] = {}
        self._micros = epoch_micros(times["timestamp"])
        event = as_text(frame_column(frame[mapping["event"]]))
        coded = event if pa.types.is_dictionary(event.type) else event.dictionary_encode()
        self._event = _one_chunk(coded.unify_dictionaries().cast(pa.dictionary(pa.int32(), _TEXT)))

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
                count = len(self.frame) if rows is None else int(rows.sum())
                values[item.name] = coalesce(parts) if parts else pa.chunked_array([pa.nulls(count, _TEXT)])
        return values

    def _json(self, fields: list[Field], rows: np.ndarray | None) -> dict[Json, pa.ChunkedArray]:
        """All values that sit in JSON text, each text column parsed once."""
        found: dict[Json, pa.ChunkedArray] = {}
        wanted = dict.fromkeys(part for item in fields for part in item.parts if isinstance(part, Json))
        for column in dict.fromkeys(part.column for part in wanted):
            parts = [part for part in wanted if part.column == column]
            key = (column, False)
            if key not in self._texts:
                self._texts[key] = as_json_text(frame_column(self.frame[column]))
            self._extract(self._texts[key], parts, len(self.frame) if rows is None else int(rows.sum()))
            found |= {part: _kept(self._extracted[part], rows) for part in parts if part in self._extracted}
            left = [part for part in parts if part not in self._extracted]
            if left:
                texts = _kept(self._texts[key], rows)
                found |= zip(left, json_values(texts, [part.path for part in left]), strict=True)
        return found

    def _extract(self, texts: pa.ChunkedArray, parts: list[Json], n_rows: int) -> None:
        """Keep the values of whole columns, once as many rows were parsed as there are.

        So nothing is parsed more than twice. What is kept is never more than the text it came from.
        """
        for part in parts:
            self._rows_parsed[part] = self._rows_parsed.get(part, 0) + n_rows
        due = [p for p in parts if p not in self._extracted and self._rows_parsed[p] >= len(self.frame)]
        room = texts.nbytes - sum(column.nbytes for column in self._extracted.values())
        if due and room > 0:
            for part, column in zip(due, json_values(texts, [p.path for p in due]), strict=True):
                room -= column.nbytes
                if room >= 0:
                    self._extracted[part] = column

    def _text(self, column: str, is_id: bool, native: bool) -> pa.ChunkedArray:
        if native:
            return frame_column(self.frame[column])
        key = (column, is_id)
        if key not in self._texts:
            stored = frame_column(self.frame[column])
            self._texts[key] = id_text(stored, column) if is_id else as_text(stored)
        return self._texts[key]

    def _complete(self, name: str) -> bool:
        """Whether a column misses no value; whole numbers of numpy cannot."""
        column = self.frame[name]
        whole = isinstance(column.dtype, np.dtype) and column.dtype.kind in "iu"
        return whole or bool(column.notna().all())

    def _person_ids(self, native: bool) -> pa.ChunkedArray:
        """Who each event belongs to: the known identity, else the person id, else the distinct id."""
        column, distinct = self._mapping["person_id"], self._mapping["distinct_id"]
        there = [name for name in (column, distinct) if name in self.columns]
        if native and self.identities is None and self._complete(there[0]):
            return frame_column(self.frame[there[0]])
        key = ("\0person", True)
        if key not in self._texts:
            parts = [self._text(name, True, False) for name in there]
            if self.identities is not None and distinct in self.columns:
                parts.insert(0, identified(parts[-1], self.identities))
            self._texts[key] = coalesce(parts)
        return self._texts[key]


def _kept(column: pa.ChunkedArray, rows: np.ndarray | None) -> pa.ChunkedArray:
    return column if rows is None else column.filter(pa.array(rows))


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
