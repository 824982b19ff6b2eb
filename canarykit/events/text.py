"""Arrow columns as text, by the rule of `canarykit.events.values`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from canarykit.errors import DataError
from canarykit.events.documents import json_values, pointer
from canarykit.events.values import value_text

__all__ = [
    "BLANKS",
    "among",
    "as_json_text",
    "as_text",
    "check_float_ids",
    "coalesce",
    "codes_of",
    "floored",
    "frame_column",
    "id_text",
    "json_values",
    "numeric",
    "places_among",
    "plain_texts",
    "pointer",
    "together",
    "value_text",
]

_TEXT = pa.string()
_OFFSET_LIMIT = 2**31 - 1
BLANKS = " \t\r\n"
"""What an id may be full of and still be blank."""
_NOT_BLANK = "!"  # every blank text, and the empty one, stands before it


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
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or _is_view(kind):
        return chunked.cast(_TEXT)
    return pa.chunked_array([pa.array([value_text(value) for value in _values(chunked)], _TEXT)])


def _values(chunked: pa.ChunkedArray) -> list[Any]:
    """Python values of a column; moments to the microsecond, maps as dictionaries, ids as `UUID`."""
    kind = chunked.type
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name == "arrow.uuid":
            return [None if value is None else _uuid(value) for value in chunked.to_pylist()]
        storage = [chunk.storage for chunk in chunked.chunks]
        return _values(pa.chunked_array(storage, kind.storage_type))
    if pa.types.is_fixed_size_binary(kind) and kind.byte_width == 16:
        return [None if value is None else _uuid(value) for value in chunked.to_pylist()]
    if pa.types.is_timestamp(kind):
        utc = pa.timestamp("us", None if kind.tz is None else "UTC")
        chunked = floored(chunked).cast(utc)
    if pa.types.is_duration(kind):
        chunked = chunked.cast(pa.duration("us"), safe=False)
    if pa.types.is_nested(kind):
        return chunked.to_pylist(maps_as_pydicts="lossy")
    return chunked.to_pylist()


def _uuid(value: Any) -> Any:
    import uuid

    return uuid.UUID(bytes=value) if isinstance(value, bytes) else value


def floored(chunked: pa.ChunkedArray) -> pa.ChunkedArray:
    """Moments cut to the microsecond, so that every engine agrees on what stands behind it."""
    kind = chunked.type
    if kind.unit != "ns":
        return chunked.cast(pa.timestamp("us", kind.tz))
    return pc.floor_temporal(chunked, unit="microsecond").cast(pa.timestamp("us", kind.tz), safe=False)


def _is_view(kind: pa.DataType) -> bool:
    check = getattr(pa.types, "is_string_view", None)
    return bool(check and check(kind))


def _dictionary_text(chunked: pa.ChunkedArray) -> pa.ChunkedArray:
    wanted = pa.dictionary(pa.int32(), _TEXT)
    if chunked.type == wanted:
        return chunked
    chunks = []
    for chunk in chunked.chunks:
        values = as_text(chunk.dictionary).combine_chunks()
        values = values.chunk(0) if isinstance(values, pa.ChunkedArray) else values
        if values.null_count:  # a category that is missing
            return as_text(chunked.cast(chunked.type.value_type))
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
    whole_column = chunked.to_numpy()  # in its own width: a short float has a shorter text
    values = whole_column.astype(np.float64)
    missing = ~np.isfinite(values)
    with np.errstate(invalid="ignore"):
        whole = ~missing & (np.abs(values) < 1e15) & (np.trunc(values) == values)
    if (whole | missing).all():
        integers = pa.array(np.where(whole, values, 0).astype(np.int64), mask=missing)
        return pa.chunked_array([integers.cast(_TEXT)])
    codes, uniques = pd.factorize(np.where(missing, np.nan, values))
    short = whole_column.dtype.type
    texts = pa.array([value_text(short(value)) for value in uniques], _TEXT)
    return pa.chunked_array([texts.take(pa.array(codes, mask=codes < 0))])


def frame_column(series: pd.Series) -> pa.ChunkedArray:
    """A pandas column as an Arrow column, without a copy where its memory is Arrow's already.

    A column of objects stays what it is only where all its values are texts, booleans or whole numbers;
    else each value becomes its text, so that none is read as what its neighbours are.
    """
    kind = pd.api.types.infer_dtype(series, skipna=True) if series.dtype == object else "typed"
    wanted = {"typed": None, "empty": pa.string(), "string": pa.string(), "boolean": pa.bool_()}
    wanted["integer"] = pa.int64()
    if kind in wanted:
        try:
            array = pa.array(series, wanted[kind], from_pandas=True)
            return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            pass  # a number beyond 64 bits, half of an emoji, a type that Arrow lacks
    return pa.chunked_array([pa.array([_cell(value) for value in series.tolist()], _TEXT)])


def _cell(value: Any) -> str | None:
    missing = value is pd.NA or value is pd.NaT
    return None if missing else value_text(value)


def id_text(array: pa.Array | pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Ids as text. Ids that were read as floats lose the `.0`; digits that a float has lost are refused."""
    chunked = array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
    if pa.types.is_floating(chunked.type):
        check_float_ids(pc.max(pc.abs(chunked)).as_py(), name, is_short=chunked.type != pa.float64())
    text = as_text(chunked)
    coded = pa.types.is_dictionary(text.type)
    told = (pc.less(part.dictionary if coded else part, _NOT_BLANK) for part in text.chunks)
    if not any(pc.any(low).as_py() for low in told):
        return text
    plain = text.cast(_TEXT) if coded else text
    blank = pc.equal(pc.utf8_trim(plain, BLANKS), "")
    return pc.if_else(blank, pa.scalar(None, _TEXT), plain) if pc.any(blank).as_py() else text


def check_float_ids(largest: float | None, name: str, *, is_short: bool = False) -> None:
    """Refuse ids that were read as floats and have lost digits."""
    power = 24 if is_short else 53
    if largest is not None and largest >= 2**power:
        raise DataError(
            f"column {name!r} holds ids as floats up to {largest:.0f}; beyond 2**{power} a float has lost "
            f"digits: read the column as text, for example dtype={{{name!r}: str}}"
        )


def as_json_text(array: pa.ChunkedArray) -> pa.ChunkedArray:
    """A properties column as JSON text: text as it is, objects written out."""
    kind = array.type
    if pa.types.is_struct(kind) or pa.types.is_map(kind):
        rows = (_without_nulls(row) for row in array.to_pylist(maps_as_pydicts="lossy"))
        return pa.chunked_array([pa.array([value_text(row) for row in rows], _TEXT)])
    return as_text(array)


def _without_nulls(row: dict[str, Any] | None) -> dict[str, Any] | None:
    """A struct column has every key in every row; a key that a row lacks reads as null."""
    return None if row is None else {key: value for key, value in row.items() if value is not None}


def coalesce(columns: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    """The first value that is there, column by column."""
    if len(columns) == 1:
        return columns[0]
    columns = [column for column in columns if column.null_count < len(column)] or [columns[0]]
    if len(columns) == 1 or columns[0].null_count == 0:
        return columns[0]
    if all(pa.types.is_dictionary(column.type) for column in columns):
        return _first_codes([codes_of(column) for column in columns])
    return pc.coalesce(*[column.cast(_TEXT) for column in columns])


def _first_codes(columns: Sequence[tuple[pa.Array, np.ndarray]]) -> pa.ChunkedArray:
    """The first text that is there, told by codes: no text is copied."""
    every = pa.concat_arrays([texts for texts, _ in columns]).dictionary_encode()
    first = np.full(len(columns[0][1]), -1)
    begin = 0
    for texts, codes in columns:
        mine = np.append(every.indices[begin : begin + len(texts)].to_numpy(), -1)
        first = np.where(first >= 0, first, mine[codes])
        begin += len(texts)
    indices = pa.array(first, pa.int32(), mask=first < 0)
    return pa.chunked_array([pa.DictionaryArray.from_arrays(indices, every.dictionary, safe=False)])


def among(column: pd.Series, texts: pd.Series | Collection[str]) -> np.ndarray:
    """Which cells of a column of texts are among others, column against column.

    Examples
    --------
    >>> among(pd.Series(["a", "b", None]), {"b", "c"}).tolist()
    [False, True, False]
    """
    return places_among(column, texts) >= 0


def places_among(column: pd.Series, texts: pd.Series | Collection[str]) -> np.ndarray:
    """Where each cell of a column of texts stands first among others; -1 for nowhere.

    Examples
    --------
    >>> places_among(pd.Series(["a", "b", None]), ["c", "b"]).tolist()
    [-1, 1, -1]
    """
    others = frame_column(texts) if isinstance(texts, pd.Series) else pa.array(list(texts), _TEXT)
    cells = as_text(frame_column(column)).cast(_TEXT)
    found = pc.index_in(cells, value_set=others.cast(_TEXT), skip_nulls=True)
    return pc.fill_null(found, -1).to_numpy()


def in_codes(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """A column as one dictionary and a code a row."""
    coded = _of_one_dictionary(column)
    if coded.num_chunks == 1:
        return coded.chunk(0)
    indices = pa.concat_arrays([chunk.indices for chunk in coded.chunks] or [pa.array([], pa.int32())])
    return pa.DictionaryArray.from_arrays(indices, _dictionary_of(coded), safe=False)


def codes_of(column: pa.ChunkedArray, *, missing: int | None = -1) -> tuple[pa.Array, np.ndarray]:
    """The texts of a column, and for every row the place of its text.

    A row without one has the code `missing`; None: the place after the last.

    Examples
    --------
    >>> texts, codes = codes_of(pa.chunked_array([["a", None], ["b", "a"]]))
    >>> texts.to_pylist(), codes.tolist()
    (['a', 'b'], [0, -1, 1, 0])
    """
    coded = _of_one_dictionary(column)
    texts = _dictionary_of(coded).cast(_TEXT)
    codes = np.empty(len(coded), np.int64)
    begin = 0
    for chunk in coded.chunks:  # one copy of what is wanted, where Arrow would make three
        place = chunk.indices
        if place.null_count:
            place = place.cast(pa.int64()).fill_null(len(texts) if missing is None else missing)
        codes[begin : begin + len(chunk)] = place.to_numpy()
        begin += len(chunk)
    return texts, codes


def _of_one_dictionary(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of codes into one and the same list of texts."""
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    same = len({_place(chunk.dictionary) for chunk in coded.chunks}) <= 1  # Arrow would compare every text
    return coded if same else coded.unify_dictionaries()


def _dictionary_of(coded: pa.ChunkedArray) -> pa.Array:
    return coded.chunk(0).dictionary if coded.num_chunks else pa.array([], coded.type.value_type)


def _place(texts: pa.Array) -> tuple[Any, ...]:
    """Where in memory an array is: of two with one place, each is the other."""
    buffers = [(buffer.address, buffer.size) if buffer else None for buffer in texts.buffers()]
    return (texts.offset, len(texts), *buffers)


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
        numbers = chunked.cast(pa.float64()).to_numpy()
        return np.where(np.isfinite(numbers), numbers, np.nan)
    coded = in_codes(chunked)
    words = coded.dictionary.to_pandas()
    values = pd.to_numeric(words, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    values = np.append(np.where(np.isfinite(values), values, np.nan), np.nan)
    return values[pc.fill_null(coded.indices, len(values) - 1).to_numpy()]


def together(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables as one, whose columns of texts may be codes here, of one size or another, and plain text there.

    Examples
    --------
    >>> coded = pa.table({"plan": pa.array(["pro", "pro"]).dictionary_encode()})
    >>> together([coded, pa.table({"plan": ["free"]})]).column("plan").to_pylist()
    ['pro', 'pro', 'free']
    """
    alike = list(tables)
    for at, field in enumerate(alike[0].schema):
        kinds = {table.schema.field(at).type for table in alike}
        coded = all(map(pa.types.is_dictionary, kinds))
        if len(kinds) < 2 and not (coded and field.type.index_type != pa.int32()):
            continue  # of short codes there might be too few for the texts of all tables
        for number, table in enumerate(alike):
            text = as_text(table.column(at))
            alike[number] = table.set_column(at, field.name, text if coded else text.cast(_TEXT))
    return pa.concat_tables(alike)


def plain_texts(table: pa.Table) -> pa.Table:
    """Text columns without dictionaries, so that tables go together and pandas shows text."""
    for at, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(at, field.name, table.column(at).cast(pa.string()))
    return table
