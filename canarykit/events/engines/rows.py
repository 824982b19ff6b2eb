"""Events in memory, a pandas frame or an Arrow table, column by column as Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from canarykit.errors import DataError
from canarykit.events.text import as_json_text, as_text, frame_column, value_text

_TEXT = pa.string()


class Rows:
    """A pandas frame or Arrow table; what is changed becomes a new one, and the caller's stays as it is."""

    def __init__(self, table: pd.DataFrame | pa.Table) -> None:
        self._table = table
        self._columns: dict[str, pa.ChunkedArray] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Columns, in order."""
        table = self._table
        return tuple(map(str, table.columns if isinstance(table, pd.DataFrame) else table.column_names))

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, name: str) -> bool:
        return name in self.names

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The rows as a pandas frame: the caller's own, or texts and numbers in pandas' own types."""
        if isinstance(self._table, pd.DataFrame):
            return self._table
        columns = {name: _series(self._table.column(at)) for at, name in enumerate(self.names)}
        return pd.DataFrame(columns, index=pd.RangeIndex(len(self)), columns=list(self.names))

    def column(self, name: str) -> pa.ChunkedArray:
        """A column as it is stored, in Arrow."""
        at = self.names.index(name)
        if not isinstance(self._table, pd.DataFrame):
            return self._table.column(at)
        if name not in self._columns:
            self._columns[name] = frame_column(self._table.iloc[:, at])
        return self._columns[name]

    def filter(self, keep: np.ndarray) -> Rows:
        """The rows that a mask keeps."""
        if isinstance(self._table, pd.DataFrame):
            return Rows(self._table[keep])
        return Rows(self._table.filter(pa.array(keep)))

    def renamed(self, names: Mapping[str, str], dropped: Sequence[str] = ()) -> Rows:
        """Columns under other names, and some of them left out."""
        kept = [name for name in self.names if name not in dropped]
        if kept == list(self.names) and not names:
            return self
        if isinstance(self._table, pd.DataFrame):
            frame = self._table.iloc[:, [self.names.index(name) for name in kept]]
            return Rows(frame.set_axis([names.get(name, name) for name in kept], axis="columns"))
        table = self._table.select([self.names.index(name) for name in kept])
        return Rows(table.rename_columns([names.get(name, name) for name in kept]))

    def with_column(self, name: str, column: pa.ChunkedArray) -> Rows:
        """The same rows with a column replaced or added."""
        if isinstance(self._table, pd.DataFrame):
            frame = self._table.copy(deep=False)
            frame[name] = pd.Series(_series(column).array, index=frame.index)
            return Rows(frame)
        if name in self.names:
            return Rows(self._table.set_column(self.names.index(name), name, column))
        return Rows(self._table.append_column(name, column))

    def arrow(self) -> pa.Table:
        """All columns as Arrow."""
        if not isinstance(self._table, pd.DataFrame):
            return self._table
        return pa.table({name: self.column(name) for name in self.names})


def rows_of(source: Any) -> Rows:
    """Anything in memory, or that can be brought there, as rows; nothing passes through pandas on its way.

    A pandas frame, a table of pyarrow, polars, DuckDB or Spark, what hands out Arrow by its interface for
    C, and what has a method for it (`to_arrow`, `to_table`, `read_all`, `scan`, `to_pandas` ...).
    """
    if isinstance(source, Rows):
        return source
    if isinstance(source, pd.DataFrame):
        return Rows(source)
    home = type(source).__module__.partition(".")[0]
    if home in {"pyspark", "sqlframe"}:  # asked first: such a frame may have every attribute
        return Rows(source.toArrow())
    if home == "polars":
        return Rows(_polars_table(source))
    if home in {"duckdb", "_duckdb"}:
        from canarykit.events.sql import to_arrow

        return Rows(to_arrow(source))
    if home == "pyiceberg" and hasattr(source, "scan"):
        return Rows(source.scan().to_arrow())
    if isinstance(source, pa.RecordBatch):
        return Rows(pa.Table.from_batches([source]))
    if isinstance(source, pa.Table):
        return Rows(source)
    for convert in (
        "to_pyarrow_table",
        "to_pyarrow",
        "to_arrow",
        "to_table",
        "read_all",
        "fetch_arrow_table",
    ):
        if callable(getattr(source, convert, None)):
            converted = getattr(source, convert)()
            return (
                rows_of(converted) if not isinstance(converted, type(source)) else Rows(pa.table(converted))
            )
    if hasattr(source, "__arrow_c_stream__"):
        return Rows(pa.table(source))
    for convert in ("to_pandas", "df", "toPandas", "execute", "compute"):
        if callable(getattr(source, convert, None)):
            return Rows(getattr(source, convert)())
    raise DataError(f"{type(source).__name__} is not a table; expected a pandas frame or something like one")


def joined(parts: Sequence[Rows]) -> Rows:
    """The rows of several tables, one after another; a column whose types differ becomes text."""
    if len(parts) == 1:
        return parts[0]
    tables = [part.arrow() for part in parts]
    names = dict.fromkeys(name for table in tables for name in table.column_names)
    columns = {name: _together([_of(table, name) for table in tables]) for name in names}
    return Rows(pa.table(columns))


def _of(table: pa.Table, name: str) -> pa.ChunkedArray:
    if name in table.column_names:
        return table.column(name)
    return pa.chunked_array([pa.nulls(len(table))])


def _together(columns: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    kinds = [column.type for column in columns if not pa.types.is_null(column.type)]
    wanted = kinds[0] if kinds else pa.null()
    alike = all(kind == wanted for kind in kinds)
    if alike and pa.types.is_dictionary(wanted):
        wanted = pa.dictionary(pa.int32(), _TEXT)
        columns = [column if pa.types.is_null(column.type) else as_text(column) for column in columns]
    elif not alike:
        wanted = _TEXT
        columns = [as_json_text(column).cast(_TEXT) for column in columns]
    chunks = []
    for column in columns:
        column = (
            pa.chunked_array([pa.nulls(len(column), wanted)]) if pa.types.is_null(column.type) else column
        )
        chunks += column.chunks
    return pa.chunked_array(chunks, wanted)


def _polars_table(source: Any) -> pa.Table:
    """A polars frame, collected; columns of Python objects become their texts."""
    import polars

    frame = source.collect() if isinstance(source, polars.LazyFrame) else source
    frame = frame.to_frame() if isinstance(frame, polars.Series) else frame
    objects = [name for name, kind in frame.schema.items() if kind == polars.Object]
    table = frame.drop(objects).to_arrow()
    for name in objects:
        texts = pa.array([value_text(value) for value in frame[name].to_list()], _TEXT)
        table = table.append_column(name, pa.chunked_array([texts]))
    return table.select(frame.columns)


def _series(column: pa.ChunkedArray) -> pd.Series:
    """A column in pandas' own types, where no digit is lost by it; else in Arrow's."""
    kind = column.type
    gaps = column.null_count > 0
    if isinstance(kind, pa.BaseExtensionType) or (pa.types.is_dictionary(kind) and not gaps):
        return pd.Series(as_text(column).to_pandas())
    if gaps and pa.types.is_integer(kind):
        names = {8: "Int8", 16: "Int16", 32: "Int32", 64: "Int64"}
        unsigned = "U" if pa.types.is_unsigned_integer(kind) else ""
        return column.to_pandas(
            types_mapper={kind: getattr(pd, f"{unsigned}{names[kind.bit_width]}Dtype")()}.get
        )
    if gaps and pa.types.is_boolean(kind):
        return column.to_pandas(types_mapper={kind: pd.BooleanDtype()}.get)
    return column.to_pandas()
