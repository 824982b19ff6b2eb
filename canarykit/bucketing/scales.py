"""From a hash to the vendor's bucket, for arrays: float64 that equals the vendor's own arithmetic.

The array of hashes belongs to the scale, which may overwrite it.
"""

from collections.abc import Callable

import numpy as np

Scale = Callable[[np.ndarray, int, int], np.ndarray]  # (hash, number of buckets, caller's seed) -> bucket


def _bits_60(hashed: np.ndarray, total: int, seed: int) -> np.ndarray:
    """The first 15 hex digits over 2**60: both converted to binary64, then one (here exact) scaling."""
    hashed >>= np.uint64(4)
    unit = hashed.astype(np.float64)
    unit *= 2.0**-60
    return unit


def _bits_28(hashed: np.ndarray, total: int, seed: int) -> np.ndarray:
    return ((hashed >> np.uint64(36)) % np.uint64(total)).astype(np.float64)


def _bits_32_modulo(hashed: np.ndarray, total: int, seed: int) -> np.ndarray:
    return ((hashed >> np.uint64(32)) % np.uint64(total)).astype(np.float64)


def _modulo(hashed: np.ndarray, total: int, seed: int) -> np.ndarray:
    return (hashed % hashed.dtype.type(total)).astype(np.float64)


def _modulo_from_1(hashed: np.ndarray, total: int, seed: int) -> np.ndarray:
    return _modulo(hashed, total, seed) + 1


def _modulo_as_fraction(hashed: np.ndarray, total: int, seed: int) -> np.ndarray:
    return _modulo(hashed, total, seed) / total


def _quotient_of_100(hashed: np.ndarray, total: int, seed: int) -> np.ndarray:
    return (hashed // np.uint32(100)).astype(np.float64)


def _share(hashed: np.ndarray, total: int, seed: int) -> np.ndarray:
    """`floor(hash / 2**32 * total)`, in integers."""
    return ((hashed.astype(np.uint64) * np.uint64(total)) >> np.uint64(32)).astype(np.float64)


def _percent_little_endian(hashed: np.ndarray, total: int, seed: int) -> np.ndarray:
    marker = (hashed >> np.uint64(32)).astype(np.uint32).byteswap()
    return marker.astype(np.float64) / (2**32 - 1) * 100


def _percent_31_bits(hashed: np.ndarray, total: int, seed: int) -> np.ndarray:
    return np.abs(hashed.view(np.int32).astype(np.float64)) / (2**31 - 1) * 100


def _signed_xor_seed(hashed: np.ndarray, total: int, seed: int) -> np.ndarray:
    signed = (hashed ^ np.uint32(seed & 0xFFFFFFFF)).view(np.int32).astype(np.int64)
    return (np.abs(signed) % total + 1).astype(np.float64)


def _whole_modulo(parts: np.ndarray, total: int, seed: int) -> np.ndarray:
    """A whole digest, in big-endian 64-bit parts, modulo a number below 2**31."""
    rest = np.zeros(parts.shape[-1], dtype=np.uint64)
    for part in parts:
        for half in (part >> np.uint64(32), part & np.uint64(0xFFFFFFFF)):
            rest = (rest << np.uint64(32) | half) % np.uint64(total)
    return rest.astype(np.float64)


def _whole_percent(parts: np.ndarray, total: int, seed: int) -> np.ndarray:
    """Flagsmith's percentage: 0 to 100, both included (100 is hashed again, see `bucket`)."""
    return _whole_modulo(parts, 9999, seed) / 9998 * 100


SCALES: dict[str, Scale] = {
    "60 bits": _bits_60,
    "28 bits": _bits_28,
    "32 bits modulo": _bits_32_modulo,
    "32 bits little-endian percent": _percent_little_endian,
    "31 bits percent": _percent_31_bits,
    "modulo": _modulo,
    "modulo from 1": _modulo_from_1,
    "modulo as fraction": _modulo_as_fraction,
    "quotient of 100": _quotient_of_100,
    "share": _share,
    "signed xor seed, modulo from 1": _signed_xor_seed,
    "whole modulo": _whole_modulo,
    "whole percent of 9998": _whole_percent,
}
WHOLE = frozenset({"whole modulo", "whole percent of 9998"})
"""Scales that need every byte of the digest."""
