"""The hashes flag systems use, of whole columns of ids, equal to the last bit to hashlib, mmh3 and zlib.

Two forms of every family: a scalar reference (`reference`: hashlib, zlib, mmh3, plain loops), which also
serves small columns so that nobody waits for a compiler, and kernels compiled by numba that run over the
offsets and data of an Arrow text column (`serial`: one id at a time; `digests` over `vectors`: sixteen ids at
a time in the processor's vectors, for murmur3 where ids are short). A prefix and a suffix are folded in
without building the texts. Each distinct value of a categorical or dictionary column is hashed once.

What counts as an id, and as a missing one, is told in `ids`.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from canarykit.compiler import can_compile
from canarykit.errors import PlanError, did_you_mean
from canarykit.hashing.arrow_texts import encode_text, well_formed
from canarykit.hashing.ids import IdColumn, read_ids
from canarykit.hashing.reference import FNV_OFFSET, REFERENCE

__all__ = ["COMPILED_FROM", "FAMILIES", "Family", "IdColumn", "hash_column", "hash_ids", "read_ids"]

COMPILED_FROM = 50_000
"""Distinct ids from which the compiled form is used: below, the loops finish before a compiler would."""

Engine = Literal["auto", "reference", "compiled"]


@dataclass(frozen=True)
class Family:
    """A hash function: what it reads and how much of it there is."""

    name: str
    digest_bytes: int  # 4: a 32-bit number; more: the whole digest of a block hash
    utf16: bool = False  # runs over UTF-16 code units instead of UTF-8 bytes
    seed: int = 0  # used where the caller gives none

    @property
    def is_block(self) -> bool:
        """Whether this is SHA-1, MD5 or SHA-256."""
        return self.digest_bytes > 4


FAMILIES = {
    family.name: family
    for family in (
        Family("sha1", 20),
        Family("md5", 16),
        Family("sha256", 32),
        Family("murmur3", 4),
        Family("fnv1a", 4, seed=FNV_OFFSET),
        Family("fnv1a_utf16", 4, utf16=True, seed=FNV_OFFSET),
        Family("fnv1a_utf16_twice", 4, utf16=True, seed=FNV_OFFSET),
        Family("java31", 4, utf16=True),
        Family("crc32", 4),
    )
}


def hash_ids(
    ids: Any,
    family: str,
    *,
    prefix: str = "",
    suffix: str = "",
    seed: int | None = None,
    engine: Engine = "auto",
) -> np.ndarray:
    """Hash `prefix + id + suffix` for every id of a column.

    Parameters
    ----------
    ids
        Anything `read_ids` reads: pandas, numpy, Arrow, a list.
    family
        "sha1", "md5", "sha256", "murmur3" (x86, 32 bits), "fnv1a" (32 bits, over UTF-8), "fnv1a_utf16",
        "fnv1a_utf16_twice" (then of the decimal text of the first hash), "java31" or "crc32".
    prefix, suffix
        Text around the id.
    seed
        Of murmur3, taken modulo 2**32; the offset basis of FNV-1a. None: the family's own.
    engine
        "auto" takes the compiled form from `COMPILED_FROM` distinct ids.

    Returns
    -------
    numpy.ndarray
        uint32 per row, or for the three block hashes uint64: the first eight bytes of the digest, read
        big-endian. 0 where the id is missing; `read_ids(ids).missing` tells.

    Raises
    ------
    PlanError
        If there is no such family.
    DataError
        If an id is neither text nor a whole number.

    Examples
    --------
    >>> hash_ids(["user-1", None], "murmur3", prefix="checkout:")
    array([3498952333,          0], dtype=uint32)
    """
    return hash_column(read_ids(ids), family, prefix=prefix, suffix=suffix, seed=seed, engine=engine)


def hash_column(
    column: IdColumn,
    family: str,
    *,
    prefix: str = "",
    suffix: str = "",
    seed: int | None = None,
    whole_digest: bool = False,
    engine: Engine = "auto",
) -> np.ndarray:
    """`hash_ids` of a column already read; `whole_digest` adds an axis in front.

    With `whole_digest`, the digest of MD5 or SHA-256 comes as its big-endian 64-bit parts, an array of
    shape (2, rows) or (4, rows).
    """
    if family not in FAMILIES:
        raise PlanError(f"no hash family {family!r}; {did_you_mean(family, FAMILIES)}")
    chosen = FAMILIES[family]
    number = (chosen.seed if seed is None else int(seed)) & 0xFFFFFFFF
    around = [encode_text(text) for text in (prefix, suffix)]
    if not chosen.utf16:
        around = [well_formed(text) for text in around]
    distinct = sum(len(chunk.texts) for chunk in column.chunks)
    compiled = (engine == "compiled" or (engine == "auto" and distinct >= COMPILED_FROM)) and can_compile()
    pairs = chosen.digest_bytes // 8 if whole_digest else 1
    shape: tuple[int, ...] = (pairs, len(column)) if whole_digest else (len(column),)
    out = np.zeros(shape, dtype=np.uint64 if chosen.is_block else np.uint32)
    first = 0
    for chunk in column.chunks:
        rows = len(chunk)
        target = out[..., first : first + rows]
        if chunk.codes is None:
            _hash_texts(chunk.texts, chosen, around, number, target, compiled)
        else:
            hashed = np.zeros((*shape[:-1], len(chunk.texts)), dtype=out.dtype)
            _hash_texts(chunk.texts, chosen, around, number, hashed, compiled)
            target[...] = chunk.per_row(hashed, 0)
        first += rows
    return out


def _hash_texts(
    texts: Any, family: Family, around: list[bytes], seed: int, out: np.ndarray, compiled: bool
) -> None:
    """Fill `out` (last axis: one per Arrow text); 0 where the text is null."""
    if compiled:
        from canarykit.hashing.dispatch import hash_buffers

        hash_buffers(texts, family, around, seed, out)
        if texts.null_count:
            out[..., texts.is_null().to_numpy(zero_copy_only=False)] = 0
        return
    function = REFERENCE[family.name]
    prefix, suffix = around
    for row, text in enumerate(texts.to_pylist()):
        if text is None:
            continue
        body = text.encode() if isinstance(text, str) else text if family.utf16 else well_formed(text)
        result = function(prefix + body + suffix, seed)
        if isinstance(result, int):
            out[row] = result
        elif out.ndim == 1:
            out[row] = int.from_bytes(result[:8], "big")
        else:
            out[:, row] = [int.from_bytes(result[8 * k : 8 * k + 8], "big") for k in range(len(out))]
