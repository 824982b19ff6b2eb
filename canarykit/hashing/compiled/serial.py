"""Hashes that walk through one id at a time, over a whole Arrow text column: murmur3, FNV-1a, CRC-32, Java.

Every kernel hashes `prefix + id + suffix` per row without building the text: whole words of the prefix
are fed once, the suffix is read from its own buffer. All texts are UTF-8; the two hashes that vendors run
over UTF-16 code units decode them on the way.

numba widens 32-bit arithmetic to 64 bits, which hides rotations from LLVM, so the steps are intrinsics.
They stand at module level and take addresses, for the reasons told in `lanes`.

References
----------
Appleby, MurmurHash3_x86_32; Fowler, Noll & Vo, FNV-1a 32; ISO 3309 CRC-32; `java.lang.String.hashCode`.
"""

# mypy: ignore-errors
# (numba types these functions when it compiles them; mypy cannot)

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from canarykit.compiler import njit

u32 = np.uint32
BYTE, WORD = ir.IntType(8), ir.IntType(32)


def _loader(result: Any, kind: ir.IntType) -> Any:
    @intrinsic
    def load(typingctx, address):
        def codegen(context, builder, signature, arguments):
            loaded = builder.load(builder.inttoptr(arguments[0], kind.as_pointer()))
            loaded.align = 1
            return loaded

        return result(types.int64), codegen

    return load


def _binary(operation: str) -> Any:
    @intrinsic
    def apply(typingctx, x, y):
        def codegen(context, builder, signature, arguments):
            return getattr(builder, operation)(arguments[0], arguments[1])

        return types.uint32(types.uint32, types.uint32), codegen

    return apply


load_byte, load_word = _loader(types.uint8, BYTE), _loader(types.uint32, WORD)
add, multiply, xor, either = _binary("add"), _binary("mul"), _binary("xor"), _binary("or_")
shift_left, shift_right = _binary("shl"), _binary("lshr")


@intrinsic
def rotate(typingctx, x, bits):
    """`x` rotated left."""

    def codegen(context, builder, signature, arguments):
        kind = ir.FunctionType(WORD, [WORD] * 3)
        funnel = builder.module.declare_intrinsic("llvm.fshl", [WORD], kind)
        return builder.call(funnel, [arguments[0], arguments[0], arguments[1]])

    return types.uint32(types.uint32, types.uint32), codegen


# ---- murmur3_x86_32 -------------------------------------------------------------------------------------


@numba.njit
def _scrambled(word):
    return multiply(rotate(multiply(word, u32(0xCC9E2D51)), u32(15)), u32(0x1B873593))


@numba.njit
def _fed(state, word):
    state = rotate(xor(state, _scrambled(word)), u32(13))
    return add(multiply(state, u32(5)), u32(0xE6546B64))


@numba.njit
def _finished(state, address, count, total):
    """Feed the last `count` bytes of a message of `total` bytes and mix the state a last time."""
    end = address + (count & ~3)
    while address < end:
        state = _fed(state, load_word(address))
        address += 4
    rest = count & 3
    if rest:
        word = u32(load_byte(address))
        if rest > 1:
            word = either(word, shift_left(u32(load_byte(address + 1)), u32(8)))
        if rest > 2:
            word = either(word, shift_left(u32(load_byte(address + 2)), u32(16)))
        state = xor(state, _scrambled(word))
    state = xor(state, u32(total))
    state = multiply(xor(state, shift_right(state, u32(16))), u32(0x85EBCA6B))
    state = multiply(xor(state, shift_right(state, u32(13))), u32(0xC2B2AE35))
    return xor(state, shift_right(state, u32(16)))


@njit(boundscheck=False)
def murmur3_column(offsets, data, prefix, suffix, seed, out):
    """MurmurHash3_x86_32 per row, into the uint32 array `out`.

    `carried` holds the 0 to 3 prefix bytes that share a word with the first bytes of the id; after that
    word the id is read with plain unaligned loads. Where there is a suffix, the 0 to 3 bytes of the id
    that do not fill a word are copied in front of it, so that the rest is one run of bytes again.
    """
    start = u32(seed)
    whole = len(prefix) // 4 * 4
    shared = len(prefix) - whole
    for i in range(0, whole, 4):
        word = u32(0)
        for k in range(4):
            word = either(word, shift_left(u32(prefix[i + k]), u32(8 * k)))
        start = _fed(start, word)
    carried = u32(0)
    for k in range(shared):
        carried = either(carried, shift_left(u32(prefix[whole + k]), u32(8 * k)))
    wanted = (4 - shared) & 3
    around = len(prefix) + len(suffix)
    if len(suffix) == 0 and shared == 0:
        for i in range(len(out)):
            address = data + np.int64(offsets[i])
            count = np.int64(offsets[i + 1]) - np.int64(offsets[i])
            out[i] = _finished(start, address, count, count + around)
        return
    # room for: up to 3 prefix bytes, up to 3 + 3 id bytes, the suffix
    joined = np.zeros(len(suffix) + 16, dtype=np.uint8)
    joined[8 : 8 + len(suffix)] = suffix
    base = np.int64(joined.ctypes.data) + 8
    for i in range(len(out)):
        address = data + np.int64(offsets[i])
        count = np.int64(offsets[i + 1]) - np.int64(offsets[i])
        total = count + around
        state = start
        if count >= wanted:
            if shared:
                word = carried
                for k in range(wanted):
                    word = either(word, shift_left(u32(load_byte(address + k)), u32(8 * (shared + k))))
                state = _fed(state, word)
                address += wanted
                count -= wanted
            if len(suffix) == 0:
                out[i] = _finished(state, address, count, total)
                continue
            end = address + (count & ~3)
            while address < end:
                state = _fed(state, load_word(address))
                address += 4
            left = count & 3
            for k in range(left):
                joined[8 - left + k] = load_byte(address + k)
        else:  # the id is too short to fill the shared word
            left = shared + count
            for k in range(shared):
                joined[8 - left + k] = prefix[whole + k]
            for k in range(count):
                joined[8 - count + k] = load_byte(address + k)
        out[i] = _finished(state, base - left, left + len(suffix), total)
    joined[0] = 0  # touched at the end, so that the memory behind `base` lives until here


# ---- FNV-1a, CRC-32, Java's String.hashCode ---------------------------------------------------------------


@numba.njit
def _fnv1a(state, address, count):
    end = address + count
    while address < end:
        state = multiply(xor(state, u32(load_byte(address))), u32(0x01000193))
        address += 1
    return state


@njit(boundscheck=False)
def fnv1a_column(offsets, data, prefix, suffix, seed, out):
    """FNV-1a over UTF-8 bytes per row; `seed` is the offset basis."""
    start = _fnv1a(u32(seed), np.int64(prefix.ctypes.data), len(prefix))
    tail = np.int64(suffix.ctypes.data)
    for i in range(len(out)):
        address = data + np.int64(offsets[i])
        count = np.int64(offsets[i + 1]) - np.int64(offsets[i])
        out[i] = _fnv1a(_fnv1a(start, address, count), tail, len(suffix))


@njit(boundscheck=False)
def fnv1a_decimal(hashes, out):
    """FNV-1a of the decimal text of each 32-bit number, as GrowthBook's second version asks."""
    for i in range(len(hashes)):
        number = np.int64(hashes[i])
        scale = np.int64(1)
        while scale * 10 <= number:
            scale *= 10
        state = u32(0x811C9DC5)
        while scale > 0:
            digit = number // scale % 10
            state = multiply(xor(state, u32(48 + digit)), u32(0x01000193))
            scale //= 10
        out[i] = state


@numba.njit
def _over_units(state, address, count, is_java):
    """Feed UTF-8 bytes as UTF-16 code units: FNV-1a's step, or Java's `31 * h + unit`."""
    end = address + count
    while address < end:
        first = np.int64(load_byte(address))
        if first < 0x80:
            point = first
            address += 1
        elif first < 0xE0:
            point = (first & 0x1F) << 6 | np.int64(load_byte(address + 1)) & 0x3F
            address += 2
        elif first < 0xF0:
            point = (first & 0x0F) << 12 | (np.int64(load_byte(address + 1)) & 0x3F) << 6
            point |= np.int64(load_byte(address + 2)) & 0x3F
            address += 3
        else:
            point = (first & 0x07) << 18 | (np.int64(load_byte(address + 1)) & 0x3F) << 12
            point |= (np.int64(load_byte(address + 2)) & 0x3F) << 6
            point |= np.int64(load_byte(address + 3)) & 0x3F
            address += 4
        if point >= 0x10000:
            high = u32(0xD800 + ((point - 0x10000) >> 10))
            if is_java:
                state = add(multiply(state, u32(31)), high)
            else:
                state = multiply(xor(state, high), u32(0x01000193))
            point = 0xDC00 + ((point - 0x10000) & 0x3FF)
        if is_java:
            state = add(multiply(state, u32(31)), u32(point))
        else:
            state = multiply(xor(state, u32(point)), u32(0x01000193))
    return state


@numba.njit
def _units_column(offsets, data, prefix, suffix, seed, out, is_java):
    start = _over_units(u32(seed), np.int64(prefix.ctypes.data), len(prefix), is_java)
    tail = np.int64(suffix.ctypes.data)
    for i in range(len(out)):
        address = data + np.int64(offsets[i])
        count = np.int64(offsets[i + 1]) - np.int64(offsets[i])
        state = _over_units(start, address, count, is_java)
        out[i] = _over_units(state, tail, len(suffix), is_java)


@njit(boundscheck=False)
def fnv1a_utf16_column(offsets, data, prefix, suffix, seed, out):
    """FNV-1a over UTF-16 code units per row."""
    _units_column(offsets, data, prefix, suffix, seed, out, False)


@njit(boundscheck=False)
def java31_column(offsets, data, prefix, suffix, seed, out):
    """Java's `String.hashCode` (over UTF-16 code units) per row, as an unsigned 32-bit number."""
    _units_column(offsets, data, prefix, suffix, seed, out, True)


@numba.njit
def _crc32(state, address, count, table):
    end = address + count
    while address < end:
        state = xor(table[xor(state, u32(load_byte(address))) & 0xFF], shift_right(state, u32(8)))
        address += 1
    return state


@njit(boundscheck=False)
def crc32_column(offsets, data, prefix, suffix, seed, out):
    """CRC-32 (as in zip files) over UTF-8 bytes per row; `seed` is the CRC to go on from."""
    table = np.zeros(256, dtype=np.uint32)
    for entry in range(256):
        value = u32(entry)
        for _ in range(8):
            odd = value & u32(1)
            value = shift_right(value, u32(1))
            if odd:
                value = xor(value, u32(0xEDB88320))
        table[entry] = value
    start = _crc32(xor(u32(seed), u32(0xFFFFFFFF)), np.int64(prefix.ctypes.data), len(prefix), table)
    tail = np.int64(suffix.ctypes.data)
    for i in range(len(out)):
        address = data + np.int64(offsets[i])
        count = np.int64(offsets[i + 1]) - np.int64(offsets[i])
        state = _crc32(_crc32(start, address, count, table), tail, len(suffix), table)
        out[i] = xor(state, u32(0xFFFFFFFF))
