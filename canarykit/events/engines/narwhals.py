"""Any table narwhals reads: ibis (and through it warehouses), polars, dask, sqlframe and others.

Rows and columns are narrowed where the table is; for ibis tables also the values inside JSON, by the
function of the database. What comes back is read and finished here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from canarykit.display import Note
from canarykit.errors import DataError
from canarykit.events.clock import naive_error, read_times
from canarykit.events.documents import document_keys, patched, unreadable
from canarykit.events.engine import (
    Engine,
    Identities,
    Opened,
    check_columns,
    merges,
    split_by_actor,
    stand_ins,
)
from canarykit.events.engines.answer import answer, utc_time
from canarykit.events.engines.repeats import ORDER, first_of_each, repeats_note
from canarykit.events.engines.warehouse import (
    can_take,
    is_bound,
    is_ibis,
    keep_matching,
    readable,
    suspects,
    take_json,
    to_sql,
)
from canarykit.events.fields import PRESENT, Column, Field, Json, Query
from canarykit.events.text import as_json_text, as_text, id_text, plain_texts
from canarykit.events.unusable import UNREADABLE, dropping_notes

_SHARD_BYTES = 2e9
_MOST_LISTED = 10_000


class NarwhalsEngine(Engine):
    """A table behind narwhals; `mapping` is canonical name to column, `zone` that of times without one."""

    name = "narwhals"

    def __init__(
        self, table: Any, mapping: Mapping[str, str], identities: Identities, zone: str | None
    ) -> None:
        import narwhals

        self.native = readable(table) if is_ibis(table) else table
        self.table: Any = narwhals.from_native(self.native).lazy()
        self.schema: dict[str, Any] = dict(self.table.collect_schema())
        self.columns: tuple[str, ...] = tuple(self.schema)
        self.mapping = mapping
        self.identities = identities
        self.zone = zone

    def shards(self, query: Query) -> Iterator[pa.Table]:
        """The narrowed rows, cut by actor where they are many."""
        table = next(self.batches(query))
        count = math.ceil(table.nbytes / _SHARD_BYTES)
        yield from split_by_actor(table, query.actor.name, count)

    def batches(self, query: Query) -> Iterator[pa.Table]:
        """The narrowed rows, finished here."""
        native, places, odd = self._narrow(query, None)
        answers = [self._finished(_collect(native), query, places, odd)]
        if self._repeated:
            answers.append(self._finished(self._first_of_repeated(query), query, {}, {}))
        yield pa.concat_tables([plain_texts(part) for part in answers]) if len(answers) > 1 else answers[0]

    def event_names(self) -> dict[str, int]:
        """Counted where the events are, unless rows have to be read to be told apart."""
        import narwhals as nw

        if not self._has_moments or self._repeated:
            return self._counted_here()
        event = nw.col(self.mapping["event"]).cast(nw.String).alias("name")
        usable = self.table.filter(*self._usable())
        counted = _collect(usable.select(event).group_by("name").agg(nw.len().alias("n")).to_native())
        rows = zip(counted.column("name").to_pylist(), counted.column("n").to_pylist(), strict=True)
        named = {name: int(n) for name, n in rows if name is not None and name != "$snapshot"}
        return dict(sorted(named.items(), key=lambda item: (-item[1], item[0])))

    def time_range(self) -> tuple[Any, Any]:
        """First and last time."""
        import narwhals as nw

        time = self.mapping["timestamp"]
        usable = self.table.filter(*self._usable())
        if not self._has_moments:
            ends = utc_time(_collect(usable.select(time).to_native()).column(time), time, self.zone)
        else:
            low, high = (getattr(nw.col(time), name)().alias(name) for name in ("min", "max"))
            bounds = _collect(usable.select(low, high).to_native())
            both = pa.chunked_array([*bounds.column("min").chunks, *bounds.column("max").chunks])
            ends = utc_time(both, time, self.zone)
        times = ends.drop_null().to_pandas()
        if not len(times):
            return None, None
        first, last = (pd.Timestamp(at).as_unit("us") for at in (times.min(), times.max()))
        return first, last

    def event_properties(self) -> tuple[str, ...]:
        """Keys in the JSON of all events."""
        name = self.mapping["properties"]
        if name not in self.schema:
            return ()
        documents = _collect(self.table.filter(*self._usable()).select(name).to_native()).column(name)
        return document_keys(as_json_text(documents))

    def lost(self) -> list[Note]:
        """Rows without a name, a time or an id: only those that may lack one are fetched."""
        return dropping_notes(self._lost)

    @cached_property
    def _lost(self) -> dict[str, int]:
        import narwhals as nw

        event, time = self.mapping["event"], self.mapping["timestamp"]
        ids = self.id_columns()
        table = self.table
        if self._has_moments:
            lacking = nw.col(event).is_null() | (nw.col(event) == "$snapshot") | nw.col(time).is_null()
            table = table.filter(lacking | ~self._somebody())
        rows = _collect(table.select(*dict.fromkeys([event, time, *ids])).to_native())
        names = as_text(rows.column(event))
        good = {
            "no_event_name": _flags(pc.is_valid(names)),
            "snapshots": ~_flags(pc.equal(names, "$snapshot")),
            "no_time": _flags(pc.is_valid(utc_time(rows.column(time), time, self.zone))),
            "no_id": np.any([_flags(pc.is_valid(id_text(rows.column(name), name))) for name in ids], axis=0),
        }
        keep, counts = np.ones(len(rows), dtype=bool), {}
        for code, mask in good.items():
            counts[code] = int((keep & ~mask).sum())
            keep &= mask
        return counts

    def dropped(self) -> list[Note]:
        """Count what every answer leaves out, and properties that hold no object."""
        notes = [repeats_note(self._n_repeats)] if self._repeated and self._n_repeats else []
        notes += self.lost()
        name = self.mapping["properties"]
        if name not in self.schema or _is_nested(self.schema[name]):
            return notes
        if broken := pc.sum(unreadable(self._documents(name))).as_py():
            notes.append(Note("bad_json", UNREADABLE, broken))
        return notes

    def explain(self, query: Query, dialect: str | None = None) -> str:
        """The SQL of an ibis table, in a dialect if asked for; other libraries say what they print."""
        native, _, _ = self._narrow(query, dialect)
        return to_sql(native, dialect) if is_ibis(native) else str(native)

    def _documents(self, name: str) -> pa.ChunkedArray:
        """Documents of usable events: where the table can tell, those alone that may hold no object."""
        if self._has_moments and not self._repeated and is_ibis(self.native):
            suspicious = suspects(self.table.filter(*self._usable()).to_native(), name)
            if suspicious is not None:
                return as_json_text(_collect(suspicious).column(name))
        field = Field(name, (Column(name),))
        (table,) = self.batches(Query((field,), None, None, None, (), field))
        return table.column(name)

    @property
    def _has_moments(self) -> bool:
        """Whether times are times where the table is, not texts that have to be read here."""
        import narwhals as nw

        return isinstance(self.schema[self.mapping["timestamp"]], nw.Datetime)

    @cached_property
    def _repeated(self) -> tuple[str, ...]:
        """Uuids that come more than once."""
        import narwhals as nw

        uuid = self.mapping["uuid"]
        if uuid not in self.schema or not is_bound(self.native):
            return ()
        texts = self.table.filter(*self._usable()).select(nw.col(uuid).cast(nw.String).alias("uuid"))
        twice = texts.group_by("uuid").agg(nw.len().alias("n")).filter(nw.col("n") > 1)
        uuids = id_text(_collect(twice.to_native()).column("uuid"), "uuid")
        return tuple(uuids.drop_null().to_pylist())

    @cached_property
    def _n_repeats(self) -> int:
        uuids = id_text(self._rows_of_repeated(()).column(self.mapping["uuid"]), "uuid")
        return len(uuids) - len(uuids.unique())

    def _rows_of_repeated(self, columns: Sequence[str]) -> pa.Table:
        """Usable rows whose uuid comes more than once, with these columns and those that order them."""
        import narwhals as nw

        order = [
            self.mapping.get(name, name) for name in ORDER if self.mapping.get(name, name) in self.schema
        ]
        uuid = self.mapping["uuid"]
        wanted = dict.fromkeys([uuid, *order, *self.id_columns(), *columns])
        table = self.table.filter(*self._usable())
        if len(self._repeated) <= _MOST_LISTED:
            table = table.filter(nw.col(uuid).cast(nw.String).is_in(list(self._repeated)))
        rows = _collect(table.select(*wanted).to_native())
        time = self.mapping["timestamp"]
        ids = [pc.is_valid(id_text(rows.column(name), name)) for name in self.id_columns()]
        usable = pc.is_valid(utc_time(rows.column(time), time, self.zone))
        for at, mask in enumerate(ids):
            ids[0] = mask if at == 0 else pc.or_(ids[0], mask)
        repeated = pc.is_in(
            id_text(rows.column(uuid), uuid).cast(pa.string()),
            value_set=pa.array(self._repeated, pa.string()),
        )
        return rows.filter(pc.and_(pc.and_(usable, ids[0]), repeated))

    def _first_of_repeated(self, query: Query) -> pa.Table:
        """The one row of each event that came more than once, of those that the question keeps."""
        parts = [part for field in query.stored() for part in field.parts]
        rows = self._rows_of_repeated([p.name if isinstance(p, Column) else p.column for p in parts])
        time = self.mapping["timestamp"]
        order = [self.mapping.get(name, name) for name in ORDER[1:]]
        keys = [
            utc_time(rows.column(time), time, self.zone),
            *(rows.column(n) for n in order if n in self.schema),
        ]
        once = first_of_each(rows.column(self.mapping["uuid"]), keys)
        rows = rows if once is None else rows.filter(pa.array(once))
        if query.events is None:
            return rows
        names = as_text(rows.column(self.mapping["event"])).cast(pa.string())
        return rows.filter(pc.is_in(names, value_set=pa.array(query.events, pa.string())))

    def _finished(
        self, rows: pa.Table, query: Query, places: Mapping[Json, str], odd: Mapping[str, str]
    ) -> pa.Table:
        """The fields of the question from what was collected."""
        columns = {name: rows.column(name) for name in rows.column_names}
        extracted = {part: columns.pop(name) for part, name in places.items()}
        for column, name in odd.items():
            parts = [part for part in places if part.column == column]
            texts = patched(
                [as_text(extracted[p]) for p in parts], columns.pop(name), [p.path for p in parts]
            )
            extracted |= zip(parts, texts, strict=True)
        time = self.mapping["timestamp"]
        columns[time] = utc_time(columns[time], time, self.zone)
        kept = _inside(columns[time].cast(pa.int64()), query)
        if kept is not None:
            columns = {name: column.filter(kept) for name, column in columns.items()}
            extracted = {part: column.filter(kept) for part, column in extracted.items()}
        return answer(
            query,
            columns,
            ids=self.id_columns(),
            identities=self.identities,
            distinct_id=self.mapping["distinct_id"],
            extracted=extracted,
            zone=self.zone,
        )

    def _counted_here(self) -> dict[str, int]:
        """Events by name, of rows that were read here."""
        field = Field("event", (Column(self.mapping["event"]),))
        (table,) = self.batches(Query((field,), None, None, None, (), field))
        counts = table.column("event").cast(pa.string()).value_counts().to_pylist()
        named = {item["values"]: int(item["counts"]) for item in counts if item["values"] is not None}
        return dict(sorted(named.items(), key=lambda item: (-item[1], item[0])))

    def _narrow(self, query: Query, dialect: str | None) -> tuple[Any, dict[Json, str], dict[str, str]]:
        """The rows and columns a question needs, and where JSON values and odd documents are."""
        columns: dict[str, None] = dict.fromkeys([self.mapping["timestamp"], *self.id_columns()])
        parts: dict[Json, str] = {}
        for field in query.stored():
            for part in field.parts:
                if isinstance(part, Column):
                    columns[part.name] = None
                elif can_take(self.native, part, dialect):
                    parts.setdefault(part, f"canarykit_found_{len(parts)}")
                else:
                    columns[part.column] = None
        filtered = self.table.filter(*self._conditions(query))
        documents = dict.fromkeys(part.column for part in parts)
        odd = {column: f"canarykit_odd_{at}" for at, column in enumerate(documents)}
        narrowed = filtered.select(*dict.fromkeys([*columns, *documents])).to_native()
        if parts:
            narrowed = take_json(narrowed, parts, tuple(columns), dialect, odd)
            inside = [(field.parts, allowed) for field, allowed in query.where if not field.lookup]
            single = [(names[0], allowed) for names, allowed in inside if len(names) == 1]
            wanted = [(parts[p], odd[p.column], allowed) for p, allowed in single if isinstance(p, Json)]
            narrowed = keep_matching(narrowed, wanted)
        return narrowed, parts, odd

    def _usable(self) -> list[Any]:
        """Conditions that hold for every event of any answer, as far as the table can tell."""
        import narwhals as nw

        event, time = self.mapping["event"], self.mapping["timestamp"]
        return [nw.col(event) != "$snapshot", ~nw.col(time).is_null(), self._somebody()]

    def _somebody(self) -> Any:
        """Whether a row names anybody."""
        import narwhals as nw

        anyone = None
        for name in self.id_columns():
            has_id = ~nw.col(name).is_null()
            if self.schema[name] == nw.String:
                has_id = has_id & (nw.col(name).str.strip_chars() != "")
            elif self.schema[name].is_float():
                has_id = has_id & ~nw.col(name).is_nan()
            anyone = has_id if anyone is None else anyone | has_id
        return anyone

    def _conditions(self, query: Query) -> list[Any]:
        import narwhals as nw

        event, time = nw.col(self.mapping["event"]), self.mapping["timestamp"]
        kept = [event != "$snapshot" if query.events is None else event.is_in(list(query.events))]
        kind = self.schema[time]
        zone = self.zone if getattr(kind, "time_zone", None) is None else kind.time_zone
        if isinstance(kind, nw.Datetime) and zone == "UTC":  # polars compares times of one zone only
            for bound, late in ((query.since, True), (query.until, False)):
                if bound is not None:
                    moment = _moment(bound, aware=kind.time_zone is not None)
                    kept.append(nw.col(time) >= moment if late else nw.col(time) < moment)
        if self._repeated and len(self._repeated) <= _MOST_LISTED:
            uuid = nw.col(self.mapping["uuid"]).cast(nw.String)
            kept.append(uuid.is_null() | ~uuid.is_in(list(self._repeated)))
        for field, allowed in query.where:
            plain = len(field.parts) == 1 and isinstance(field.parts[0], Column) and not field.lookup
            if not plain or field.is_person or field.is_time:
                continue
            column = field.parts[0].name  # type: ignore[union-attr]
            if allowed is PRESENT:
                kept.append(~nw.col(column).is_null())
            elif self.schema[column] == nw.String and None not in allowed:
                kept.append(nw.col(column).is_in(list(allowed)))
        return kept


def open_narwhals(table: Any, mapping: Mapping[str, str], identities: Identities, tz: str | None) -> Opened:
    """Check columns and times, read merges where nothing else says who is who."""
    try:
        engine = NarwhalsEngine(table, mapping, identities, tz)
    except TypeError:
        raise DataError(
            f"{type(table).__name__} is not a table of events; expected a pandas frame, a DuckDB relation, "
            "a Spark data frame, or a table that narwhals reads"
        ) from None
    check_columns(engine.columns, mapping)
    _check_times(engine)
    notes: list[Note] = []
    if mapping["person_id"] not in engine.columns:
        if is_bound(table):
            engine.identities, notes = merges(engine, mapping, identities)
        notes += [stand_ins()] if identities is None else []
    return Opened(engine, tuple(notes))


def _check_times(engine: NarwhalsEngine) -> None:
    """Refuse times that cannot be told; only texts, and local times of a zone, are fetched for it."""
    import narwhals as nw

    column, zone = engine.mapping["timestamp"], engine.zone
    kind = engine.schema[column]
    if isinstance(kind, nw.Datetime):
        if kind.time_zone is not None or zone == "UTC":
            return
        if zone is None:
            if len(
                _collect(engine.table.filter(~nw.col(column).is_null()).select(column).head(1).to_native())
            ):
                raise naive_error(column)
            return
    if is_bound(engine.native):
        read_times(_collect(engine.table.select(column).to_native()).column(column), column, zone)


def _collect(native: Any) -> pa.Table:
    import narwhals as nw

    return nw.from_native(native).lazy().collect("pyarrow").to_native()


def _is_nested(kind: Any) -> bool:
    import narwhals as nw

    return isinstance(kind, nw.Struct | nw.List | nw.Array)


def _flags(mask: pa.ChunkedArray) -> np.ndarray:
    return pc.fill_null(mask, False).to_numpy().astype(bool)


def _moment(bound: int, *, aware: bool) -> datetime:
    moment = pd.Timestamp(bound, unit="us", tz="UTC").to_pydatetime()
    return moment if aware else moment.replace(tzinfo=None)


def _inside(at: pa.ChunkedArray, query: Query) -> pa.ChunkedArray | None:
    """Rows with a time, inside the window; None if that is all of them."""
    kept = pc.is_valid(at)
    for bound, keep in ((query.since, pc.greater_equal), (query.until, pc.less)):
        if bound is not None:
            kept = pc.and_(kept, pc.fill_null(keep(at, bound), False))
    return None if pc.all(kept).as_py() in {True, None} else kept
