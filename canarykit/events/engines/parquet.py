"""Files that stay on disk: which engine reads them, and the straight way through plain Parquet columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from inspect import isgeneratorfunction
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from canarykit.display import Note
from canarykit.errors import DataError, ExportFormatError
from canarykit.events.engine import Identities, Opened, Source, check_columns
from canarykit.events.engines.duckdb import DuckDBEngine, open_duckdb
from canarykit.events.engines.duckdb.connections import Connections
from canarykit.events.engines.duckdb.engine import row_bytes
from canarykit.events.engines.json_lines import JsonLines
from canarykit.events.engines.repeats import ORDER
from canarykit.events.engines.row_groups import RowGroups
from canarykit.events.fields import Column, Field, Query
from canarykit.events.locations import ExportFile, hive_columns, reason_of
from canarykit.events.remembered import CacheFolder, LogColumns, cache_folder, layout_of
from canarykit.events.remembered.layout import Layout
from canarykit.events.sql import glob_quoted, quoted
from canarykit.events.text import id_text
from canarykit.events.unusable import dropping_notes
from canarykit.lazy import held_back

KEPT_FROM = 100_000
"""Events from which columns are worth keeping on disk."""

_SEVERAL = 4  # times its rows that a shard takes with all that is made of it
_UNITS = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


@dataclass(frozen=True)
class ExportFiles(Source):
    """Files of one kind, to be opened as an event log."""

    files: tuple[ExportFile, ...]  # the files
    kind: str = "parquet"  # "parquet" or "jsonl"
    deduplicate: bool = True  # whether duplicates by uuid are removed
    memory_limit: str = "2GB"  # about what the rows of one answer may take in memory
    says_utc: bool | None = None  # whether times without a zone are UTC; None leaves that to the columns
    # new names of columns, and columns that go; None keeps them
    naming: Callable[[Sequence[str]], tuple[dict[str, str], tuple[str, ...]]] | None = None
    # whether columns taken out of Parquet are kept on disk for the next look, or the folder for them
    cache: bool | str | PathLike[str] = True

    def open_engine(self, mapping: Mapping[str, str], identities: Identities, tz: str | None) -> Opened:
        """The engine that reads these files."""
        with held_back():
            import duckdb

        options: dict[str, Any] = {
            "tz": tz,
            "says_utc": self.says_utc,
            "deduplicate": self.deduplicate,
            "shard_bytes": _size(self.memory_limit),
        }
        try:
            if self.kind == "jsonl":
                lines = JsonLines.read([file.local() for file in self.files])
                options |= {"empty_rows": lines.n_empty}
                if lines.n_bad:
                    text = "lines that hold no JSON object were dropped"
                    options["notes"] = (Note("bad_lines", text, lines.n_bad),)
                source = self._renamed(lines.sql, lines.keys)
                return open_duckdb(source, Connections(lines.tables), mapping, identities, **options)
            groups = RowGroups.open(self.files)
            source, tables = self._parquet(groups)
            stated = [name for file in self.files for name in hive_columns(file.path)]
            names = tuple(dict.fromkeys([*groups.names, *stated]))
            renamed = self._renamed(source, names)
            if renamed != source:
                source, groups = renamed, replace(groups, schema=None)
            groups.check(
                mapping, tz or ("UTC" if self._all_say_utc(groups) else None), self._new_names(names)
            )
            options |= {"engine": ParquetEngine, "groups": groups, "cache": cache_folder(self.cache)}
            return open_duckdb(source, Connections(tables), mapping, identities, **options)
        except DataError:
            raise
        except (duckdb.Error, pa.ArrowException, OSError) as problem:
            raise _said(problem, self.files, " (cut short or damaged?)") from problem

    def _new_names(self, names: Sequence[str]) -> dict[str, str]:
        renamed, gone = self.naming(names) if self.naming else ({}, ())
        return {name: renamed.get(name, name) for name in names if name not in gone}

    def _renamed(self, source: str, names: Sequence[str]) -> str:
        """The source with the columns of the log's contract, where it names them otherwise."""
        new = self._new_names(names)
        if all(name == other for name, other in new.items()):
            return source
        listed = ", ".join(f"{quoted(name)} AS {quoted(other)}" for name, other in new.items())
        return f"(SELECT {listed} FROM {source})"

    def _all_say_utc(self, groups: RowGroups) -> bool:
        if self.says_utc is not None:
            return self.says_utc
        return {"uuid", "event", "distinct_id", "properties", "timestamp"} <= set(groups.names)

    def _parquet(self, groups: RowGroups) -> tuple[str, dict[str, Any]]:
        """What stands after FROM, and the tables that it knows by name."""
        if all(file.filesystem is None for file in self.files) and not groups.conflicts:
            listed = ", ".join(glob_quoted(file.path) for file in self.files)
            hive = all(hive_columns(file.path) for file in self.files)
            options = (
                "hive_partitioning = true, hive_types_autocast = false"
                if hive
                else "hive_partitioning = false"
            )
            return f"read_parquet([{listed}], union_by_name = true, {options})", {}
        tables = {f"canarykit_file_{at}": groups.dataset(at) for at in range(len(self.files))}
        selects = []
        for at, (name, file) in enumerate(zip(tables, self.files, strict=True)):
            stated = {
                key: "NULL::VARCHAR" if text is None else quoted(text, "'")
                for key, text in hive_columns(file.path).items()
            }
            replaced = groups.as_texts(at) | {
                key: sql for key, sql in stated.items() if key in groups.names_of(at)
            }
            listed = ", ".join(f"{sql} AS {quoted(key)}" for key, sql in replaced.items())
            added = "".join(f", {sql} AS {quoted(key)}" for key, sql in stated.items() if key not in replaced)
            selects.append(f"SELECT *{f' REPLACE ({listed})' if listed else ''}{added} FROM {name}")
        return f"({' UNION ALL BY NAME '.join(selects)})", tables


def _said(problem: Exception, files: Sequence[ExportFile], hint: str = "") -> ExportFormatError:
    """What a reader does not say of itself: which files it was about."""
    listed = ", ".join(file.name for file in files[:5])
    return ExportFormatError(f"{listed} cannot be read{hint}: {reason_of(problem)}")


def _names_files(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method whose failures to read (gone, cut off, refused) become one sentence that names the files."""

    def retold(self: Any, problem: Exception) -> Exception:
        import duckdb

        failed = isinstance(problem, duckdb.Error | pa.ArrowException | OSError)
        return _said(problem, self.groups.files) if failed else problem

    @wraps(method)
    def asked(self: Any, *arguments: Any) -> Any:
        try:
            return method(self, *arguments)
        except Exception as problem:
            raise retold(self, problem) from problem.__cause__

    @wraps(method)
    def streamed(self: Any, *arguments: Any) -> Any:
        try:
            yield from method(self, *arguments)
        except Exception as problem:
            raise retold(self, problem) from problem.__cause__

    return streamed if isgeneratorfunction(method) else asked


class ParquetEngine(DuckDBEngine):
    """Parquet through DuckDB, and straight through its row groups where all columns are plain."""

    def __init__(self, *arguments: Any, groups: RowGroups, cache: Path | None = None, **options: Any) -> None:
        self._narrow: LogColumns | None = None
        super().__init__(*arguments, **options)
        self.groups: RowGroups = groups
        self.cache: Path | None = cache
        self.layout: Layout | None = layout_of(self.mapping, groups.schema, self.zone)
        self.identify(self.identities)

    def identify(self, identities: Identities) -> None:
        """Say who each distinct id is."""
        super().identify(identities)
        if getattr(self, "layout", None) is None:
            return
        assert self.layout is not None
        assert self.groups.schema is not None
        kept = self.cache is not None and self.groups.n_rows >= KEPT_FROM
        before = self._narrow
        self._narrow = LogColumns(
            self.groups.files,
            self.groups.seen,
            self.groups.blocks(self.layout.time),
            self.layout,
            self.groups.schema,
            identities,
            folder=CacheFolder(self.cache, self.layout) if self.cache and kept else None,
            room=self.shard_bytes / 2,
        )
        if before is not None:
            self._narrow.repeated = before.repeated

    @_names_files
    def shards(self, query: Query) -> Iterator[pa.Table]:
        """One table from narrow columns or by the short way if it fits, else cut by actor."""
        plan = self._plain(query)
        if plan is not None and self.groups.estimated_bytes(plan.columns) <= self.shard_bytes:
            yield self.groups.table(plan)
            return
        taken = None if plan is not None else self._taken(query)
        if taken is None:
            yield from super().shards(query)
            return
        narrow, parts = taken
        size = narrow.estimated_rows(query) * row_bytes(query)
        by_person = query.actor.is_person and narrow.folder is not None
        if size > self.shard_bytes and not by_person:
            yield from super().shards(query)
            return
        # cutting costs little here, and what is made of a shard takes several times its size
        count = max(1, math.ceil(_SEVERAL * size / self.shard_bytes)) if by_person else 1
        yield from narrow.shards(query, parts, count)

    @_names_files
    def batches(self, query: Query) -> Iterator[pa.Table]:
        """A table per row group by the short way or from narrow columns, else as DuckDB streams it."""
        plan = self._plain(query)
        taken = None if plan is not None else self._taken(query)
        if plan is not None:
            yield from self.groups.tables(plan)
        elif taken is not None:
            narrow, parts = taken
            yield from narrow.tables(query, parts)
        else:
            yield from super().batches(query)

    def notes(self) -> tuple[Note, ...]:
        """What went wrong with keeping columns."""
        return () if self._narrow is None else self._narrow.notes

    @_names_files
    def event_names(self) -> dict[str, int]:
        """Counted in the column of names where the footers say that all rows count, else as rows are read."""
        if not self._repeats and (self._narrow is None or self.groups.misses_nothing(self.mapping)):
            person = Field("person_id", (), is_person=True)
            name = Field("event", (Column(self.mapping["event"]),))
            plan = self.groups.plan(Query((name,), None, None, None, (), person), self.mapping, self.zone)
            if plan is not None:
                return self.groups.event_names(plan)
        narrow = self._current()
        return super().event_names() if narrow is None else narrow.event_names()

    @_names_files
    def time_range(self) -> tuple[Any, Any]:
        """First and last time, from narrow columns or as DuckDB tells."""
        narrow = self._current()
        if narrow is None:
            return super().time_range()
        bounds = narrow.time_range()
        if bounds is None:
            return None, None
        return tuple(pd.Timestamp(at, unit="us", tz="UTC").as_unit("us") for at in bounds)  # type: ignore[return-value]

    def expect(self, queries: Sequence[Query]) -> None:
        """Say which questions come soon, so that one reading of the documents serves all of them."""
        if (narrow := self._narrow) is not None:
            for query in queries:
                narrow.expect(narrow.layout.parts(query, narrow.schema) or ())

    @_names_files
    def event_properties(self) -> tuple[str, ...]:
        """Keys in the JSON of all events."""
        if (narrow := self._current()) is None:
            return super().event_properties()
        return tuple(sorted({name for facts in narrow.facts() for name in facts.names}))

    @_names_files
    def has_property(self, name: str) -> bool:
        """Whether any event has a key in its JSON; read only as far as it takes to find it."""
        if (narrow := self._current()) is None:
            return super().has_property(name)
        return any(name in names for names in narrow.some_names())

    @_names_files
    def _unreadable(self) -> int:
        """How many events have properties that hold no object."""
        if (narrow := self._current()) is None:
            return super()._unreadable()
        return sum(facts.n_unreadable for facts in narrow.facts()) - narrow.repeated.n_unreadable

    def _taken(self, query: Query) -> tuple[LogColumns, Any] | None:
        """Narrow columns, and what to take of them for a question; None where SQL answers it."""
        narrow = self._current()
        parts = None if narrow is None else narrow.layout.parts(query, narrow.schema)
        return None if narrow is None or parts is None else (narrow, parts)

    def _current(self) -> LogColumns | None:
        """Narrow columns that say what the files say: they know of repeats, and no file has changed."""
        narrow = self._narrow
        if narrow is None or self._repeats != narrow.repeated.count or not narrow.is_current():
            return None
        return narrow

    @cached_property
    def _repeats(self) -> int:
        """How many rows repeat an event: by the hashes of narrow columns, else as DuckDB counts them."""
        narrow = self._narrow
        if (
            narrow is None
            or not self.deduplicate
            or self.mapping["uuid"] not in self.types
            or self._is_too_long_to_compare
            or not narrow.is_current()
        ):
            return super()._repeats
        order = [self.mapping.get(name, name) for name in ORDER[1:]]
        repeated = narrow.find_repeats(self.mapping["uuid"], [name for name in order if name in self.types])
        if repeated.count:
            self.connection.add("canarykit_twice", pa.table({"uuid": repeated.uuids.unique()}))
        return repeated.count

    @property
    def _is_too_long_to_compare(self) -> bool:
        """Whether the hashes of all uuids are too many to hold, or uuids are not text."""
        too_many = 8 * self.groups.n_rows > self.shard_bytes
        return too_many or self.types[self.mapping["uuid"]] != "VARCHAR" or self.groups.schema is None

    def is_complete(self, column: str) -> bool:
        """Whether the footers say that a column of whole numbers misses no value."""
        return super().is_complete(column) or (
            self.types[column].endswith("INT")
            and self.groups.schema is not None
            and self.groups.complete(column)
        )

    def _plain(self, query: Query) -> Any:
        if self.identities is not None or self._repeats:
            return None
        return self.groups.plan(query, self.mapping, self.zone)

    @_names_files
    def lost(self) -> list[Note]:
        """As counted; replay data alone where the footers say that no row lacks anything."""
        if not self.groups.misses_nothing(self.mapping):
            return super().lost()
        if not self.groups.may_hold(self.mapping["event"], "$snapshot"):
            return []
        return dropping_notes({"snapshots": self._snapshots})

    @cached_property
    def _snapshots(self) -> int:
        rows = self.connection.rows(f"SELECT count(*) FROM {self.source} WHERE {self.event()} = '$snapshot'")
        return int(rows[0][0])

    def _may_repeat(self) -> bool:
        """Whether any uuid comes twice, by its hash: one pass, so that no question has to compare again."""
        if self._is_too_long_to_compare:
            return True
        from canarykit.hashing import hash_ids

        # SHA-1, since DuckDB's own hash is the same for some uuids that differ.
        uuid = self.mapping["uuid"]
        texts = (id_text(part, uuid).drop_null() for part in self.groups.column(uuid))
        hashes = np.sort(
            np.concatenate([np.empty(0, np.uint64), *(hash_ids(text, "sha1") for text in texts)])
        )
        return bool((hashes[1:] == hashes[:-1]).any())


def open_dataset(dataset: Any, mapping: Mapping[str, str], identities: Identities, tz: str | None) -> Opened:
    """A dataset of pyarrow, read through DuckDB as far as each question asks."""
    check_columns(dataset.schema.names, mapping, folds_case=True)
    connection = Connections({"canarykit_dataset": dataset})
    return open_duckdb(
        "canarykit_dataset", connection, mapping, identities, tz=tz, says_utc=False, deduplicate=True
    )


def _size(text: str) -> float:
    number, unit = text.strip()[:-2], text.strip()[-2:].upper()
    try:
        size = float(number) * _UNITS[unit]
    except (KeyError, ValueError):
        raise ExportFormatError(f"memory_limit is {text!r}; expected a size such as '2GB'") from None
    if not 1e3 <= size < float("inf"):
        raise ExportFormatError(f"memory_limit is {text!r}; expected at least '1KB'")
    return size
