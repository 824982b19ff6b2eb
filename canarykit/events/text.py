"""Values as text: every engine hands out properties and ids in the same form, the text of their JSON.

`true`, `95`, `1.5`, strings bare, objects as compact JSON; absent, null and NaN are null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from canarykit.errors import DataError

__all__ = [
    "as_json_text",
    "as_text",
    "coalesce",
    "frame_column",
    "id_text",
    "json_values",
    "numeric",
    "pointer",
]

_TEXT = pa.string()
_LARGEST_EXACT = 2**53
_OFFSET_LIMIT = 2**31 - 1


def value_text(value: Any) -> str | None:
    """One Python value as text.

    Examples
    --------
    >>> value_text(True), value_text(95.0), value_text("pro"), value_text(None), value_text({"a": [1]})
    ('true', '95', 'pro', None, '{"a":[1]}')
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        number = float(value)
        if math.isnan(number):
            return None
        return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str)
    if isinstance(value, np.ndarray):
        return value_text(value.tolist())
    return None if value is pd.NaT or value is pd.NA else str(value)


def as_text(array: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    """An Arrow column as text: string, or a dictionary of strings where it was one already."""
    chunked = array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
    kind = chunked.type
    if pa.types.is_dictionary(kind):
        return _dictionary_text(chunked)
    if pa.types.is_string(kind):
        return chunked
    if pa.types.is_large_string(kind):
        return _small_offsets(chunked)
    if pa.types.is_null(kind):
        return pa.chunked_array([pa.nulls(len(chunked), _TEXT)])
    if pa.types.is_floating(kind):
        return _float_text(chunked)
    if pa.types.is_nested(kind) or pa.types.is_temporal(kind) or pa.types.is_binary(kind):
        return pa.chunked_array([pa.array([_nested_text(v) for v in chunked.to_pylist()], _TEXT)])
    return chunked.cast(_TEXT)


def _nested_text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.isoformat() if hasattr(value, "isoformat") else value_text(value)


def _dictionary_text(chunked: pa.ChunkedArray) -> pa.ChunkedArray:
    wanted = pa.dictionary(pa.int32(), _TEXT)
    if chunked.type == wanted:
        return chunked
    chunks = []
    for chunk in chunked.chunks:
        values = as_text(chunk.dictionary).combine_chunks()
        values = values.chunk(0) if isinstance(values, pa.ChunkedArray) else values
        indices = chunk.indices.cast(pa.int32())
        chunks.append(pa.DictionaryArray.from_arrays(indices, values, safe=False))  # known to be in bounds
    return pa.chunked_array(chunks, wanted)


def _small_offsets(chunked: pa.ChunkedArray) -> pa.ChunkedArray:
    """`large_string` as `string`, cut where the bytes of a chunk would not fit 32-bit offsets."""
    pieces = []
    for chunk in chunked.chunks:
        parts = -(-max(chunk.nbytes, 1) // _OFFSET_LIMIT)
        size = -(-len(chunk) // parts) if len(chunk) else 1
        pieces += [chunk.slice(at, size).cast(_TEXT) for at in range(0, max(len(chunk), 1), size)]
    return pa.chunked_array(pieces, _TEXT)


def _float_text(chunked: pa.ChunkedArray) -> pa.ChunkedArray:
    values = chunked.cast(pa.float64()).to_numpy()
    missing = np.isnan(values)
    with np.errstate(invalid="ignore"):
        whole = ~missing & (np.abs(values) < 1e15) & (np.trunc(values) == values)
    if (whole | missing).all():
        integers = pa.array(np.where(whole, values, 0).astype(np.int64), mask=missing)
        return pa.chunked_array([integers.cast(_TEXT)])
    codes, uniques = pd.factorize(values)
    texts = pa.array([value_text(float(value)) for value in uniques], _TEXT)
    return pa.chunked_array([texts.take(pa.array(codes, mask=codes < 0))])


def frame_column(series: pd.Series) -> pa.ChunkedArray:
    """A pandas column as an Arrow column, without a copy where its memory is Arrow's already."""
    try:
        array = pa.array(series, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        array = pa.array([value_text(value) for value in series.tolist()], _TEXT)
    return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])


def id_text(array: pa.Array | pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Ids as text. Ids that were read as floats lose the `.0`; digits that a float has lost are refused."""
    chunked = array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
    if pa.types.is_floating(chunked.type):
        largest = pc.max(pc.abs(chunked)).as_py()
        if largest is not None and largest >= _LARGEST_EXACT:
            raise DataError(
                f"column {name!r} holds ids as floats up to {largest:.0f}; beyond 2**53 a float has lost "
                f"digits: read the column as text, for example dtype={{{name!r}: str}}"
            )
    text = as_text(chunked)
    blank = pc.equal(text if not pa.types.is_dictionary(text.type) else text.cast(_TEXT), "")
    return pc.if_else(blank, pa.scalar(None, _TEXT), text.cast(_TEXT)) if pc.any(blank).as_py() else text


def as_json_text(array: pa.ChunkedArray) -> pa.ChunkedArray:
    """A properties column as JSON text: text as it is, objects written out."""
    kind = array.type
    if pa.types.is_struct(kind) or pa.types.is_map(kind):
        rows = (dict(v) if isinstance(v, list) else v for v in array.to_pylist())
        return pa.chunked_array([pa.array([value_text(_without_nulls(row)) for row in rows], _TEXT)])
    return as_text(array)


def _without_nulls(row: dict[str, Any] | None) -> dict[str, Any] | None:
    """A struct column has every key in every row; a key that a row lacks reads as null."""
    return None if row is None else {key: value for key, value in row.items() if value is not None}


def pointer(path: Sequence[str]) -> str:
    """A JSON pointer (RFC 6901): any key, dots, quotes and slashes included."""
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)


def json_values(text: pa.ChunkedArray, paths: Sequence[Sequence[str]]) -> list[pa.ChunkedArray]:
    """Values at several paths of a column of JSON text, each row parsed once; unreadable rows are null.

    Examples
    --------
    >>> column = pa.chunked_array([['{"plan": "pro", "seats": 3}', "{broken", None]])
    >>> [values.to_pylist() for values in json_values(column, [("plan",), ("seats",)])]
    [['pro', None, None], ['3', None, None]]
    """
    from canarykit.events.sql import connect, quoted, to_arrow

    listed = ", ".join(quoted(pointer(path), "'") for path in paths)
    chosen = ", ".join(f"found[{position + 1}] AS c{position}" for position in range(len(paths)))
    with connect() as connection:
        connection.register("documents", pa.table({"document": text.cast(_TEXT)}))
        result = to_arrow(
            connection.sql(
                f"SELECT {chosen} FROM (SELECT TRY(json_extract_string(document, [{listed}])) AS found "
                "FROM documents)"
            )
        )
    return [as_text(column) for column in result.columns]


def coalesce(columns: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    """The first value that is there, column by column."""
    if len(columns) == 1:
        return columns[0]
    if columns[0].null_count == 0:
        return columns[0]
    return pc.coalesce(*[column.cast(_TEXT) for column in columns])


def numeric(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """A text column as numbers: NaN where it is missing or no finite number.

    Examples
    --------
    >>> numeric(pa.array(["95", "1.5", "true", None, "NaN"])).tolist()
    [95.0, 1.5, nan, nan, nan]
    """
    chunked = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    if len(chunked) == 0:
        return np.empty(0)
    if pa.types.is_integer(chunked.type) or pa.types.is_floating(chunked.type):
        return chunked.cast(pa.float64()).to_numpy()
    is_coded = pa.types.is_dictionary(chunked.type)
    encoded = chunked.unify_dictionaries() if is_coded else chunked.dictionary_encode()
    coded = encoded.combine_chunks()
    coded = coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded
    words = coded.dictionary.to_pandas()
    values = pd.to_numeric(words, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    values = np.append(np.where(np.isfinite(values), values, np.nan), np.nan)
    return values[pc.fill_null(coded.indices, len(values) - 1).to_numpy()]
