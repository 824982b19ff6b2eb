"""A shard's Arrow table as numpy: times in microseconds, texts as codes into their distinct values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa


class Columns:
    """Columns of one table, each decoded once when first asked for."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self.size: int = table.num_rows
        self._texts: dict[str, tuple[np.ndarray, list[str]]] = {}

    def time(self) -> np.ndarray:
        """Event times, int64 microseconds since 1970."""
        import pyarrow as pa

        column = self.table.column("timestamp")
        if pa.types.is_timestamp(column.type) and column.type.unit != "us":
            column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
        return column.cast(pa.int64()).to_numpy()

    def misses(self, name: str) -> bool:
        """Whether a column may miss values."""
        column = self.table.column(name)
        return column.null_count > 0 or any(
            getattr(chunk, "dictionary", chunk).null_count > 0 for chunk in column.chunks
        )

    def text(self, name: str) -> tuple[np.ndarray, list[str]]:
        """Codes per row (-1 = null) and the distinct texts they stand for."""
        if name not in self._texts:
            self._texts[name] = text_codes(self.table.column(name))
        return self._texts[name]


def text_codes(column: pa.ChunkedArray | pa.Array) -> tuple[np.ndarray, list[str]]:
    """Codes (-1 = null) and distinct texts of a text, dictionary or number column.

    Examples
    --------
    >>> import pyarrow as pa
    >>> codes, texts = text_codes(pa.array(["a", None, "b", "a"]))
    >>> codes.tolist(), texts
    ([0, -1, 1, 0], ['a', 'b'])
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column, pa.ChunkedArray):
        column = column.unify_dictionaries().combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        if isinstance(column, pa.ChunkedArray):  # no chunk at all
            column = pa.array([], column.type)
    if pa.types.is_null(column.type):
        return np.full(len(column), -1, dtype=np.int32), []
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column)
    indices = column.indices
    if indices.null_count:
        indices = pc.fill_null(indices.cast(pa.int32()), -1)
    codes = indices.to_numpy(zero_copy_only=False)
    values = column.dictionary
    texts = values.to_pylist() if _is_text(values.type) else pc.cast(values, pa.string()).to_pylist()
    if any(text is None for text in texts):  # a null inside the dictionary
        missing = np.array([text is None for text in texts])
        codes = np.where((codes >= 0) & missing[codes], -1, codes)
    return codes, [text if text is not None else "" for text in texts]


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
