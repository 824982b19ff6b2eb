"""Values at several paths of a column of documents.

Long columns are walked by a compiled scan that reads all wanted top-level values at once. What it leaves
open (values with escapes, numbers that are printed another way than they are written, objects, documents
beyond the grammar) and short columns are read by `reading`, row by row the same.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from canarykit.compiler import can_compile
from canarykit.events.documents import reading
from canarykit.parallel import ahead

__all__ = ["json_values"]

COMPILED_FROM = 50_000
"""Documents from which the compiled scan is worth loading."""

STRETCH = 16_384
"""Documents walked at a time: few enough for what is noted of them to stay in the processor's memory."""

_TEXT = pa.string()
_SCRATCH = threading.local()


def json_values(text: pa.ChunkedArray, paths: Sequence[Sequence[str]]) -> list[pa.ChunkedArray]:
    """Values at several paths of a column of JSON text, each row parsed once; unreadable rows are null.

    Parameters
    ----------
    text
        Documents; null is a document without values.
    paths
        Keys from the outermost object inwards; at least one each.

    Returns
    -------
    list of ChunkedArray
        Per path the value of each document as text; null where there is none, or where it is `null`.

    Examples
    --------
    >>> column = pa.chunked_array([['{"plan": "pro", "seats": 3}', "{broken", None]])
    >>> [values.to_pylist() for values in json_values(column, [("plan",), ("seats",)])]
    [['pro', None, None], ['3', None, None]]
    """
    plain = pa.types.is_string(text.type) or pa.types.is_large_string(text.type)
    if len(text) < COMPILED_FROM or not plain or not can_compile():
        return reading.json_values(text, paths)
    stretches = [
        chunk.slice(first, STRETCH) for chunk in text.chunks for first in range(0, len(chunk), STRETCH)
    ]
    pieces = list(ahead(lambda number: _scanned(stretches[number], paths), len(stretches), None))
    return [pa.chunked_array([piece[place] for piece in pieces], _TEXT) for place in range(len(paths))]


def _scanned(documents: pa.Array, paths: Sequence[Sequence[str]]) -> list[pa.Array]:
    """Values of a stretch: what the scan is sure of, and the rest from the documents that it leaves open."""
    from canarykit.events.documents import scan_kernels

    outer = list(dict.fromkeys(path[0] for path in paths))
    offsets, data = _buffers(documents)
    words = [key.encode("utf-8", "surrogatepass") for key in outer]
    keys = np.frombuffer(b"".join(words) or b"\0", np.uint8)
    starts, lengths, outside = _scratch(len(outer), len(documents))
    scan_kernels.find_values(
        data, data.ctypes.data, offsets, keys, np.cumsum([0, *map(len, words)]), starts, lengths, outside
    )
    if documents.null_count:
        missing = documents.is_null().to_numpy(zero_copy_only=False)
        lengths[:, missing] = scan_kernels.MISSING
        outside[missing] = False
    is_open = outside | (lengths == scan_kernels.OPEN).any(axis=0)
    texts = {key: _texts(data, starts[place], lengths[place]) for place, key in enumerate(outer)}
    nothing = pa.nulls(len(documents), _TEXT)  # below a text or a number there is no further value
    values = [texts[path[0]] if len(path) == 1 else nothing for path in paths]
    if is_open.any():
        mask = pa.array(is_open)
        asked = reading.json_values(pa.chunked_array([documents.filter(mask)]), paths)
        pairs = zip(values, asked, strict=True)
        values = [pc.replace_with_mask(ours, mask, _one_array(theirs)) for ours, theirs in pairs]
    return values


def _texts(data: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> pa.Array:
    """The values of one key, copied out of the documents."""
    from canarykit.events.documents import scan_kernels

    offsets = np.empty(len(lengths) + 1, np.int32)
    valid = np.zeros(-(-len(lengths) // 8), np.uint8)
    size = scan_kernels.text_offsets(lengths, offsets, valid)
    out = np.empty(size + scan_kernels.PIECE, np.uint8)
    scan_kernels.copy_texts(data, data.ctypes.data, starts, lengths, offsets, out, out.ctypes.data)
    buffers = [pa.py_buffer(part) for part in (valid, offsets, out)]
    return pa.Array.from_buffers(_TEXT, len(lengths), buffers)


def _scratch(n_keys: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Room for a scan, kept for the next one of this thread: fresh memory would cost as much as the walk."""
    if getattr(_SCRATCH, "shape", None) != (n_keys, rows):
        _SCRATCH.shape = n_keys, rows
        shape = n_keys, rows
        _SCRATCH.room = np.empty(shape, np.int64), np.empty(shape, np.int32), np.empty(rows, bool)
    return _SCRATCH.room


def _buffers(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (one more than rows), and the whole data buffer they point into."""
    wide = pa.types.is_large_string(texts.type)
    _, offsets, data = texts.buffers()
    every: Any = np.frombuffer(offsets, np.int64 if wide else np.int32)
    content = np.zeros(1, np.uint8) if data is None or data.size == 0 else np.frombuffer(data, np.uint8)
    return every[texts.offset : texts.offset + len(texts) + 1].astype(np.int64), content


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    whole = column.cast(_TEXT).combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
