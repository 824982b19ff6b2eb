"""Files that stay on disk: which engine reads them, and the straight way through plain Parquet columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from canarykit.errors import ExportFormatError
from canarykit.events.engines.duckdb import DuckDBEngine, open_duckdb
from canarykit.events.engines.row_groups import RowGroups
from canarykit.events.fields import Query
from canarykit.events.open import Identities, Opened
from canarykit.events.sql import connect, quoted, to_arrow

__all__ = ["ExportFiles", "ParquetEngine"]

_UNITS = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


@dataclass(frozen=True)
class ExportFiles:
    """Files of one kind, to be opened as an event log.

    Attributes
    ----------
    paths
        The files.
    kind
        "parquet" or "jsonl".
    deduplicate
        Whether duplicates by uuid are removed.
    memory_limit
        About what the rows of one answer may take in memory.
    says_utc
        Whether times without a zone are UTC; None leaves that to the columns.
    """

    paths: tuple[str, ...]
    kind: str = "parquet"
    deduplicate: bool = True
    memory_limit: str = "2GB"
    says_utc: bool | None = None

    def open_engine(self, mapping: Mapping[str, str], identities: Identities, tz: Any) -> Opened:
        """The engine that reads these files."""
        import duckdb

        connection = connect()
        options: dict[str, Any] = {
            "tz": tz,
            "says_utc": self.says_utc,
            "deduplicate": self.deduplicate,
            "shard_bytes": _size(self.memory_limit),
        }
        try:
            if self.kind == "parquet":
                groups = RowGroups.open(self.paths)
                options |= {"engine": ParquetEngine, "groups": groups}
                return open_duckdb(self._parquet(), connection, mapping, identities, **options)
            return open_duckdb(self._lines(connection), connection, mapping, identities, **options)
        except (duckdb.IOException, duckdb.InvalidInputException, pa.ArrowInvalid, OSError) as problem:
            names = ", ".join(Path(path).name for path in self.paths[:5])
            reason = str(problem).split("\n")[0]
            raise ExportFormatError(f"{names} cannot be read (cut short or damaged?): {reason}") from problem

    def _parquet(self) -> str:
        listed = ", ".join(quoted(path, "'") for path in self.paths)
        return f"read_parquet([{listed}], union_by_name = true, hive_partitioning = {self._is_hive()})"

    def _is_hive(self) -> str:
        return str(all("=" in Path(path).parent.name for path in self.paths)).lower()

    def _lines(self, connection: Any) -> str:
        listed = ", ".join(quoted(path, "'") for path in self.paths)
        rows = connection.sql(
            f"SELECT DISTINCT unnest(json_keys(json)) FROM (SELECT json FROM "
            f"read_ndjson_objects([{listed}], ignore_errors = true) LIMIT 20000) "
            "WHERE json IS NOT NULL AND json_type(json) = 'OBJECT'"
        ).fetchall()
        keys = sorted(key for (key,) in rows)
        if not keys:
            raise ExportFormatError(f"{Path(self.paths[0]).name} holds no JSON objects, one a line")
        columns = ", ".join(f"{quoted(key)}: 'VARCHAR'" for key in keys)
        return f"read_ndjson([{listed}], columns = {{{columns}}}, ignore_errors = true)"


class ParquetEngine(DuckDBEngine):
    """Parquet through DuckDB, and straight through its row groups where all columns are plain."""

    def __init__(self, *arguments: Any, groups: RowGroups, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.groups = groups

    def shards(self, query: Query) -> Iterator[pa.Table]:
        """One table by the short way if it fits, else as DuckDB hands it out."""
        plan = self._plain(query)
        if plan is not None and self.groups.estimated_bytes(plan.columns) <= self.shard_bytes:
            yield self.groups.table(plan)
        else:
            yield from super().shards(query)

    def batches(self, query: Query) -> Iterator[pa.Table]:
        """A table per row group by the short way, else as DuckDB streams it."""
        plan = self._plain(query)
        if plan is None:
            yield from super().batches(query)
        else:
            yield from self.groups.tables(plan)

    def _plain(self, query: Query) -> Any:
        if self.identities is not None or self._removes_duplicates():
            return None
        return self.groups.plan(query, self.mapping, self.zone)

    def _removes_duplicates(self) -> bool:
        return super()._removes_duplicates() and self._has_duplicates

    @cached_property
    def _has_duplicates(self) -> bool:
        """Whether any uuid comes twice, by its hash: one pass, so that no question has to compare again."""
        rows = sum(footer.num_rows for footer in self.groups.metadata)
        if 8 * rows > self.shard_bytes:
            return True  # too many to hold: every question compares what it reads
        found = self.connection.sql(f"SELECT hash(uuid) AS h FROM {self.source} WHERE uuid IS NOT NULL")
        hashes = np.sort(to_arrow(found).column("h").to_numpy())
        return bool((hashes[1:] == hashes[:-1]).any())


def _size(text: str) -> float:
    number, unit = text.strip()[:-2], text.strip()[-2:].upper()
    try:
        return float(number) * _UNITS[unit]
    except (KeyError, ValueError):
        raise ExportFormatError(f"memory_limit is {text!r}; expected a size such as '2GB'") from None
