"""One reading of any column of ids: text, or missing. Never the text "nan", never "123.0" for 123.

Flag systems hash text. A column of integers with one gap becomes floats in pandas, and 123 would be hashed
as "123.0": integral floats are read as the integers they were, other floats are refused, since no id was
ever meant to be 1.5. None, NaN, NaT and pd.NA are missing. Booleans and times are refused: a column of them
is not a column of ids. White space, case and leading zeros are kept as they are, because vendors keep them.

A lone surrogate (half of a broken emoji) cannot be written in UTF-8. Hashes over UTF-16 units take it as it
is; hashes over UTF-8 take U+FFFD in its place, as browsers and Node encode it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from canarykit.hashing.arrow_texts import Chunk, Unusual, cut, is_empty, is_null, text_chunks


@dataclass(frozen=True, eq=False)
class IdColumn:
    """Ids as Arrow texts in chunks, and the way back to what the caller handed in."""

    chunks: tuple[Chunk, ...]
    restore: Callable[[np.ndarray, str], Any]
    index: Any = None  # of the Series the ids came in

    def __len__(self) -> int:
        return sum(len(chunk) for chunk in self.chunks)

    def _rows(self, per_text: Callable[[Chunk], np.ndarray], absent: bool) -> np.ndarray:
        parts = [chunk.per_row(per_text(chunk), absent) for chunk in self.chunks]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=bool)

    @cached_property
    def missing(self) -> np.ndarray:
        """Whether each row has no id."""
        return self._rows(lambda chunk: is_null(chunk.texts), True)

    @cached_property
    def empty(self) -> np.ndarray:
        """Whether each row's id is the empty text."""
        return self._rows(lambda chunk: is_empty(chunk.texts), False)

    @cached_property
    def marked(self) -> np.ndarray:
        """Whether each row's id was kept apart by `unusual="mark"`."""
        return self._rows(
            lambda chunk: np.zeros(len(chunk.texts), bool) if chunk.marked is None else chunk.marked, False
        )

    def texts(self, rows: np.ndarray) -> list[str | None]:
        """The ids of a few rows, by their numbers."""
        ids: list[str | None] = []
        ends = np.cumsum([len(chunk) for chunk in self.chunks])
        for row, number in zip(rows, np.searchsorted(ends, rows, side="right"), strict=True):
            chunk = self.chunks[number]
            within = int(row - (ends[number] - len(chunk)))
            code = within if chunk.codes is None else int(chunk.codes[within])
            text = None if code < 0 else chunk.texts[code].as_py()
            ids.append(text.decode("utf-8", "surrogatepass") if isinstance(text, bytes) else text)
        return ids

    def cut(self, characters: int) -> "IdColumn":
        """The same ids, each at most so many Unicode characters long."""
        chunks = tuple(replace(chunk, texts=cut(chunk.texts, characters)) for chunk in self.chunks)
        return replace(self, chunks=chunks)


def read_ids(ids: Any, *, unusual: Unusual = "refuse") -> IdColumn:
    """Read ids of any usual kind as text.

    Parameters
    ----------
    ids
        pandas Series, Index or array; numpy array; Arrow array (plain, chunked, dictionary) or any column
        that speaks Arrow (polars); list; or one id.
    unusual
        What to do with booleans and fractional floats, see `Unusual`.

    Returns
    -------
    IdColumn
        `missing`, `empty` and `marked` are boolean arrays, one value per row.

    Raises
    ------
    DataError
        If an id is neither text nor a whole number, naming it.

    Examples
    --------
    >>> column = read_ids([7, 7.0, "7", None, float("nan"), ""])
    >>> column.chunks[0].texts.to_pylist()
    ['7', '7', '7', None, None, '']
    >>> column.missing.tolist()
    [False, False, False, True, True, False]
    """
    restore = _way_back(ids)
    chunks = tuple(text_chunks([ids] if is_one_id(ids) else ids, unusual))
    return IdColumn(chunks, restore, getattr(ids, "index", None) if hasattr(ids, "iloc") else None)


def _way_back(ids: Any) -> Callable[[np.ndarray, str], Any]:
    """What turns an array of answers into the kind of thing the ids came in."""
    import pandas as pd
    import pyarrow as pa

    if isinstance(ids, pd.Series):
        index = ids.index
        return lambda values, name: pd.Series(values, index=index, name=name)
    if is_one_id(ids):
        return lambda values, name: values[0] if values.dtype == object else values[0].item()
    if isinstance(ids, pa.Array | pa.ChunkedArray) or (
        hasattr(ids, "__arrow_c_stream__") and not isinstance(ids, pd.Index)
    ):
        return lambda values, name: pa.array(values, from_pandas=True)
    return lambda values, name: values


def is_one_id(ids: Any) -> bool:
    """Whether this is a single id rather than a column of them."""
    return isinstance(ids, str | bytes) or not hasattr(ids, "__len__")
