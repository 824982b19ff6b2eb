"""SHA-1, MD5, SHA-256 and murmur3 of a whole Arrow text column, `prefix + id + suffix` per row.

The concatenated texts are never built: each 64-byte block is packed straight from the Arrow buffer with
the prefix laid over its start and the suffix, padding included, after its end (see `lanes`).
"""

# mypy: ignore-errors
# (numba types these functions when it compiles them; mypy cannot)

import numba
import numpy as np

from canarykit.compiler import njit
from canarykit.hashing.compiled.serial import load_byte, load_word, murmur3_column
from canarykit.hashing.compiled.vectors import (
    BLOCK,
    LANES,
    compress_md5,
    compress_sha1,
    compress_sha256,
    mix_murmur3,
    pack_block,
    pack_key,
    swap_bytes,
)


@numba.njit
def _scratch(count):
    """Zeroed bytes and the first 64-byte boundary in them; hold the array for as long as the address."""
    memory = np.zeros(count + BLOCK, dtype=np.uint8)
    address = np.int64(memory.ctypes.data)
    return memory, (address + BLOCK - 1) // BLOCK * BLOCK


@numba.njit
def _aligned_words(memory, address, words):
    first = address - np.int64(memory.ctypes.data)
    return memory[first : first + 4 * words].view(np.uint32)


@numba.njit
def _bits(kind, count):
    """The length of a message in bits, as it stands at its end: MD5 little-endian, the others big-endian."""
    length = np.uint64(count) << np.uint64(3)
    return length if kind == 1 else swap_bytes(length)


@numba.njit
def _digest_column(kind, words, offsets, data, size, prefix, suffix, out):
    """The hash `kind` (0 SHA-1, 1 MD5, 2 SHA-256) per row: `out[k]` gets words 2k and 2k + 1 of each."""
    before, after = len(prefix), len(suffix)
    rows_memory, rows = _scratch(LANES * BLOCK)
    state_memory, state_address = _scratch(words * BLOCK)
    blocks_memory, blocks_address = _scratch(BLOCK)
    blocks = _aligned_words(blocks_memory, blocks_address, LANES)
    # prefix, then zeros; zeros, then suffix and padding byte, then zeros: any 64 bytes may be read
    padded_prefix = np.zeros(before + 2 * BLOCK, dtype=np.uint8)
    padded_prefix[:before] = prefix
    padded_suffix = np.zeros(after + 1 + 2 * BLOCK, dtype=np.uint8)
    padded_suffix[BLOCK : BLOCK + after] = suffix
    padded_suffix[BLOCK + after] = 0x80
    prefix_address = np.int64(padded_prefix.ctypes.data)
    suffix_address = np.int64(padded_suffix.ctypes.data) + BLOCK
    edge = np.zeros(BLOCK, dtype=np.uint8)
    edge_address = np.int64(edge.ctypes.data)
    count = out.shape[1]
    blocks[:] = 1
    for base in range(0, count, LANES):
        lanes = min(LANES, count - base)
        longest = 0
        for lane in range(lanes):
            longest = max(longest, np.int64(offsets[base + lane + 1]) - np.int64(offsets[base + lane]))
        first, last = np.int64(offsets[base]) - before, np.int64(offsets[base + lanes - 1]) - before
        # one block each, and all of them well inside the buffer: the usual ids
        plain = before + longest + after <= BLOCK - 9 and first >= 0 and last + BLOCK <= size
        number, most = 0, 1
        while number < most:
            offset = np.int64(offsets[base])
            if plain:
                for lane in range(lanes):
                    following = np.int64(offsets[base + lane + 1])
                    key_end = before + following - offset
                    length = _bits(kind, key_end + after)
                    key = data + offset - before
                    row = rows + lane * BLOCK
                    pack_block(prefix_address, key, suffix_address - key_end, before, key_end, length, row)
                    offset = following
            else:
                position = number * BLOCK  # of this block in the message
                for lane in range(lanes):
                    following = np.int64(offsets[base + lane + 1])
                    key_end = before + following - offset
                    needed = (key_end + after + 8) // BLOCK + 1
                    length = _bits(kind, key_end + after) if number == needed - 1 else np.uint64(0)
                    if number == 0:
                        blocks[lane] = needed
                        most = max(most, needed)
                    start = offset - before + position  # of the block's first byte, were it part of the id
                    key = data + start
                    if start < 0 or start + BLOCK > size:  # only near the ends of the whole buffer
                        for k in range(BLOCK):
                            edge[k] = load_byte(data + start + k) if 0 <= start + k < size else 0
                        key = edge_address
                    pack_block(
                        prefix_address + min(position, before + BLOCK),
                        key,
                        suffix_address + min(max(position - key_end, -BLOCK), after + 1),
                        min(max(before - position, 0), BLOCK),
                        min(max(key_end - position, 0), BLOCK),
                        length,
                        rows + lane * BLOCK,
                    )
                    offset = following
            if kind == 0:
                compress_sha1(rows, state_address, blocks_address, number)
            elif kind == 1:
                compress_md5(rows, state_address, blocks_address, number)
            else:
                compress_sha256(rows, state_address, blocks_address, number)
            number += 1
        for pair in range(out.shape[0]):
            words_at = state_address + 2 * pair * BLOCK
            for lane in range(lanes):
                high = np.uint64(load_word(words_at + 4 * lane))
                low = np.uint64(load_word(words_at + BLOCK + 4 * lane))
                if kind == 1:  # MD5 writes its words in little-endian order
                    out[pair, base + lane] = swap_bytes(low << np.uint64(32) | high)
                else:
                    out[pair, base + lane] = high << np.uint64(32) | low
    # touched at the end, so that the memory behind the addresses lives until here
    rows_memory[0] = state_memory[0] = blocks_memory[0] = 0
    padded_prefix[0] = padded_suffix[0] = edge[0] = 0


@njit(boundscheck=False)
def sha1_column(offsets, data, size, prefix, suffix, out):
    """SHA-1 per row; `out` is a uint64 array of shape (pairs of leading words, rows)."""
    _digest_column(0, 5, offsets, data, size, prefix, suffix, out)


@njit(boundscheck=False)
def md5_column(offsets, data, size, prefix, suffix, out):
    """MD5 per row, as `sha1_column`."""
    _digest_column(1, 4, offsets, data, size, prefix, suffix, out)


@njit(boundscheck=False)
def sha256_column(offsets, data, size, prefix, suffix, out):
    """SHA-256 per row, as `sha1_column`."""
    _digest_column(2, 8, offsets, data, size, prefix, suffix, out)


@njit(boundscheck=False)
def murmur3_lanes(offsets, data, size, prefix, suffix, seed, out):
    """MurmurHash3_x86_32 per row, sixteen rows at a time where none is longer than 64 bytes."""
    before, after = len(prefix), len(suffix)
    rows_memory, rows = _scratch(LANES * BLOCK)
    words_memory, words = _scratch(2 * BLOCK)
    lengths = _aligned_words(words_memory, words, 2 * LANES)
    padded_prefix = np.zeros(before + BLOCK, dtype=np.uint8)
    padded_prefix[:before] = prefix
    padded_suffix = np.zeros(after + 2 * BLOCK, dtype=np.uint8)
    padded_suffix[BLOCK : BLOCK + after] = suffix
    prefix_address = np.int64(padded_prefix.ctypes.data)
    suffix_address = np.int64(padded_suffix.ctypes.data) + BLOCK
    target = np.int64(out.ctypes.data)
    for base in range(0, len(out), LANES):
        lanes = min(LANES, len(out) - base)
        longest = 0
        for lane in range(lanes):
            longest = max(longest, np.int64(offsets[base + lane + 1]) - np.int64(offsets[base + lane]))
        longest += before + after
        first, last = np.int64(offsets[base]) - before, np.int64(offsets[base + lanes - 1]) - before
        if longest > BLOCK or first < 0 or last + BLOCK > size or lanes < LANES:
            murmur3_column(
                offsets[base : base + lanes + 1], data, prefix, suffix, seed, out[base : base + lanes]
            )
            continue
        offset = np.int64(offsets[base])
        for lane in range(LANES):
            following = np.int64(offsets[base + lane + 1])
            key_end = before + following - offset
            lengths[lane] = key_end + after
            key = data + offset - before
            row = rows + lane * BLOCK
            if before + after == 0:
                pack_key(key, key_end, row)
            else:
                pack_block(prefix_address, key, suffix_address - key_end, before, key_end, np.uint64(0), row)
            offset = following
        mix_murmur3(rows, words, np.uint32(seed), (longest + 3) // 4, target + 4 * base)
    rows_memory[0] = words_memory[0] = padded_prefix[0] = padded_suffix[0] = 0
