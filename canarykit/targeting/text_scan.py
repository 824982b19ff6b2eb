"""One pass over the bytes of a long column of texts: which contain, start, end with or equal some parts.

Only imported where a column is long enough to pay for the compiled form; shorter ones go through Arrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from canarykit.compiler import njit
from canarykit.parallel import in_halves

_EQUAL, _STARTS, _ENDS, _CONTAINS = range(4)
_PLACES = {"equal": _EQUAL, "starts": _STARTS, "ends": _ENDS, "contains": _CONTAINS}


@njit()
def _same(data, at, part, begin, size):  # type: ignore[no-untyped-def]
    for step in range(size):
        byte = data[at + step]
        if 65 <= byte <= 90:
            byte += 32
        if byte != part[begin + step]:
            return False
    return True


@njit()
def _skips(part, edges):  # type: ignore[no-untyped-def]
    """How far each part may move on when a byte stands under its last place (Horspool 1980)."""
    table = np.empty((edges.size - 1, 256), dtype=np.int64)
    for which in range(edges.size - 1):
        begin, size = edges[which], edges[which + 1] - edges[which]
        table[which, :] = max(size, 1)
        for step in range(size - 1):
            byte = part[begin + step]
            table[which, byte] = size - 1 - step
            if 97 <= byte <= 122:
                table[which, byte - 32] = size - 1 - step
    return table


@njit()
def _holds(data, start, end, part, begin, size, skip):  # type: ignore[no-untyped-def]
    at = start
    while at <= end - size:
        if _same(data, at, part, begin, size):
            return True
        at += skip[data[at + size - 1]]
    return False


@njit()
def _scan(offsets, data, part, edges, place, out):  # type: ignore[no-untyped-def]
    skips = _skips(part, edges)
    for row in range(out.size):
        start, end = offsets[row], offsets[row + 1]
        holds = False
        for which in range(edges.size - 1):
            begin = edges[which]
            size = edges[which + 1] - begin
            if size > end - start:
                continue
            if place == _EQUAL:
                holds = size == end - start and _same(data, start, part, begin, size)
            elif place == _STARTS:
                holds = _same(data, start, part, begin, size)
            elif place == _ENDS:
                holds = _same(data, end - size, part, begin, size)
            else:
                holds = size == 0 or _holds(data, start, end, part, begin, size, skips[which])
            if holds:
                break
        out[row] = holds


@njit()
def _equal_words(offsets, data, whole, words, sizes, out):  # type: ignore[no-untyped-def]
    """Equality with parts of at most eight bytes: each text is folded and compared as one number.

    `whole` is the data as aligned numbers of eight bytes; a text is put together from two of them.
    """
    ones = np.uint64(0x0101010101010101)
    high = np.uint64(0x8080808080808080)
    for row in range(out.size):
        start = offsets[row]
        size = offsets[row + 1] - start
        first = start >> 3
        if first + 1 < whole.size:
            shift = np.uint64((start & 7) * 8)
            word = whole[first] >> shift
            if shift:
                word |= whole[first + 1] << (np.uint64(64) - shift)
        else:
            word = np.uint64(0)
            for step in range(min(size, 8)):
                word |= np.uint64(data[start + step]) << np.uint64(8 * step)
        low = word & ~high
        upper = (low + ones * np.uint64(128 - 65)) & ~(low + ones * np.uint64(128 - 91)) & ~word & high
        word += upper >> np.uint64(2)  # a letter from A to Z has 32 added
        equal = False
        for which in range(sizes.size):
            kept = ~np.uint64(0) >> np.uint64(64 - 8 * sizes[which]) if sizes[which] else np.uint64(0)
            equal |= (size == sizes[which]) & ((word & kept) == words[which])
        out[row] = equal


def scan_texts(texts: Any, parts: Sequence[str], place: str) -> np.ndarray:
    """Whether each text holds one of the parts (already folded) at a place, ignoring the case of A to Z.

    Arrow strings or large strings, of which what stands under nulls is not looked at; `place` is "equal",
    "starts", "ends" or "contains".
    """
    offsets, data = _buffers(texts)
    encoded = [part.encode() for part in parts]
    edges = np.cumsum([0, *map(len, encoded)])
    out = np.empty(len(texts), dtype=np.bool_)
    if place == "equal" and max(map(len, encoded)) <= 8 and data.ctypes.data % 8 == 0:
        whole = data[: len(data) // 8 * 8].view(np.uint64)
        words = np.array([int.from_bytes(part, "little") for part in encoded], dtype=np.uint64)
        sizes = np.diff(edges)
        in_halves(
            len(out), lambda a, b: _equal_words(offsets[a : b + 1], data, whole, words, sizes, out[a:b])
        )
        return out
    part = np.frombuffer(b"".join(encoded) or b"\0", np.uint8)
    in_halves(len(out), lambda a, b: _scan(offsets[a : b + 1], data, part, edges, _PLACES[place], out[a:b]))
    return out


def all_ascii(texts: Any) -> bool:
    """Whether every byte of the texts is ASCII."""
    offsets, data = _buffers(texts)
    used = data[offsets[0] : offsets[-1]]
    whole = len(used) // 8 * 8
    words = used[:whole].view(np.uint64) if used.ctypes.data % 8 == 0 else used[:whole]
    mask = np.uint64(0x8080808080808080) if words.dtype == np.uint64 else np.uint8(0x80)
    return not (np.bitwise_or.reduce(words, initial=0) & mask or (used[whole:] & 0x80).any())


def _buffers(texts: Any) -> tuple[np.ndarray, np.ndarray]:
    import pyarrow as pa

    kind = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    _, offsets, data = texts.buffers()
    first = texts.offset
    positions = np.frombuffer(offsets, kind)[first : first + len(texts) + 1]
    return positions, np.frombuffer(data or b"\0", np.uint8)
