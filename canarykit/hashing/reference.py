"""Every hash family for one text, by hashlib, zlib, mmh3 or a plain loop: what the columns must equal.

Small columns are hashed with these loops too, so that no notebook cell waits for a compiler.
"""

import hashlib
import zlib
from collections.abc import Callable

FNV_OFFSET, FNV_PRIME = 0x811C9DC5, 0x01000193
MASK = 0xFFFFFFFF


def utf16_units(text: bytes) -> list[int]:
    """The UTF-16 code units of UTF-8 bytes, in which lone surrogates may be written as three bytes each."""
    packed = text.decode("utf-8", "surrogatepass").encode("utf-16-le", "surrogatepass")
    return [packed[i] | packed[i + 1] << 8 for i in range(0, len(packed), 2)]


def _sha1(text: bytes, seed: int) -> bytes:
    return hashlib.sha1(text, usedforsecurity=False).digest()


def _md5(text: bytes, seed: int) -> bytes:
    return hashlib.md5(text, usedforsecurity=False).digest()


def _sha256(text: bytes, seed: int) -> bytes:
    return hashlib.sha256(text, usedforsecurity=False).digest()


def _murmur3(text: bytes, seed: int) -> int:
    import mmh3

    return mmh3.hash(text, seed, signed=False)


def _fnv1a(text: bytes, seed: int) -> int:
    state = seed
    for byte in text:
        state = (state ^ byte) * FNV_PRIME & MASK
    return state


def _fnv1a_utf16(text: bytes, seed: int) -> int:
    state = seed
    for unit in utf16_units(text):
        state = (state ^ unit) * FNV_PRIME & MASK
    return state


def _fnv1a_utf16_twice(text: bytes, seed: int) -> int:
    return fnv1a_decimal(_fnv1a_utf16(text, seed))


def fnv1a_decimal(number: int) -> int:
    """FNV-1a of the decimal text of a number.

    Examples
    --------
    >>> fnv1a_decimal(0) == _fnv1a(b"0", FNV_OFFSET)
    True
    """
    return _fnv1a(str(number).encode(), FNV_OFFSET)


def _java31(text: bytes, seed: int) -> int:
    state = seed
    for unit in utf16_units(text):
        state = (31 * state + unit) & MASK
    return state


def _crc32(text: bytes, seed: int) -> int:
    return zlib.crc32(text, seed)


REFERENCE: dict[str, Callable[[bytes, int], int | bytes]] = {
    "sha1": _sha1,
    "md5": _md5,
    "sha256": _sha256,
    "murmur3": _murmur3,
    "fnv1a": _fnv1a,
    "fnv1a_utf16": _fnv1a_utf16,
    "fnv1a_utf16_twice": _fnv1a_utf16_twice,
    "java31": _java31,
    "crc32": _crc32,
}
