"""A column of JSON objects as a column for each of their keys, with the values as Python has them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from canarykit.compiler import can_compile
from canarykit.documents import read_json
from canarykit.events.documents.scan import COMPILED_FROM, STRETCH, buffers, texts_at
from canarykit.parallel import ahead

MOST_CELLS = 50_000_000
"""Keys times documents up to which columns are worth making: beyond, most cells would be empty."""

SAMPLE = 4096
"""Rows that tell whether a column's texts repeat."""
FIRST_LOOK = 1000
"""Documents in which keys are looked for first."""

_QUOTE = 34
_NUMBER = re.compile(rb"[-0-9][-+.0-9eE]*")
"""A number as it is written: the walk tells how much of it is printed."""

Reader = Callable[[Any], Mapping[str, Any] | None]


def object_columns(documents: pd.Series, read: Reader) -> tuple[dict[str, Any], int] | None:
    """The values of each key by row (NaN where a document lacks it), and how many documents hold no object.

    Anything but JSON texts, and texts that the walk leaves open, is `read` by itself: the object of one
    document, None where it holds none. Keys stand in the order in which they are first met; those with texts
    alone have pandas' type for texts where it has one, all others are objects. None where there are too few
    documents, or too many different keys, for a compiled walk.
    """
    if len(documents) < COMPILED_FROM or not can_compile():
        return None
    try:
        whole = pa.array(documents, pa.large_string(), from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError):  # objects already, or no text at all
        return None
    texts = pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
    columns: dict[str, _Gathered] = {}
    lost = 0
    stretches = [texts.slice(first, STRETCH) for first in range(0, len(texts), STRETCH)]
    read_stretch = partial(_read_stretch, stretches)
    for number, found in enumerate(ahead(read_stretch, len(stretches), None)):
        if found is None or len({*columns, *found.names}) * len(texts) > MOST_CELLS:
            return None
        first = number * STRETCH
        for name, words, others, met in zip(found.names, found.texts, found.others, found.met, strict=True):
            if met is not None:
                column = columns.setdefault(name, _Gathered())
                column.texts[number] = words
                column.others += [(first + row, value) for row, value in others]
                column.meet(first + met[0], met[1])
        for row in (first + found.is_open).tolist():
            item = read(documents.iloc[row])
            lost += item is None
            for position, (name, value) in enumerate((item or {}).items()):
                column = columns.setdefault(name, _Gathered())
                column.others.append((row, value))
                column.meet(row, position)
    sizes = list(map(len, stretches))
    return {name: columns[name].values(sizes) for name in sorted(columns, key=lambda n: columns[n].met)}, lost


@dataclass(eq=False)
class _Gathered:
    """Values of one key: texts by stretch, all others by row, and where the key was first met."""

    texts: dict[int, pa.Array] = field(default_factory=dict)
    others: list[tuple[int, Any]] = field(default_factory=list)
    met: tuple[int, int] = (sys.maxsize, 0)

    def meet(self, row: int, position: int) -> None:
        """Hear of a row that has the key, and its place in the document."""
        self.met = min(self.met, (row, position))

    def values(self, sizes: list[int]) -> Any:
        """One value a row."""
        texts = [self.texts.get(at, pa.nulls(size, pa.string())) for at, size in enumerate(sizes)]
        whole = pa.chunked_array(texts)
        texts_alone = whole.null_count < len(whole) and all(value is None for _, value in self.others)
        if texts_alone and _texts_have_a_type():
            return pd.array(whole, dtype="str")
        values = np.full(sum(sizes), np.nan, dtype=object)
        for first, some in zip(np.cumsum([0, *sizes]), texts, strict=False):
            rows = np.flatnonzero(some.is_valid())
            values[first + rows] = _objects(some.drop_null())
        for row, value in self.others:
            values[row] = value
        return values


@dataclass(frozen=True, eq=False)
class _Stretch:
    """What some documents hold: texts and other values by key, where each key is first met, what is open."""

    names: list[str]
    texts: list[pa.Array]
    others: list[list[tuple[int, Any]]]
    met: list[tuple[int, int] | None]
    is_open: np.ndarray


@cache
def _texts_have_a_type() -> bool:
    return str(pd.Series(["text"]).dtype) == "str"


def _read_stretch(stretches: list[pa.Array], number: int) -> _Stretch | None:
    """The values of some documents; None for more keys than there is room for."""
    from canarykit.events.documents.scan_kernels import OPEN

    walked = _walked(stretches[number])
    if walked is None:
        return None
    names, (places, sizes, outside) = walked
    places[:, outside] = -1
    is_open = outside | (sizes == OPEN).any(axis=0)
    texts, others = _values(stretches[number], places, sizes, is_open)
    first = [np.flatnonzero((position >= 0) & ~is_open)[:1].tolist() for position in places]
    met = [(rows[0], int(places[at, rows[0]])) if rows else None for at, rows in enumerate(first)]
    return _Stretch(names, texts, others, met, np.flatnonzero(is_open))


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
    texts: pa.Array, places: np.ndarray, sizes: np.ndarray, is_open: np.ndarray
) -> tuple[list[pa.Array], list[list[tuple[int, Any]]]]:
    """Texts of each key (null where it has none), and its other values by row."""
    from canarykit.events.documents.scan_kernels import MISSING, OPEN

    _, data = buffers(texts)
    columns, others = [], []
    view = memoryview(data)  # type: ignore[arg-type]
    seen: dict[bytes, Any] = {}
    for position, size in zip(places, sizes, strict=True):
        is_text = (position > 0) & (size >= 0) & (data[np.maximum(position, 1) - 1] == _QUOTE)
        columns.append(texts_at(data, position, np.where(is_text & ~is_open, size, MISSING).astype(np.int32)))
        there = (position >= 0) & ~is_text & ~is_open
        nulls = np.flatnonzero(there & (size == MISSING)).tolist()
        found: list[tuple[int, Any]] = [(row, None) for row in nulls]
        rows = np.flatnonzero(there & (size != MISSING))
        for row, start, many in zip(
            *(part.tolist() for part in (rows, position[rows], size[rows])), strict=True
        ):
            number = _NUMBER.match(view, start)
            stop = number.end() if number else start + (many if many >= 0 else OPEN - many)
            found.append((row, _scalar(bytes(data[start:stop]), seen)))
        others.append(found)
    return columns, others


def _objects(texts: pa.Array) -> np.ndarray:
    """Texts as Python has them; a text that many rows have is one object."""
    sample = texts.slice(0, SAMPLE)
    if 2 * len(sample.unique()) > len(sample):
        return texts.to_numpy(zero_copy_only=False)
    coded = texts.dictionary_encode()
    words = np.array([*coded.dictionary.to_pylist(), None], dtype=object)
    return words[coded.indices.fill_null(-1).to_numpy()]


def _scalar(text: bytes, seen: dict[bytes, Any]) -> Any:
    """What a value that is not text is in Python; the few that are seen again and again are read once."""
    if text in seen:
        return seen[text]
    value = read_json(text.decode())
    if not isinstance(value, dict | list) and len(seen) < STRETCH:
        seen[text] = value
    return value
