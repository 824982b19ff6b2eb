"""Which engine a table gets, and what has to be settled before a pandas frame can answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from canarykit.display import Note
from canarykit.errors import DataError, did_you_mean
from canarykit.events.clock import UTC_TIME, read_times
from canarykit.events.engine import Engine
from canarykit.events.engines.pandas import FrameEngine
from canarykit.events.fields import Query, Resolver
from canarykit.events.merges import MERGE_COLUMNS, MERGE_EVENTS, merged_ids
from canarykit.events.text import frame_column, id_text, value_text

if TYPE_CHECKING:
    from canarykit.events.log import EventLog

__all__ = ["Opened", "check_columns", "merges", "open_engine", "sample_property_names", "to_frame"]

Identities = tuple[pa.Array, pa.Array] | None


@dataclass(frozen=True)
class Opened:
    """An engine, and what the reader must know about how it was opened."""

    engine: Engine
    notes: tuple[Note, ...] = ()


def open_engine(source: Any, mapping: Mapping[str, str], identities: Identities, *, tz: Any) -> Opened:
    """The engine of a frame, relation or table."""
    if isinstance(source, pd.DataFrame):
        return _open_frame(source, mapping, identities, tz)
    if hasattr(source, "open_engine"):  # files that stay on disk
        return source.open_engine(mapping, identities, tz)
    home = type(source).__module__.partition(".")[0]
    if home in {"duckdb", "_duckdb"}:
        from canarykit.events.engines.duckdb import open_relation

        return open_relation(source, mapping, identities, tz)
    if home == "pyspark":
        from canarykit.events.engines.spark import open_spark

        return open_spark(source, mapping, identities, tz)
    if home == "pyarrow" or (home == "polars" and type(source).__name__ == "DataFrame"):
        return _open_frame(to_frame(source), mapping, identities, tz)
    from canarykit.events.engines.narwhals import open_narwhals

    return open_narwhals(source, mapping, identities, tz)


def to_frame(source: Any) -> pd.DataFrame:
    """Anything that becomes a pandas frame."""
    if isinstance(source, pd.DataFrame):
        return source
    for convert in ("to_pandas", "df", "toPandas", "execute"):
        if hasattr(source, convert):
            return getattr(source, convert)()
    raise DataError(f"{type(source).__name__} is no table; expected a pandas frame or something like one")


def check_columns(columns: tuple[str, ...], mapping: Mapping[str, str], what: str = "the events") -> None:
    """Refuse a table without event, time or any id, naming what is there and the likely slip."""
    for name in ("event", "timestamp"):
        if mapping[name] not in columns:
            raise DataError(f"{what} lack {mapping[name]!r}; {did_you_mean(mapping[name], columns)}")
    if mapping["distinct_id"] not in columns and mapping["person_id"] not in columns:
        raise DataError(
            f"{what} lack {mapping['distinct_id']!r} and {mapping['person_id']!r}; "
            + did_you_mean(mapping["distinct_id"], columns)
        )


def _open_frame(frame: pd.DataFrame, mapping: Mapping[str, str], identities: Identities, tz: Any) -> Opened:
    columns = tuple(map(str, frame.columns))
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise DataError(f"the events have two columns {twice!r}; rename one")
    check_columns(columns, mapping)
    notes: list[Note] = []
    times, naive = read_times(frame[mapping["timestamp"]], mapping["timestamp"], tz)
    if naive:
        notes.append(Note("naive_times", f"times without a zone were read as {tz}", naive))
    read = {"timestamp": times}
    if "created_at" in columns:
        read["created_at"] = _created(frame["created_at"], tz)
    keep, dropped = _usable(frame, mapping, times)
    notes += dropped
    if not keep.all():
        frame = frame[keep]
        read = {name: column.filter(pa.array(keep)) for name, column in read.items()}
    if mapping["properties"] in columns:
        frame, more = _readable(frame, mapping["properties"])
        notes += more
    engine = FrameEngine(frame, mapping, read, identities)
    if mapping["person_id"] in columns:
        notes += _floats(frame, mapping["person_id"])
    if identities is None and mapping["person_id"] not in columns:
        engine.identities, more = merges(engine, mapping)
        notes += more
    notes += _stand_ins(engine, mapping)
    return Opened(engine, tuple(notes))


def merges(engine: Engine, mapping: Mapping[str, str]) -> tuple[Identities, list[Note]]:
    """Merges read from the events, for a log with neither person ids nor persons."""
    resolver = Resolver(engine.columns, mapping, False, (), {})
    fields = tuple(resolver.field(name) for name in MERGE_COLUMNS)
    query = Query(fields, MERGE_EVENTS, None, None, (), resolver.field("distinct_id"))
    parts = [part.select(list(MERGE_COLUMNS)) for part in engine.batches(query)]
    rows = [part.to_pandas() for part in parts if part.num_rows]
    if not rows:
        return None, []
    found, done, refused = merged_ids(pd.concat(rows))
    notes = []
    if done:
        notes.append(Note("merged", "distinct ids were joined to a person by $identify or an alias", done))
    if refused:
        notes.append(Note("merge_refused", "merges were refused, as PostHog refuses them", refused))
    return found, notes


def _created(series: pd.Series, tz: Any) -> pa.ChunkedArray:
    try:
        return read_times(series, "created_at", tz or "UTC")[0]
    except DataError:
        return pa.chunked_array([pa.nulls(len(series), UTC_TIME)])


def _usable(
    frame: pd.DataFrame, mapping: Mapping[str, str], times: pa.ChunkedArray
) -> tuple[np.ndarray, list[Note]]:
    """Which rows can be used, and a note for every reason why some cannot."""
    ids = [mapping[name] for name in ("person_id", "distinct_id") if mapping[name] in frame.columns]
    names = frame[mapping["event"]]
    somebody = np.any([_has_id(frame[name]) for name in ids], axis=0)
    checks = (
        ("no_event_name", "events without a name were dropped", names.notna().to_numpy()),
        ("snapshots", "$snapshot events were dropped: replay data", (names != "$snapshot").to_numpy()),
        ("no_time", "events without a time that can be read were dropped", pc.is_valid(times).to_numpy()),
        ("no_id", "events without any id were dropped", somebody),
    )
    keep = np.ones(len(frame), dtype=bool)
    notes = []
    for code, text, good in checks:
        good = np.asarray(good, dtype=bool)
        if lost := int((keep & ~good).sum()):
            notes.append(Note(code, text, lost))
        keep &= good
    return keep, notes


def _has_id(column: pd.Series) -> np.ndarray:
    """Which rows name somebody; an empty text does not."""
    known = column.notna().to_numpy()
    if pd.api.types.is_numeric_dtype(column.dtype):
        return known
    return known & column.ne("").to_numpy(dtype=bool, na_value=False)


def _readable(frame: pd.DataFrame, column: str) -> tuple[pd.DataFrame, list[Note]]:
    """Count JSON that does not parse; its properties are unknown, the event stays."""
    from canarykit.events.sql import connect

    text = frame_column(frame[column])
    if not (pa.types.is_string(text.type) or pa.types.is_large_string(text.type)):
        if frame[column].dtype == object:  # objects: written once, instead of at every question
            frame = frame.copy(deep=False)
            frame[column] = [value_text(value) for value in frame[column].tolist()]
        return frame, []
    with connect() as connection:
        connection.register("documents", pa.table({"document": text}))
        found = connection.execute("SELECT count(*) FROM documents WHERE NOT json_valid(document)").fetchone()
    broken = int(found[0]) if found else 0
    notes = [Note("bad_json", "events whose properties are no JSON: all unknown", broken)]
    return frame, notes if broken else []


def _floats(frame: pd.DataFrame, column: str) -> list[Note]:
    if not pd.api.types.is_float_dtype(frame[column].dtype):
        return []
    id_text(frame_column(frame[column]), column)  # refuses lost digits at once
    gaps = int(frame[column].isna().sum())
    text = f"gaps in {column!r} had made its ids floats; they are read without '.0'"
    return [Note("float_ids", text, gaps)] if gaps else []


def _stand_ins(engine: FrameEngine, mapping: Mapping[str, str]) -> list[Note]:
    """How many events have no person id, so that the distinct id stands in."""
    frame, person = engine.frame, mapping["person_id"]
    missing = frame[person].isna() if person in frame.columns else pd.Series(True, index=frame.index)
    if engine.identities is not None and mapping["distinct_id"] in frame.columns and missing.any():
        known = id_text(frame_column(frame[mapping["distinct_id"]]), mapping["distinct_id"])
        missing = missing & ~pc.is_in(known.cast(pa.string()), value_set=engine.identities[0]).to_numpy()
    count = int(missing.sum())
    if not count:
        return []
    return [Note("distinct_id_used", "events without a person id: the distinct id stands in", count)]


def sample_property_names(log: EventLog, sample: int) -> tuple[str, ...]:
    """Columns that are properties, and keys found in the JSON of the first events."""
    canonical = {*log.mapping.values(), "uuid", "created_at", "person_properties", "_inserted_at"}
    names = dict.fromkeys(name for name in log.columns if name not in canonical)
    if log.mapping["properties"] in log.columns:
        for part in log.batches(["properties"]):
            for text in part.column("properties").slice(0, sample).to_pylist():
                try:
                    found = json.loads(text or "{}")
                except json.JSONDecodeError:
                    continue
                names |= dict.fromkeys(found if isinstance(found, dict) else ())
            break
    return tuple(names)
