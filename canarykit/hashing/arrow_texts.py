"""Any column of ids as Arrow texts: the conversions behind `read_ids`."""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import numpy as np

from canarykit.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

Unusual = Literal["refuse", "mark", "javascript"]
"""What to do with ids that are not text or whole numbers: refuse them; keep them apart as `marked`; or read
them as JavaScript does (true is "true"; false and 0 are missing)."""

EXACT = 2**53  # beyond, a float no longer tells neighbouring integers apart
_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")


class _Marked:
    """Stands for an id kept apart by `unusual="mark"`."""


MARKED = _Marked()


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some rows of ids: Arrow texts, or distinct Arrow texts with one code per row (-1: missing)."""

    texts: "pa.Array"
    codes: np.ndarray | None = None
    marked: np.ndarray | None = None  # bool, one per text

    def __len__(self) -> int:
        return len(self.texts) if self.codes is None else len(self.codes)

    def per_row(self, per_text: np.ndarray, absent: Any) -> np.ndarray:
        """Values per text (last axis) as values per row; `absent` where the code is -1."""
        if self.codes is None:
            return per_text
        if per_text.shape[-1] == 0:
            return np.full((*per_text.shape[:-1], len(self.codes)), absent, dtype=per_text.dtype)
        taken = per_text[..., self.codes]
        taken[..., self.codes < 0] = absent
        return taken


def text_chunks(ids: Any, unusual: Unusual) -> Iterator[Chunk]:
    """The ids as texts, one chunk per chunk of the input."""
    import pandas as pd
    import pyarrow as pa

    if isinstance(ids, pd.Series | pd.Index):
        ids = ids.array
    if isinstance(ids, pd.Categorical):
        yield _coded(ids.categories, np.asarray(ids.codes), unusual)
        return
    if isinstance(ids, pd.arrays.NumpyExtensionArray):
        ids = ids.to_numpy()
    if isinstance(ids, pa.Array | pa.ChunkedArray):
        arrow = ids
    elif hasattr(ids, "__arrow_array__"):
        arrow = ids.__arrow_array__()
    elif hasattr(ids, "__arrow_c_stream__"):
        arrow = pa.chunked_array(ids)
    elif isinstance(ids, np.ndarray) and ids.dtype != object:
        arrow = pa.array(ids, from_pandas=True)
    else:
        arrow = _from_objects(ids, unusual)
    for part in arrow.chunks if isinstance(arrow, pa.ChunkedArray) else [arrow]:
        yield part if isinstance(part, Chunk) else _chunk(part, unusual)


def _from_objects(values: Any, unusual: Unusual) -> Any:
    """Python objects as an Arrow array of text or integers, or (mixed kinds) as a finished chunk."""
    import pyarrow as pa

    try:
        return pa.array(values, pa.string(), from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError):
        pass
    try:
        inferred = pa.array(values, from_pandas=True)
        if pa.types.is_integer(inferred.type):
            return inferred
    except (
        pa.ArrowInvalid,
        pa.ArrowTypeError,
        pa.ArrowNotImplementedError,
        OverflowError,
        UnicodeEncodeError,
    ):
        pass
    return _one_by_one(values, unusual)


def _one_by_one(values: Iterable[Any], unusual: Unusual) -> Chunk:
    import pyarrow as pa

    texts = [id_text(value, unusual) for value in values]
    marked = np.fromiter((text is MARKED for text in texts), dtype=bool, count=len(texts))
    texts = ["" if text is MARKED else text for text in texts]
    try:
        column = pa.array(texts, pa.large_string())
    except UnicodeEncodeError:  # binary stands for "may hold lone surrogates"
        column = pa.array([None if t is None else encode_text(t) for t in texts], pa.large_binary())
    return Chunk(column, marked=marked if marked.any() else None)


def _chunk(array: Any, unusual: Unusual) -> Chunk:
    """One Arrow array of any type as texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return Chunk(array)
    if pa.types.is_dictionary(kind):
        codes = array.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return _coded(array.dictionary, codes, unusual)
    if pa.types.is_integer(kind):
        if unusual == "javascript":
            array = pc.if_else(pc.equal(array, 0), None, array)
        return Chunk(pc.cast(array, pa.string()))
    if pa.types.is_floating(kind):
        return _from_floats(array, unusual)
    if pa.types.is_null(kind):
        return Chunk(pa.nulls(len(array), pa.string()))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or str(kind) == "string_view":
        try:
            return Chunk(pc.cast(array, pa.large_string()))
        except pa.ArrowInvalid:
            raise DataError(f"ids of Arrow type {kind} are not UTF-8 text") from None
    if not (pa.types.is_boolean(kind) or pa.types.is_decimal(kind) or str(kind).startswith("extension")):
        raise DataError(f"ids are of type {kind}, expected text or whole numbers; is this the id column?")
    return _one_by_one(array.to_pylist(), unusual)


def _coded(distinct: Any, codes: np.ndarray, unusual: Unusual) -> Chunk:
    """Distinct values and a code per row."""
    import pyarrow as pa

    parts = list(text_chunks(distinct, unusual))
    if not parts:
        return Chunk(pa.array([], pa.string()), codes)
    if len(parts) == 1:
        return Chunk(parts[0].texts, codes, parts[0].marked)
    return Chunk(pa.concat_arrays([part.texts for part in parts]), codes)


def _from_floats(array: Any, unusual: Unusual) -> Chunk:
    import pyarrow as pa
    import pyarrow.compute as pc

    exact = {"halffloat": 2.0**11, "float": 2.0**24}.get(str(array.type), float(EXACT))
    values = array.to_numpy(zero_copy_only=False).astype(np.float64)
    missing = np.isnan(values)
    whole = (np.abs(values) <= exact) & (np.floor(values) == values)
    unfit = ~(missing | whole)
    if unfit.any() and unusual != "mark":
        refuse_float(float(values[unfit.argmax()]), exact)
    if unusual == "javascript":
        missing |= values == 0
    integers = np.where(whole, values, 0).astype(np.int64)
    return Chunk(
        pc.cast(pa.array(integers, mask=missing), pa.string()), marked=unfit if unfit.any() else None
    )


def id_text(value: Any, unusual: Unusual = "refuse") -> Any:
    """The text of one id; None where it is missing, `MARKED` where it is kept apart."""
    if isinstance(value, str):
        return value
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return None
    if isinstance(value, bool | np.bool_):
        if unusual == "refuse":
            raise DataError(
                f"an id is {bool(value)}, expected text or a whole number; is this the id column?"
            )
        return MARKED if unusual == "mark" else ("true" if value else None)
    if isinstance(value, int | np.integer):
        return None if unusual == "javascript" and value == 0 else str(int(value))
    if isinstance(value, float | np.floating | Decimal):
        if math.isnan(value):
            return None
        if value % 1 == 0 and (isinstance(value, Decimal) or abs(float(value)) <= EXACT):
            return id_text(int(value), unusual)
        return MARKED if unusual == "mark" else refuse_float(float(value), EXACT)
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:  # as an event log reads wrong bytes
            return value.decode("utf-8", "replace")
    if isinstance(value, UUID):
        return str(value)
    if unusual == "mark":
        return MARKED
    raise DataError(f"an id is {value!r} ({type(value).__name__}), expected text or a whole number")


def refuse_float(value: float, exact: float) -> None:
    """Say why this float is not an id."""
    lost = "; so large a float has lost digits, read the ids as text" if abs(value) > exact else ""
    raise DataError(f"an id is the float {value!r}, expected text or a whole number{lost}")


def is_null(texts: Any) -> np.ndarray:
    """Whether each Arrow text is null."""
    if texts.null_count == 0:
        return np.zeros(len(texts), dtype=bool)
    return texts.is_null().to_numpy(zero_copy_only=False)


def is_empty(texts: Any) -> np.ndarray:
    """Whether each Arrow text is there and of no length."""
    import pyarrow.compute as pc

    return pc.equal(pc.binary_length(texts), 0).fill_null(False).to_numpy(zero_copy_only=False)


def cut(texts: Any, characters: int) -> Any:
    """Arrow texts of at most so many Unicode characters."""
    import pyarrow as pa
    import pyarrow.compute as pc

    longest = pc.max(pc.binary_length(texts)).as_py() or 0
    if longest <= characters:
        return texts
    if not (pa.types.is_binary(texts.type) or pa.types.is_large_binary(texts.type)):
        return pc.utf8_slice_codeunits(texts, 0, characters)
    shorter = [
        None
        if text is None
        else text.decode("utf-8", "surrogatepass")[:characters].encode("utf-8", "surrogatepass")
        for text in texts.to_pylist()
    ]
    return pa.array(shorter, texts.type)


def encode_text(text: str) -> bytes:
    """UTF-8, with surrogate pairs joined and lone surrogates as three bytes each."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        return joined.encode("utf-8", "surrogatepass")


def well_formed(text: bytes) -> bytes:
    """Proper UTF-8 of the same length: U+FFFD in place of each lone surrogate."""
    return _SURROGATE.sub("\ufffd".encode(), text)
