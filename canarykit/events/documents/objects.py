"""A column of JSON objects as a column for each of their keys, with the values as Python has them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from canarykit.compiler import can_compile
from canarykit.documents import read_json
from canarykit.events.documents.scan import COMPILED_FROM, STRETCH, buffers, texts_at

MOST_CELLS = 50_000_000
"""Keys times documents up to which columns are worth making: beyond, most cells would be empty."""

FIRST_LOOK = 1000
"""Documents in which keys are looked for first."""

_QUOTE = 34
_NUMBER = re.compile(rb"[-0-9][-+.0-9eE]*")
"""A number as it is written: the walk tells how much of it is printed."""

Reader = Callable[[Any], Mapping[str, Any] | None]


def object_columns(documents: list[Any], read: Reader) -> tuple[dict[str, np.ndarray], int] | None:
    """The values of each key by row (NaN where a document lacks it), and how many documents hold no object.

    Anything but JSON texts, and texts that the walk leaves open, is `read` by itself: the object of one
    document, None where it holds none. Keys stand in the order in which they are first met. None where there
    are too few documents, or too many different keys, for a compiled walk.
    """
    if len(documents) < COMPILED_FROM or not can_compile():
        return None
    try:
        texts = pa.array(documents, pa.large_string(), from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError):  # objects already, or no text at all
        return None
    columns: dict[str, np.ndarray] = {}
    first_met: dict[str, tuple[int, int]] = {}
    lost = 0
    for first in range(0, len(texts), STRETCH):
        stretch = texts.slice(first, STRETCH)
        walked = _walked(stretch)
        if walked is None or len({*columns, *walked[0]}) * len(documents) > MOST_CELLS:
            return None
        names, (places, sizes, outside) = walked
        values, is_open = _values(stretch, places, sizes, outside)
        for name, column, position in zip(names, values, places, strict=True):
            rows = np.flatnonzero((position >= 0) & ~is_open)
            if len(rows):
                _column(columns, name, len(documents))[first + rows] = column[rows]
                met = first + int(rows[0]), int(position[rows[0]])
                first_met[name] = min(first_met.get(name, met), met)
        for row in (first + np.flatnonzero(is_open)).tolist():
            item = read(documents[row])
            lost += item is None
            for position, (name, value) in enumerate((item or {}).items()):
                _column(columns, name, len(documents))[row] = value
                first_met[name] = min(first_met.get(name, (row, position)), (row, position))
    return {name: columns[name] for name in sorted(columns, key=first_met.__getitem__)}, lost


def _column(columns: dict[str, np.ndarray], name: str, rows: int) -> np.ndarray:
    if name not in columns:
        columns[name] = np.full(rows, np.nan, dtype=object)
    return columns[name]


Places = tuple[np.ndarray, np.ndarray, np.ndarray]


def _walked(texts: pa.Array) -> tuple[list[str], Places] | None:
    """Keys of the documents, and where and how long their values are; None for more keys than there is room.

    The first documents nearly always have all keys, so that one walk finds the keys and their values.
    """
    names: list[str] = []
    found = _walk(texts.slice(0, FIRST_LOOK), names)
    while found is not None:
        names = found[0]
        found = _walk(texts, names)
        if found is not None and len(found[0]) == len(names):
            return found
    return None


def _walk(texts: pa.Array, names: list[str]) -> tuple[list[str], Places] | None:
    """All keys, the named ones first, and the places of the named ones' values; None for too many keys."""
    from canarykit.events.documents.scan_kernels import MOST_NAMES, find_values

    offsets, data = buffers(texts)
    rows = len(texts)
    words = [name.encode() for name in names]
    places = np.empty((len(names), rows), np.int64)
    sizes = np.empty((len(names), rows), np.int32)
    outside = np.empty(rows, bool)
    met = np.zeros((MOST_NAMES + 1, 4), np.int64)
    find_values(
        data, data.ctypes.data, offsets[:-1], offsets[1:], np.frombuffer(b"".join(words) or b"\0", np.uint8),
        np.cumsum([0, *map(len, words)]), places, sizes, outside, np.ones(rows, bool), met,
    )  # fmt: skip
    if met[-1, 1]:
        return None
    every = [bytes(data[start:stop]).decode() for start, stop in met[: met[-1, 0], :2].tolist()]
    return list(dict.fromkeys([*names, *every])), (places, sizes, outside)


def _values(
    texts: pa.Array, places: np.ndarray, sizes: np.ndarray, outside: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """Values of each key by where they stand, and which documents have to be read otherwise."""
    from canarykit.events.documents.scan_kernels import MISSING, OPEN

    _, data = buffers(texts)
    places[:, outside] = -1
    is_open = outside | (sizes == OPEN).any(axis=0)
    values = []
    view = memoryview(data)  # type: ignore[arg-type]
    seen: dict[bytes, Any] = {}
    for position, size in zip(places, sizes, strict=True):
        is_text = (position > 0) & (size >= 0) & (data[np.maximum(position, 1) - 1] == _QUOTE)
        column = texts_at(data, position, np.where(is_text, size, MISSING).astype(np.int32))
        values.append(column.to_numpy(zero_copy_only=False))
        other = np.flatnonzero((position >= 0) & (size != MISSING) & ~is_text & ~is_open)
        for row, start, many in zip(
            *(part.tolist() for part in (other, position[other], size[other])), strict=True
        ):
            number = _NUMBER.match(view, start)
            stop = number.end() if number else start + (many if many >= 0 else OPEN - many)
            values[-1][row] = _scalar(bytes(data[start:stop]), seen)
    return values, is_open


def _scalar(text: bytes, seen: dict[bytes, Any]) -> Any:
    """What a value that is not text is in Python; the few that are seen again and again are read once."""
    if text in seen:
        return seen[text]
    value = read_json(text.decode())
    if not isinstance(value, dict | list) and len(seen) < STRETCH:
        seen[text] = value
    return value
