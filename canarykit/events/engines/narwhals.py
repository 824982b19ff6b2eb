"""Any table narwhals reads: ibis (and through it warehouses), polars, dask, sqlframe and others.

Rows and columns are narrowed where the table is; for ibis tables also the values inside JSON, by the
function of the database. What comes back is finished here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pandas as pd
import pyarrow as pa

from canarykit.display import Note
from canarykit.errors import DataError, NaiveTimestampError
from canarykit.events.engine import Engine, split_by_actor
from canarykit.events.engines.answer import answer, utc_time
from canarykit.events.engines.warehouse import can_take, is_bound, is_ibis, keep_matching, take_json, to_sql
from canarykit.events.fields import PRESENT, Column, Json, Query
from canarykit.events.open import Identities, Opened, check_columns, merges

__all__ = ["NarwhalsEngine", "open_narwhals"]

_SHARD_BYTES = 2e9


class NarwhalsEngine(Engine):
    """A table behind narwhals.

    Parameters
    ----------
    table
        The table, as its library has it.
    mapping
        Canonical name to column.
    identities
        Who a distinct id is, or None.
    zone
        Zone of times that carry none.
    """

    name = "narwhals"

    def __init__(
        self, table: Any, mapping: Mapping[str, str], identities: Identities, zone: str | None
    ) -> None:
        import narwhals

        self.native = table
        self.table: Any = narwhals.from_native(table).lazy()
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
        native, places = self._narrow(query, None)
        rows = _collect(native)
        columns = {name: rows.column(name) for name in rows.column_names}
        found = {part: columns.pop(name) for part, name in places.items()}
        time = self.mapping["timestamp"]
        columns[time] = utc_time(columns[time], time, self.zone)
        at = columns[time].cast(pa.int64())
        kept = _inside(at, query)
        if kept is not None:
            columns = {name: column.filter(kept) for name, column in columns.items()}
            found = {part: column.filter(kept) for part, column in found.items()}
        yield answer(
            query,
            columns,
            ids=self._id_columns(),
            identities=self.identities,
            distinct_id=self.mapping["distinct_id"],
            found=found,
            zone=self.zone,
        )

    def event_names(self) -> dict[str, int]:
        """Counted where the events are."""
        import narwhals as nw

        event = nw.col(self.mapping["event"]).cast(nw.String).alias("name")
        counted = _collect(self.table.select(event).group_by("name").agg(nw.len().alias("n")).to_native())
        rows = zip(counted.column("name").to_pylist(), counted.column("n").to_pylist(), strict=True)
        named = {name: int(n) for name, n in rows if name is not None and name != "$snapshot"}
        return dict(sorted(named.items(), key=lambda item: (-item[1], item[0])))

    def time_range(self) -> tuple[Any, Any]:
        """First and last time."""
        import narwhals as nw

        time = self.mapping["timestamp"]
        usable = self.table.filter(nw.col(self.mapping["event"]) != "$snapshot")
        if not isinstance(self.schema[time], nw.Datetime):
            ends = utc_time(_collect(usable.select(time).to_native()).column(time), time, self.zone)
        else:
            low, high = (getattr(nw.col(time), name)().alias(name) for name in ("min", "max"))
            found = _collect(usable.select(low, high).to_native())
            both = pa.chunked_array([*found.column("min").chunks, *found.column("max").chunks])
            ends = utc_time(both, time, self.zone)
        times = ends.drop_null().to_pandas()
        if not len(times):
            return None, None
        first, last = (pd.Timestamp(at).as_unit("us") for at in (times.min(), times.max()))
        return first, last

    def explain(self, query: Query, dialect: str | None = None) -> str:
        """The SQL of an ibis table, in a dialect if asked for; other libraries say what they print."""
        native, _ = self._narrow(query, dialect)
        return to_sql(native, dialect) if is_ibis(native) else str(native)

    def _narrow(self, query: Query, dialect: str | None) -> tuple[Any, dict[Json, str]]:
        """The table with only the rows and columns a question needs, and the names of its JSON values."""
        columns: dict[str, None] = dict.fromkeys([self.mapping["timestamp"], *self._id_columns()])
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
        narrowed = filtered.select(*dict.fromkeys([*columns, *documents])).to_native()
        if parts:
            narrowed = take_json(narrowed, parts, tuple(columns), dialect)
            inside = [(field.parts, allowed) for field, allowed in query.where if not field.lookup]
            single = [(found[0], allowed) for found, allowed in inside if len(found) == 1]
            wanted = [(parts[part], allowed) for part, allowed in single if isinstance(part, Json)]
            narrowed = keep_matching(narrowed, wanted)
        return narrowed, parts

    def _conditions(self, query: Query) -> list[Any]:
        import narwhals as nw

        event, time = nw.col(self.mapping["event"]), self.mapping["timestamp"]
        kept = [event != "$snapshot" if query.events is None else event.is_in(list(query.events))]
        kind = self.schema[time]
        if isinstance(kind, nw.Datetime) and (kind.time_zone is not None or self.zone == "UTC"):
            for bound, late in ((query.since, True), (query.until, False)):
                if bound is not None:
                    moment = _moment(bound, aware=kind.time_zone is not None)
                    kept.append(nw.col(time) >= moment if late else nw.col(time) < moment)
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

    def _id_columns(self) -> tuple[str, ...]:
        named = (self.mapping[name] for name in ("person_id", "distinct_id"))
        return tuple(name for name in named if name in self.schema)


def open_narwhals(table: Any, mapping: Mapping[str, str], identities: Identities, tz: Any) -> Opened:
    """Check columns and times, read merges where nothing else says who is who."""
    import narwhals as nw

    try:
        engine = NarwhalsEngine(table, mapping, identities, None if tz is None else str(tz))
    except TypeError:
        raise DataError(
            f"{type(table).__name__} is no table of events; expected a pandas frame, a DuckDB relation, "
            "a Spark data frame, or a table that narwhals reads"
        ) from None
    check_columns(engine.columns, mapping)
    kind = engine.schema[mapping["timestamp"]]
    if isinstance(kind, nw.Datetime) and kind.time_zone is None and tz is None:
        raise NaiveTimestampError(
            f"column {mapping['timestamp']!r} holds times without a time zone; "
            "pass tz= (for example tz='UTC') to say which zone they are in"
        )
    notes: list[Note] = []
    if identities is None and mapping["person_id"] not in engine.columns:
        if is_bound(table):
            engine.identities, notes = merges(engine, mapping)
        text = "the events carry no person ids: the distinct id stands in where nothing says who it is"
        notes.append(Note("distinct_id_used", text))
    return Opened(engine, tuple(notes))


def _collect(native: Any) -> pa.Table:
    import narwhals as nw

    return nw.from_native(native).lazy().collect("pyarrow").to_native()


def _moment(bound: int, *, aware: bool) -> datetime:
    moment = pd.Timestamp(bound, unit="us", tz="UTC").to_pydatetime()
    return moment if aware else moment.replace(tzinfo=None)


def _inside(at: pa.ChunkedArray, query: Query) -> pa.ChunkedArray | None:
    """Rows with a time, inside the window; None if that is all of them."""
    import pyarrow.compute as pc

    kept = pc.is_valid(at)
    for bound, keep in ((query.since, pc.greater_equal), (query.until, pc.less)):
        if bound is not None:
            kept = pc.and_(kept, pc.fill_null(keep(at, bound), False))
    return None if pc.all(kept).as_py() in {True, None} else kept
