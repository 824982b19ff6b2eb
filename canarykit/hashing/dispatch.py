"""From an Arrow text array to the compiled kernels: its offsets and data, without a copy."""

from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.hashing.arrow_texts import well_formed
from canarykit.hashing.compiled import digests, serial

if TYPE_CHECKING:
    from canarykit.hashing import Family

BLOCK_KERNELS = {"sha1": digests.sha1_column, "md5": digests.md5_column, "sha256": digests.sha256_column}
WORD_KERNELS = {
    "fnv1a": serial.fnv1a_column,
    "fnv1a_utf16": serial.fnv1a_utf16_column,
    "fnv1a_utf16_twice": serial.fnv1a_utf16_column,
    "java31": serial.java31_column,
    "crc32": serial.crc32_column,
}


def hash_buffers(texts: Any, family: "Family", around: list[bytes], seed: int, out: np.ndarray) -> None:
    """Hash every text of an Arrow (large) string or binary array into `out`, nulls included."""
    if len(texts) == 0:
        return
    offsets, data = _buffers(texts)
    if _may_hold_surrogates(texts) and not family.utf16:
        data = np.frombuffer(well_formed(data.tobytes()), dtype=np.uint8)
    prefix, suffix = (np.frombuffer(text, dtype=np.uint8) for text in around)
    address = data.ctypes.data
    if family.is_block:
        pairs = out[np.newaxis] if out.ndim == 1 else np.empty(out.shape, dtype=np.uint64)
        BLOCK_KERNELS[family.name](offsets, address, data.size, prefix, suffix, pairs)
        if out.ndim == 2:
            out[...] = pairs
        return
    if family.name == "murmur3":
        digests.murmur3_lanes(offsets, address, data.size, prefix, suffix, np.uint32(seed), out)
        return
    WORD_KERNELS[family.name](offsets, address, prefix, suffix, np.uint32(seed), out)
    if family.name == "fnv1a_utf16_twice":
        serial.fnv1a_decimal(out, out)


def _buffers(texts: Any) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (one more than rows) and the whole data buffer they point into."""
    import pyarrow as pa

    wide = pa.types.is_large_string(texts.type) or pa.types.is_large_binary(texts.type)
    _, offsets, data = texts.buffers()
    every = np.frombuffer(offsets, dtype=np.int64 if wide else np.int32)
    content = np.zeros(8, dtype=np.uint8) if data is None or data.size == 0 else np.frombuffer(data, np.uint8)
    return every[texts.offset : texts.offset + len(texts) + 1], content


def _may_hold_surrogates(texts: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_binary(texts.type) or pa.types.is_large_binary(texts.type)
