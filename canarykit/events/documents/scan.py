"""Values at several paths of a column of documents.

Long columns are walked by a compiled scan that reads all wanted top-level values at once. What it leaves
open (values with escapes, numbers that are printed another way than they are written, objects, documents
beyond the grammar) and short columns are read by `reading`, row by row the same.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from canarykit.compiler import can_compile
from canarykit.events.documents import reading
from canarykit.parallel import ahead

COMPILED_FROM = 50_000
"""Documents from which the compiled scan is worth loading."""

STRETCH = 16_384
"""Documents walked at a time: few enough for what is noted of them to stay in the processor's memory."""

_TEXT = pa.string()
_SCRATCH = threading.local()


def json_values(text: pa.ChunkedArray, paths: Sequence[Sequence[str]]) -> list[pa.ChunkedArray]:
    """Values at several paths of a column of JSON text, each row parsed once; unreadable rows are null.

    A path is the keys from the outermost object inwards, at least one; a null is a document without values.
    Per path the values come as text; null where there is none, or where it is `null`.

    Examples
    --------
    >>> column = pa.chunked_array([['{"plan": "pro", "seats": 3}', "{broken", None]])
    >>> [values.to_pylist() for values in json_values(column, [("plan",), ("seats",)])]
    [['pro', None, None], ['3', None, None]]
    """
    if not is_walked(text, len(text)):
        return reading.json_values(text, paths)
    stretches = _stretches(text)
    pieces = list(ahead(lambda number: _scanned(stretches[number], paths).values, len(stretches), None))
    return [pa.chunked_array([piece[path] for piece in pieces], _TEXT) for path in range(len(paths))]


@dataclass(frozen=True, eq=False)
class Scanned:
    """What one walk over documents tells."""

    values: list[pa.Array]  # per path the value of each document, as from `json_values`
    names: frozenset[str]  # top-level keys of the documents that count
    n_unreadable: int  # how many of those that count are there but hold no object


def scan_documents(
    text: pa.ChunkedArray, paths: Sequence[Sequence[str]], counted: np.ndarray, *, of: int
) -> Scanned:
    """Values at several paths of a column of JSON text, its keys, and how many documents hold no object.

    The keys are those of the documents `counted`. `of` is the number of documents of the whole log: from a
    number of them on, the compiled walk is worth loading.
    """
    if not is_walked(text, of):
        mask = pa.array(counted)
        some = text.filter(mask)
        lost = int(pc.sum(reading.unreadable(some)).as_py() or 0) if len(some) else 0
        values = reading.json_values(text, paths) if paths else []
        return Scanned([_one_array(v) for v in values], frozenset(reading.document_keys(some)), lost)
    pieces, at = [], 0
    for stretch in _stretches(text):
        pieces.append(_scanned(stretch, paths, counted[at : at + len(stretch)]))
        at += len(stretch)
    columns = [[piece.values[path] for piece in pieces] for path in range(len(paths))]
    return Scanned(
        [pa.concat_arrays(column) if column else pa.array([], _TEXT) for column in columns],
        frozenset().union(*(piece.names for piece in pieces)),
        sum(piece.n_unreadable for piece in pieces),
    )


def is_walked(text: pa.ChunkedArray, of: int) -> bool:
    """Whether the compiled walk reads a column, in a log of so many documents."""
    plain = pa.types.is_string(text.type) or pa.types.is_large_string(text.type)
    return of >= COMPILED_FROM and plain and can_compile()


def _stretches(text: pa.ChunkedArray) -> list[pa.Array]:
    return [chunk.slice(first, STRETCH) for chunk in text.chunks for first in range(0, len(chunk), STRETCH)]


def _scanned(
    documents: pa.Array, paths: Sequence[Sequence[str]], counted: np.ndarray | None = None
) -> Scanned:
    """Values of a stretch: what the scan is sure of, and the rest from the documents that it leaves open."""
    offsets, data = buffers(documents)
    rows = len(documents)
    names = _scratch((), 0)[-1]
    names[-1] = 0
    counts = np.empty(0, bool) if counted is None else counted
    missing = (
        documents.is_null().to_numpy(zero_copy_only=False) if documents.null_count else np.zeros(rows, bool)
    )
    if counted is not None:
        counts = counted & ~missing
    values, is_open, outside = _walked(data, offsets[:-1], offsets[1:], paths, counts, names, missing)
    if paths and is_open.any():
        mask = pa.array(is_open)
        asked = reading.json_values(pa.chunked_array([documents.filter(mask)]), paths)
        pairs = zip(values, asked, strict=True)
        values = [pc.replace_with_mask(ours, mask, _one_array(theirs)) for ours, theirs in pairs]
    if counted is None:
        return Scanned(values, frozenset(), 0)
    return Scanned(values, *_told(documents, data, outside & counts, counts, names))


def _walked(
    data: np.ndarray,
    begins: np.ndarray,
    ends: np.ndarray,
    paths: Sequence[Sequence[str]],
    counts: np.ndarray,
    names: np.ndarray,
    missing: np.ndarray,
) -> tuple[list[pa.Array], np.ndarray, np.ndarray]:
    """Values of the documents between positions, which documents are open, and which are outside the grammar.

    For a path of several keys the objects that its first key holds are walked in turn.
    """
    from canarykit.events.documents import scan_kernels

    outer = list(dict.fromkeys(path[0] for path in paths))
    words = [key.encode("utf-8", "surrogatepass") for key in outer]
    keys = np.frombuffer(b"".join(words) or b"\0", np.uint8)
    rows = len(begins)
    starts, lengths, outside, _ = _scratch(tuple(map(tuple, paths)), rows)
    scan_kernels.find_values(
        data, data.ctypes.data, begins, ends, keys, np.cumsum([0, *map(len, words)]), starts, lengths,
        outside, counts, names,
    )  # fmt: skip
    lengths[:, missing] = scan_kernels.MISSING
    outside[missing] = False
    is_open = outside.copy()
    values: dict[tuple[str, ...], pa.Array] = {}
    for place, key in enumerate(outer):
        at, size = starts[place], lengths[place]
        if (key,) in map(tuple, paths):
            is_open |= size <= scan_kernels.OPEN
            values[(key,)] = texts_at(data, at, size)
        deeper = [tuple(path[1:]) for path in paths if path[0] == key and len(path) > 1]
        if not deeper:
            continue
        first = np.where(size < scan_kernels.OPEN, data[np.maximum(at, 0)], 0)
        is_open |= first == scan_kernels.OPEN_BRACKET  # a key may be a place in a list
        inner = np.flatnonzero(first == scan_kernels.OPEN_BRACE)
        inner_ends = at[inner] + (scan_kernels.OPEN - size[inner])
        found, open_inside, _ = _walked(
            data, at[inner], inner_ends, deeper, np.empty(0, bool), names, np.zeros(len(inner), bool)
        )
        is_open[inner[open_inside]] = True
        back = np.full(rows, -1)
        back[inner] = np.arange(len(inner))
        taken = pa.array(back, mask=back < 0)
        values |= {(key, *path): column.take(taken) for path, column in zip(deeper, found, strict=True)}
    return [values[tuple(path)] for path in paths], is_open, outside.copy()


def _told(
    documents: pa.Array, data: np.ndarray, outside: np.ndarray, counts: np.ndarray, names: np.ndarray
) -> tuple[frozenset[str], int]:
    """The keys of a stretch, and how many of its documents hold no object, of those that count."""
    many, is_full = int(names[-1, 0]), bool(names[-1, 1])
    names_seen = {
        bytes(data[start:stop]).decode("utf-8", "replace") for start, stop in names[:many, :2].tolist()
    }
    if is_full:
        names_seen = set(reading.document_keys(pa.chunked_array([documents.filter(pa.array(counts))])))
    if not outside.any():
        return frozenset(names_seen), 0
    odd = pa.chunked_array([documents.filter(pa.array(outside))]).cast(_TEXT)
    lost = int(pc.sum(reading.is_unreadable(odd)).as_py() or 0)
    return frozenset(names_seen | set(reading.document_keys(odd))), lost


def texts_at(data: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> pa.Array:
    """The values of one key, copied out of the documents."""
    from canarykit.events.documents import scan_kernels

    offsets = np.empty(len(lengths) + 1, np.int32)
    valid = np.zeros(-(-len(lengths) // 8), np.uint8)
    size = scan_kernels.text_offsets(lengths, offsets, valid)
    out = np.empty(size + scan_kernels.PIECE, np.uint8)
    scan_kernels.copy_texts(data, data.ctypes.data, starts, lengths, offsets, out, out.ctypes.data)
    buffers = [pa.py_buffer(part) for part in (valid, offsets, out)]
    return pa.Array.from_buffers(_TEXT, len(lengths), buffers)


def _scratch(paths: tuple[tuple[str, ...], ...], rows: int) -> tuple[np.ndarray, ...]:
    """Room for a scan, kept for the next one of this thread: fresh memory would cost as much as the walk."""
    from canarykit.events.documents.scan_kernels import MOST_NAMES

    n_keys = len({path[0] for path in paths})
    rooms = _SCRATCH.__dict__.setdefault("rooms", {})
    if paths not in rooms or rooms[paths][2].size < rows:
        if len(rooms) > 8:
            rooms.clear()
        rooms[paths] = (
            np.empty(n_keys * rows, np.int64),
            np.empty(n_keys * rows, np.int32),
            np.empty(rows, bool),
            np.zeros((MOST_NAMES + 1, 4), np.int64),
        )
    starts, lengths, outside, names = rooms[paths]
    shape = n_keys, rows
    return (
        starts[: n_keys * rows].reshape(shape),
        lengths[: n_keys * rows].reshape(shape),
        outside[:rows],
        names,
    )


def buffers(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (one more than rows), and the whole data buffer they point into."""
    wide = pa.types.is_large_string(texts.type)
    _, offsets, data = texts.buffers()
    every: Any = np.frombuffer(offsets, np.int64 if wide else np.int32)
    content = np.zeros(1, np.uint8) if data is None or data.size == 0 else np.frombuffer(data, np.uint8)
    return every[texts.offset : texts.offset + len(texts) + 1].astype(np.int64), content


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    whole = column.cast(_TEXT).combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
