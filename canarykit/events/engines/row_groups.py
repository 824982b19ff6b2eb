"""Plain Parquet columns straight from their row groups: filtered group by group, events kept as codes.

Only for questions without JSON, joins or duplicates; everything else goes through SQL.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from canarykit.errors import DataError, NaiveTimestampError
from canarykit.events.clock import UTC_TIME
from canarykit.events.engine import empty_table
from canarykit.events.engines.answer import IDS, answer, utc_time
from canarykit.events.engines.schemas import conflicts_of, kind_of_type, text_sql
from canarykit.events.fields import Column, Field, Query
from canarykit.events.locations import ExportFile, Fingerprint, hive_columns
from canarykit.events.mapping import lacks_columns
from canarykit.events.remembered.block import Block
from canarykit.events.text import as_text
from canarykit.parallel import ahead

_READABLE = (
    pa.types.is_string, pa.types.is_large_string, pa.types.is_boolean, pa.types.is_integer,
    pa.types.is_floating, pa.types.is_dictionary, pa.types.is_null,
)  # fmt: skip


@dataclass(frozen=True)
class PlainPlan:
    """What to read of every row group."""

    query: Query  # the question
    # columns of the event name and the time
    event: str
    time: str
    ids: tuple[str, ...]  # columns that say who an event belongs to, in turn; none if nobody asks
    complete: bool  # whether the first of them misses no value
    columns: tuple[str, ...]  # all columns to read


@dataclass(frozen=True, eq=False)
class RowGroups:
    """The row groups of Parquet files with one schema."""

    files: tuple[ExportFile, ...]  # the files
    schema: pa.Schema | None  # their schema; None if they differ, so that SQL has to reconcile them
    metadata: tuple[Any, ...]  # footer of each file
    schemas: tuple[pa.Schema, ...]  # schema of each file
    conflicts: frozenset[str]  # columns whose types differ so much that only their texts go together
    seen: tuple[Fingerprint | None, ...] = ()  # which version of each file was opened

    @classmethod
    def open(cls, files: Sequence[ExportFile]) -> RowGroups:
        """Read the footers."""
        seen = tuple(file.fingerprint() for file in files)
        footers = [_opened(file) for file in files]
        schemas = tuple(footer.schema_arrow.remove_metadata() for footer in footers)
        same = all(schema.equals(schemas[0]) for schema in schemas)
        hive = any(hive_columns(file.path) for file in files)
        schema = schemas[0] if same and not hive else None
        metadata = tuple(footer.metadata for footer in footers)
        return cls(tuple(files), schema, metadata, schemas, conflicts_of(schemas), seen)

    def blocks(self, time: str) -> tuple[Block, ...]:
        """Every row group, with the first and last time that its footer states."""
        blocks = []
        for at, footer in enumerate(self.metadata):
            for group in range(footer.num_row_groups):
                row_group = footer.row_group(group)
                blocks.append(Block(at, group, row_group.num_rows, *_times(row_group, time)))
        return tuple(blocks)

    @property
    def names(self) -> tuple[str, ...]:
        """Columns of any file."""
        return tuple(dict.fromkeys(name for schema in self.schemas for name in schema.names))

    @property
    def n_rows(self) -> int:
        """Rows of all files."""
        return sum(footer.num_rows for footer in self.metadata)

    def column(self, name: str) -> Iterator[pa.ChunkedArray]:
        """One column, a row group at a time."""
        for file, footer in zip(self.files, self.metadata, strict=True):
            opened = _opened(file)
            for group in range(footer.num_row_groups):
                yield opened.read_row_group(group, columns=[name]).column(0)

    def names_of(self, at: int) -> list[str]:
        """Columns of one file."""
        return list(self.schemas[at].names)

    def as_texts(self, at: int) -> dict[str, str]:
        """SQL for the columns of one file that only go together with those of others as texts."""
        schema = self.schemas[at]
        return {n: text_sql(n, schema.field(n).type) for n in schema.names if n in self.conflicts}

    def dataset(self, at: int) -> Any:
        """One file as a dataset that DuckDB can read."""
        from pyarrow import dataset

        file = self.files[at]
        return dataset.dataset(file.path, filesystem=file.filesystem, format="parquet")

    def check(self, mapping: Mapping[str, str], zone: str | None, renamed: Mapping[str, str]) -> None:
        """Refuse columns that SQL cannot tell apart, and local times beside moments."""
        seen: dict[str, str] = {}
        for name in self.names:
            if seen.setdefault(name.lower(), name) != name:
                raise DataError(
                    f"the events have the columns {seen[name.lower()]!r} and {name!r}, which differ in "
                    "capitals only and cannot be told apart on disk; use read_posthog, or rename one"
                )
        back = {new: name for name, new in renamed.items()}
        time = back.get(mapping["timestamp"], mapping["timestamp"])
        kinds: dict[str, str] = {}
        for file, schema in zip(self.files, self.schemas, strict=True):
            if time in schema.names:
                kinds.setdefault(kind_of_type(schema.field(time).type), file.name)
        if {"moment", "local time"} <= set(kinds) and zone != "UTC":
            raise NaiveTimestampError(
                f"column {time!r} holds times without a time zone in {kinds['local time']}, and with one in "
                f"{kinds['moment']}; pass tz='UTC' if they are UTC, else give all of them a zone"
            )
        self._check_shape(
            {*(back.get(mapping[name], mapping[name]) for name in ("event", "timestamp"))}, mapping
        )

    def _check_shape(self, needed: set[str], mapping: Mapping[str, str]) -> None:
        """Refuse files of another kind among the events, as reading them would."""
        for file, schema, footer in zip(self.files, self.schemas, self.metadata, strict=True):
            present = {*schema.names, *hive_columns(file.path)}
            if footer.num_rows and len(self.files) > 1 and not needed <= present:
                lacking = min(needed - present)
                raise lacks_columns(file.name, lacking, sorted(present), mapping)

    def plan(self, query: Query, mapping: Mapping[str, str], zone: str | None) -> PlainPlan | None:
        """How to answer by reading plain columns; None where that is not enough."""
        if self.schema is None:
            return None
        time = self.schema.field(mapping["timestamp"]).type
        if not pa.types.is_timestamp(time) or (time.tz is None and zone != "UTC"):
            return None
        if query.events is not None and "$snapshot" in query.events:
            return None
        windowed = query.since is not None or query.until is not None
        columns = dict.fromkeys([mapping["event"]])
        if windowed or any(self._statistics(mapping["timestamp"], "null_count") or [1]):
            columns[mapping["timestamp"]] = None  # else every row has one, and nobody asks which
        for field in query.stored():
            for part in field.parts:
                if not isinstance(part, Column) or not self._readable(part.name, field):
                    return None
                if not field.is_person:
                    columns[part.name] = None
        ids = [mapping[name] for name in ("person_id", "distinct_id") if mapping[name] in self.schema.names]
        complete = self.complete(ids[0])
        if complete:
            ids = ids[:1] if any(field.is_person for field in query.stored()) else []
        columns |= dict.fromkeys(ids)
        return PlainPlan(query, mapping["event"], mapping["timestamp"], tuple(ids), complete, tuple(columns))

    def misses_nothing(self, mapping: Mapping[str, str]) -> bool:
        """Whether the footers say that every row has a name, a moment and an id."""
        if self.schema is None:
            return False
        names = self.schema.names
        time, event = mapping["timestamp"], mapping["event"]
        ids = [mapping[name] for name in ("person_id", "distinct_id") if mapping[name] in names]
        if not {time, event} <= set(names) or not pa.types.is_timestamp(self.schema.field(time).type):
            return False
        counted = [self._statistics(name, "null_count") for name in (event, time)]
        return all(counts is not None and not any(counts) for counts in counted) and any(
            map(self.complete, ids)
        )

    def may_hold(self, name: str, value: str) -> bool:
        """Whether a column of texts may hold a value, as far as the footers tell."""
        lowest, highest = self._statistics(name, "min"), self._statistics(name, "max")
        if lowest is None or highest is None or None in lowest or None in highest:
            return True
        return any(str(low) <= value <= str(high) for low, high in zip(lowest, highest, strict=True))

    def estimated_bytes(self, columns: Sequence[str]) -> float:
        """Bytes of these columns once decoded, at most: the sizes that the footers state."""
        wanted = set(columns)
        total = 0
        for footer in self.metadata:
            for group in range(footer.num_row_groups):
                row_group = footer.row_group(group)
                for column in range(row_group.num_columns):
                    chunk = row_group.column(column)
                    if chunk.path_in_schema.partition(".")[0] in wanted:
                        total += max(chunk.total_uncompressed_size, 2 * row_group.num_rows)
        return float(total)

    def event_names(self, plan: PlainPlan) -> dict[str, int]:
        """How many kept rows there are of each name, most frequent first."""
        counts: Counter[str] = Counter()
        for table in self.tables(plan):
            for chunk in table.column("event").chunks:
                numbers = np.bincount(chunk.indices.to_numpy(), minlength=len(chunk.dictionary))
                counts.update(dict(zip(chunk.dictionary.to_pylist(), numbers.tolist(), strict=True)))
        return dict(sorted((+counts).items(), key=lambda pair: (-pair[1], pair[0])))

    def table(self, plan: PlainPlan) -> pa.Table:
        """All kept rows as one table."""
        tables = list(self.tables(plan)) or [empty_table(plan.query.stored())]
        return pa.concat_tables(tables).unify_dictionaries()

    def tables(self, plan: PlainPlan) -> Iterator[pa.Table]:
        """Kept rows of every row group that has any, in order, read by all processors."""
        jobs = [
            (file, group)
            for file, footer in zip(self.files, self.metadata, strict=True)
            for group in range(footer.num_row_groups)
            if self._may_match(footer.row_group(group), plan)
        ]
        texts = [name for name in plan.columns if self._is_dictionary_worth(name, plan)]
        local = threading.local()

        def read(number: int) -> pa.Table | None:
            file, group = jobs[number]
            opened = getattr(local, "files", None)
            if opened is None:
                opened = local.files = {}
            if file.path not in opened:
                opened.clear()
                opened[file.path] = _opened(file, read_dictionary=texts, memory_map=False)
            return _kept(opened[file.path], group, plan)

        yield from (table for table in ahead(read, len(jobs), None) if table is not None)

    def _readable(self, name: str, field: Field) -> bool:
        assert self.schema is not None
        kind = self.schema.field(name).type
        if field.is_time:
            return pa.types.is_timestamp(kind) and (kind.tz is not None or field.name == "timestamp")
        return any(check(kind) for check in _READABLE)

    def _is_dictionary_worth(self, name: str, plan: PlainPlan) -> bool:
        assert self.schema is not None
        kind = self.schema.field(name).type
        ids = {*plan.ids, *(p.name for f in plan.query.stored() if f.name in IDS for p in f.parts)}  # type: ignore[union-attr]
        return name not in ids and (pa.types.is_string(kind) or pa.types.is_large_string(kind))

    def complete(self, name: str) -> bool:
        """Whether the footers say that a column misses no value and is no empty text."""
        assert self.schema is not None
        if not pa.types.is_integer(self.schema.field(name).type):
            lowest = self._statistics(name, "min")
            if lowest is None or any(value is None or str(value)[:1] <= " " for value in lowest):
                return False  # a blank id may be among them
        counts = self._statistics(name, "null_count")
        return counts is not None and not any(counts)

    def _statistics(self, name: str, what: str) -> list[Any] | None:
        bounds = []
        for footer in self.metadata:
            position = footer.schema.to_arrow_schema().get_field_index(name)
            for group in range(footer.num_row_groups):
                chunk = footer.row_group(group).column(position)
                statistics = chunk.statistics if chunk.path_in_schema == name else None
                if statistics is None or (what == "null_count" and not statistics.has_null_count):
                    return None
                if what in {"min", "max"} and not statistics.has_min_max:
                    return None
                bounds.append(getattr(statistics, what))
        return bounds

    def _may_match(self, row_group: Any, plan: PlainPlan) -> bool:
        """Whether the times of a row group reach into the window."""
        since, until = plan.query.since, plan.query.until
        if since is None and until is None:
            return True
        return Block(0, 0, 0, *_times(row_group, plan.time)).reaches(since, until)


def _opened(file: ExportFile, **options: Any) -> pq.ParquetFile:
    return pq.ParquetFile(file.path if file.filesystem is None else file.open(), **options)


def _times(row_group: Any, time: str) -> tuple[int | None, int | None]:
    """First and last time of a row group, where its footer states them."""
    for column in range(row_group.num_columns):
        chunk = row_group.column(column)
        if chunk.path_in_schema == time and chunk.statistics and chunk.statistics.has_min_max:
            return _micros(chunk.statistics.min), _micros(chunk.statistics.max)
    return None, None


def _micros(value: Any) -> int:
    return pa.scalar(value, pa.timestamp("us") if value.tzinfo is None else UTC_TIME).value


def _kept(file: pq.ParquetFile, group: int, plan: PlainPlan) -> pa.Table | None:
    """Rows of one row group that the question keeps; the other columns are read only if it names an event."""
    query = plan.query
    event = as_text(file.read_row_group(group, columns=[plan.event], use_threads=False).column(0))
    event = event if pa.types.is_dictionary(event.type) else event.dictionary_encode()
    wanted = [_wanted(chunk, query.events) for chunk in event.chunks]
    if not any(any(names) for names in wanted):
        return None
    rest = [name for name in plan.columns if name != plan.event]
    others = file.read_row_group(group, columns=rest, use_threads=False)
    columns = {plan.event: event} | {name: others.column(name) for name in rest}
    kept = _rows(columns, wanted, plan)
    if kept is not None and not kept.all():
        mask = pa.array(kept)
        columns = {name: column.filter(mask) for name, column in columns.items()}
    table = answer(query, columns, ids=plan.ids, complete=plan.complete, zone="UTC")
    return table if table.num_rows else None


def _wanted(chunk: pa.DictionaryArray, events: tuple[str, ...] | None) -> list[bool]:
    """Which names of a chunk's dictionary are kept."""
    names = chunk.dictionary.to_pylist()
    if events is None:
        return [name is not None and name != "$snapshot" for name in names]
    return [name is not None and name in events for name in names]


def _rows(columns: Mapping[str, Any], wanted: list[list[bool]], plan: PlainPlan) -> np.ndarray | None:
    """Mask of the rows to keep; None for all. Rows without a time never are."""
    query, event, kept = plan.query, columns[plan.event], None
    if plan.time in columns:
        time = utc_time(columns[plan.time], plan.time, "UTC")
        kept = pc.is_valid(time).to_numpy() if time.null_count else None
    if query.exact or query.events is None:
        masks = [_named(*pair) for pair in zip(event.chunks, wanted, strict=True)]
        if not all(mask is None for mask in masks):
            kept = _both(kept, _joined(masks, event))
    if query.exact and (query.since is not None or query.until is not None):
        at = pc.fill_null(time.cast(pa.int64()), 0).to_numpy()
        kept = _both(kept, None if query.since is None else at >= query.since)
        kept = _both(kept, None if query.until is None else at < query.until)
    return kept


def _named(chunk: pa.DictionaryArray, wanted: list[bool]) -> np.ndarray | None:
    """Which events of a chunk have a name that is kept; None if all have."""
    if chunk.null_count == 0:
        return None if all(wanted) else np.array(wanted)[chunk.indices.to_numpy()]
    return np.array([*wanted, False])[pc.fill_null(chunk.indices, len(wanted)).to_numpy()]


def _joined(masks: list[np.ndarray | None], event: pa.ChunkedArray) -> np.ndarray:
    pairs = zip(masks, event.chunks, strict=True)
    return np.concatenate([np.ones(len(c), bool) if mask is None else mask for mask, c in pairs])


def _both(one: np.ndarray | None, other: np.ndarray | None) -> np.ndarray | None:
    return other if one is None else one if other is None else one & other
